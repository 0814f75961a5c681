//! An httpd of this server that is starting: it has no pid file yet, and no children that serve.

use super::{Instruments, ServerObserver, Target, signature::accepts};
use crate::{
    model::{time::Moment, waiting::Starting},
    observe::{
        discovery::{self, Found},
        pid_file_place,
        process_table::ProcessTable,
        waiting,
    },
};

impl ServerObserver {
    /// The oldest of this server's that has started another program, as a pass phrase dialog is.
    pub(super) fn starting(&self, at: Moment, instruments: &Instruments<'_>) -> Option<Starting> {
        let table = instruments.table;
        let mut own = instruments.starting.iter().filter(|found| self.is_of_this(found, table));
        own.find_map(|found| waiting::starting(found, at.uptime, table))
    }

    /// Whether it will be this server's parent: by its unit, by its signature, or, where nobody has
    /// seen a parent yet, by the pid file that it will write.
    fn is_of_this(&self, found: &Found, table: &ProcessTable) -> bool {
        let Target { unit, signature, pid_file, .. } = &self.target;
        let is_same = match (unit, signature, pid_file) {
            (Some(unit), _, _) => discovery::unit_of(table, found.id).as_ref() == Some(unit),
            (None, Some(signature), _) => found.signature == *signature,
            (None, None, Some(path)) => pid_file_place::is_of(path, found),
            (None, None, None) => false,
        };
        is_same && accepts(&self.target, found.signature.owner)
    }
}
