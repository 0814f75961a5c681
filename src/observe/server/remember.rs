//! A server that an earlier run observed: whom it knew, looked up again.

use std::path::{Path, PathBuf};

use super::{Instruments, ServerObserver};
use crate::{
    model::{
        process::{ProcessId, ProcessState},
        time::Uptime,
    },
    observe::{discovery::Signature, process_group::leave_group_of, process_table::Row},
};

/// What an earlier run knew of a server.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What its last parent was known by.
    pub signature: Option<Signature>,
    /// The pid file of its last parent, if nobody named one.
    pub own_pid_file: Option<PathBuf>,
    /// The parent that lived.
    pub parent: Option<ProcessId>,
    /// The worker children that lived.
    pub children: Vec<ProcessId>,
    /// Parents that had ended, of which it was still to be told how.
    pub ended: Vec<ProcessId>,
}

impl ServerObserver {
    /// The pid file of the last parent, if nobody named one.
    #[must_use]
    pub fn own_pid_file(&self) -> Option<&Path> {
        self.own_pid_file.as_deref()
    }

    /// Goes on where an earlier run left off: whoever still lives is held again.
    pub fn take_up(&mut self, past: Past, now: Uptime, instruments: &mut Instruments<'_>) {
        self.own_pid_file = past.own_pid_file.filter(|_| self.target.pid_file.is_none());
        for id in past.ended {
            self.children.mourn(id, now);
        }
        for id in past.children {
            let Instruments { table, moments, .. } = instruments;
            self.children.take_up(self.number, id, now, table, moments);
        }
        let Instruments { table, moments, .. } = instruments;
        let lives = |row: &Row, id| row.id == id && row.state != ProcessState::Ended;
        let row = |id: &ProcessId| table.row(id.pid).ok().filter(|row| lives(row, *id));
        if let Some(id) = past.parent.filter(|id| row(id).is_some()) {
            moments.hold(self.number, id, |pid| table.row(pid).ok().map(|row| row.id));
            if row(&id).is_some() {
                leave_group_of(id.pid);
                self.parent = Some(id);
                let signature = past.signature.as_ref();
                self.configuration = signature.and_then(|it| it.configuration.clone());
            }
        }
        self.target.signature = past.signature.or(self.target.signature.take());
    }
}
