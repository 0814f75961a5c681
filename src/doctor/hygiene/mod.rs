//! What around an httpd is unsound though it runs.

mod exposed;
mod group;
mod handlers;
mod ipc;
mod queue;
mod reload;

use std::path::{Path, PathBuf};

use super::{Check, Finding};
use crate::{
    model::{process::ProcessId, settings::Mpm, told::Told},
    observe::process_table::ProcessTable,
};

/// The httpd that is looked at, and the host around it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where the host's files are, usually `/`.
    pub root: &'a Path,
    /// Its processes.
    pub table: &'a ProcessTable,
    /// The mounted procfs, usually `/proc`.
    pub procfs: &'a Path,
    /// The parent.
    pub parent: ProcessId,
    /// Its unit, without `.service`, where it has one.
    pub unit: Option<&'a str>,
    /// What httpd says of its configuration, or why it says nothing.
    pub answer: Result<&'a Told, &'a str>,
    /// The MPM as the watch knows it.
    pub mpm: Option<Mpm>,
}

/// Everything that is found, in the order of [`Check`].
#[must_use]
pub fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let mut all = exposed::findings(subject);
    all.extend(handlers::findings(subject));
    all.push(ipc::finding(subject));
    all.push(group::finding(subject));
    all.push(queue::finding(subject));
    all.push(reload::finding(subject));
    all
}

impl Subject<'_> {
    fn below(&self, path: &str) -> PathBuf {
        super::text::below(self.root, path)
    }

    /// Why the configuration is not known.
    fn unasked(&self, check: Check, thing: &str) -> Option<Finding> {
        self.answer.err().map(|cause| check.unknown(thing, format!("httpd does not tell: {cause}")))
    }
}
