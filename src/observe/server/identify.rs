//! Who the parent of a server is: whom its pid file names, or who is known by its signature.

use std::{path::Path, time::Duration};

use super::{Instruments, ServerObserver, signature::accepts};
use crate::{
    model::{
        process::{ProcessId, ProcessState},
        snapshot::{PidFileStamp, Trace, TraceKind},
        source::Why,
        time::Moment,
    },
    observe::{
        discovery::{self, Found, Proof},
        pid_file::{self, PidFile},
        pid_file_place,
        process_group::leave_group_of,
        process_table::{ProcessTable, Row},
    },
};

/// A pid file that looks too old is compared with the configuration this often.
const COMPARED_EVERY: Duration = Duration::from_secs(1);

/// Why a pid file names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// In words.
    pub reason: String,
    /// The process that it names cannot be seen: it may well be the parent.
    pub hidden: Option<Why>,
}

impl ServerObserver {
    /// A parent once identified stays until it ends, whatever the pid file says later.
    pub(super) fn identify(
        &mut self,
        at: Moment,
        traces: &[Trace],
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) -> Option<Doubt> {
        if let Some(id) = self.parent {
            let ended = traces.iter().any(|trace| trace.kind == TraceKind::Exited(id))
                || !instruments.moments.holds(&id) && has_ended(instruments.table, id);
            if !ended {
                return None;
            }
            self.parent = None;
        }
        let (candidate, doubt) = match self.by_pid_file(at, instruments.table) {
            Ok(named) => (named, None),
            Err(doubt) => (None, Some(doubt)),
        };
        // A pid file that nobody named may be left over, and name anybody by now.
        let candidate = candidate.filter(|it| accepts(&self.target, it.signature.owner));
        let candidate = candidate.or_else(|| self.by_signature(found, instruments));
        match candidate {
            Some(candidate) => self.adopt(&candidate, instruments).err(),
            // Between two discoveries a refusal stands, or it would be said again.
            None if found.is_empty() && self.target.unit.is_some() => self.doubt.clone(),
            None => doubt,
        }
    }

    fn by_pid_file(&mut self, at: Moment, table: &ProcessTable) -> Result<Option<Found>, Doubt> {
        let Some(path) = self.pid_file().map(Path::to_owned) else {
            return Ok(None);
        };
        let path = path.as_path();
        let PidFile { pid, stamp } =
            pid_file::read(path).map_err(|error| Doubt::new(error.to_string()))?;
        let row = match table.row(pid) {
            Ok(row) => row,
            Err(Why::Missing) => return Err(Doubt::new(format!("there is no process {pid}"))),
            Err(why) => {
                let reason = format!("process {pid} cannot be read: {}", why.label());
                return Err(Doubt { reason, hidden: Some(why) });
            }
        };
        let proof = Proof::PidFile(self.target.program.as_deref());
        let found = discovery::examine(table, &row, proof)
            .map_err(|stranger| format!("process {pid} is no parent of an httpd: {stranger}"))
            .map_err(Doubt::new)?;
        if is_older(&row, stamp, at) {
            return Ok(Some(found));
        }
        let compared = self.compared.is_some_and(|last| at.since(last) < COMPARED_EVERY);
        if !compared {
            self.compared = Some(at);
            if is_corroborated(&found, &row, path, table) {
                return Ok(Some(found));
            }
        }
        Err(Doubt::new(format!("process {pid} is younger than the pid file, and writes another")))
    }

    /// Makes it the parent; an error tells why it cannot be this server's.
    fn adopt(&mut self, found: &Found, instruments: &mut Instruments<'_>) -> Result<(), Doubt> {
        let Instruments { table, moments, .. } = instruments;
        let id = found.id;
        if moments.holds(&id) {
            let pid = id.pid;
            let reason = format!("process {pid} belongs to another server, or to an ended parent");
            return Err(Doubt::new(reason));
        }
        let owner = found.signature.owner;
        if !accepts(&self.target, owner) {
            let reason = format!(
                "process {} is of user {owner}'s, neither root's nor one's own: name its pid file",
                id.pid
            );
            return Err(Doubt::new(reason));
        }
        let confirm = |pid| table.row(pid).ok().map(|row: Row| row.id);
        if !moments.hold(self.number, id, confirm) && has_ended(table, id) {
            return Err(Doubt::new(format!("process {} has just ended", id.pid)));
        }
        leave_group_of(id.pid);
        self.parent = Some(id);
        self.configuration.clone_from(&found.signature.configuration);
        if self.target.pid_file.is_none() {
            self.own_pid_file = pid_file_place::find(found).or(self.own_pid_file.take());
        }
        self.target.signature = Some(found.signature.clone());
        Ok(())
    }
}

impl Doubt {
    const fn new(reason: String) -> Self {
        Self { reason, hidden: None }
    }
}

fn has_ended(table: &ProcessTable, id: ProcessId) -> bool {
    match table.row(id.pid) {
        Ok(row) => row.id != id || row.state == ProcessState::Ended,
        Err(why) => why == Why::Missing,
    }
}

/// httpd writes its pid file itself, so a process that is younger is somebody else: unless the
/// calendar was set forward since, which alone must not hide a server.
fn is_older(row: &Row, stamp: PidFileStamp, at: Moment) -> bool {
    // The start time is exact to a clock tick, the calendar may have been adjusted by as much.
    let slack = Duration::from_secs(1);
    at.at_uptime(row.id.started) <= at.at_wall(stamp.written).after(slack)
}

/// Whether it is this very pid file that the parent writes, whatever the clocks say. It forks its
/// children afterwards, so that one which has some has written it.
fn is_corroborated(found: &Found, row: &Row, path: &Path, table: &ProcessTable) -> bool {
    discovery::has_children(table, row) && pid_file_place::is_of(path, found)
}
