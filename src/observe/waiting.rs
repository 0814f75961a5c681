//! What an httpd may be waiting for: its helpers' command lines, and whether it runs at all.

use std::collections::BTreeMap;

use super::{
    discovery::Found,
    process_table::{ProcessTable, Row},
};
use crate::{
    decode::helper_command::helper_kind,
    model::{
        process::{Child, ChildRole, Pid, ProcessId, ProcessState},
        time::Uptime,
        waiting::{Helper, HelperKind, Starting, Waiting},
    },
};

/// As much of a command line as is kept.
const LONGEST_COMMAND: usize = 4096;
/// Of so many helpers the command lines are read.
const MOST_HELPERS: usize = 256;
/// A helper this young may still become another program: Debian's dialog is a script that does.
const MAY_BECOME_ANOTHER: u64 = 1_000_000;

/// The helpers of one httpd whose command lines are known.
#[derive(Debug, Default)]
pub struct Helpers {
    known: BTreeMap<ProcessId, Known>,
}

#[derive(Debug)]
struct Known {
    helper: Helper,
    /// It was grown up when it was read.
    settled: bool,
}

impl Helpers {
    /// What the httpd of these `children` waits for; `reading` is its number, while it may wait.
    pub fn waiting<'a>(
        &mut self,
        reading: Option<Pid>,
        children: impl Iterator<Item = &'a Child>,
        now: Uptime,
        table: &ProcessTable,
    ) -> Waiting {
        // Before the helpers: who still lives then has kept it waiting until then.
        let turns = reading.and_then(|pid| table.turns(pid).ok());
        let rows: Vec<(ProcessId, ProcessState)> = children
            .filter(|child| child.role == ChildRole::Helper)
            .map(|child| (child.id, child.state))
            .take(MOST_HELPERS)
            .collect();
        self.known.retain(|id, _| rows.iter().any(|(other, _)| other == id));
        let read = |row| self.helper(row, reading.is_some(), now, table);
        let helpers = rows.into_iter().filter_map(read).collect();
        let reads_terminal = reading.is_some_and(|pid| table.reads_terminal(pid));
        Waiting { turns, reads_terminal, helpers }
    }

    /// Of one that has ended nothing is known but what was read while it lived.
    fn helper(
        &mut self,
        (id, state): (ProcessId, ProcessState),
        reading: bool,
        now: Uptime,
        table: &ProcessTable,
    ) -> Option<Helper> {
        let known = self.known.get(&id);
        let ended = |helper: &Helper| {
            let doubtful = reading && helper.kind == HelperKind::Asker;
            let is_it = |row: Row| row.id == id && row.state != ProcessState::Ended;
            state == ProcessState::Ended || doubtful && !table.row(id.pid).is_ok_and(is_it)
        };
        if let Some(known) = known.filter(|it| it.settled || state == ProcessState::Ended) {
            return Some(Helper { ended: ended(&known.helper), ..known.helper.clone() });
        }
        let mut command = table.command_line(id.pid).ok()?;
        if command.is_empty() {
            return known.map(|known| Helper { ended: true, ..known.helper.clone() });
        }
        command.truncate(LONGEST_COMMAND);
        let helper = Helper { id, kind: helper_kind(&command), command, ended: false };
        let age = now.as_micros().saturating_sub(id.started.as_micros());
        let settled = age > MAY_BECOME_ANOTHER;
        let ended = ended(&helper);
        self.known.insert(id, Known { helper: helper.clone(), settled });
        Some(Helper { ended, ..helper })
    }
}

/// What an httpd that is starting waits for; `None` if it has ended, or is no starting one any more.
#[must_use]
pub fn starting(found: &Found, now: Uptime, table: &ProcessTable) -> Option<Starting> {
    let own = table.row(found.id.pid).ok()?;
    let is_it = own.id == found.id && own.state != ProcessState::Ended;
    if !is_it || table.catches_crashes(own.id.pid) != Ok(false) {
        return None;
    }
    let children = table.children(own.id.pid).ok()?;
    let rows = children.into_iter().filter_map(|pid| table.row(pid).ok());
    let mut helpers = Vec::new();
    for row in rows {
        // Whoever has a child of its own name serves already, or has another httpd started.
        if row.name == own.name {
            return None;
        }
        helpers.push(Child { id: row.id, role: ChildRole::Helper, state: row.state });
    }
    let waiting = Helpers::default().waiting(Some(own.id.pid), helpers.iter(), now, table);
    Some(Starting { id: own.id, waiting })
}

/// Whether an httpd that is starting waits for a program that asks for a pass phrase, and has done
/// so for longer than a dialog takes that answers by itself.
#[must_use]
pub fn asks_for_long(found: &Found, now: Uptime, table: &ProcessTable) -> bool {
    let Some(Starting { waiting, .. }) = starting(found, now, table) else { return false };
    let mut helpers = waiting.helpers.into_iter();
    waiting.reads_terminal
        || helpers.any(|helper| {
            let age = now.as_micros().saturating_sub(helper.id.started.as_micros());
            helper.kind == HelperKind::Asker && !helper.ended && age > MAY_BECOME_ANOTHER
        })
}
