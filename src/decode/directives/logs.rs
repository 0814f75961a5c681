//! Which logs httpd opens, and how many descriptors the parent holds for them.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    mem,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{limits::Room, paths::Paths};
use crate::decode::run_configuration::{ErrorLogPlace, is_stream};

/// What httpd was built with, where it does not tell.
const BUILT_IN: &[u8] = b"logs/error_log";

/// What one virtual host, or the server without one, says of logs.
#[derive(Clone, Debug, Default)]
struct Host {
    /// The last `ErrorLog`.
    error: Option<Vec<u8>>,
    /// The last `ForensicLog`.
    forensic: Option<Vec<u8>>,
}

/// The logs of all hosts.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    /// The server without one.
    main: Host,
    /// The virtual host whose directives are read now.
    host: Option<Host>,
    /// The error logs of those before it.
    errors: BTreeSet<Vec<u8>>,
    /// Of `CustomLog` and its like, and of `ForensicLog` of the hosts before.
    descriptors: u64,
    /// Those that are files.
    files: Paths,
    are_all_kept: bool,
}

/// What all of them come to.
pub(super) struct AllLogs {
    pub(super) descriptors: u64,
    pub(super) files: Arc<[PathBuf]>,
    /// There was room for the names of all files.
    pub(super) are_all_kept: bool,
}

impl Logs {
    pub(super) fn below(root: Option<PathBuf>) -> Self {
        let main = Host { error: None, forensic: None };
        let files = Paths::below(root);
        let (errors, descriptors, are_all_kept) = (BTreeSet::new(), 0, true);
        Self { main, host: None, errors, descriptors, files, are_all_kept }
    }

    /// A virtual host begins; whether there was room for what the one before it said.
    pub(super) fn enter_host(&mut self, room: &mut Room) -> bool {
        let is_kept = self.leave_host(room);
        self.host = Some(Host::default());
        is_kept
    }

    /// A virtual host ends; whether there was room for what it said.
    pub(super) fn leave_host(&mut self, room: &mut Room) -> bool {
        let Some(host) = self.host.take() else { return true };
        for name in [&host.error, &host.forensic].into_iter().flatten() {
            self.name(name);
        }
        self.count(host, room)
    }

    /// `ErrorLog`: of one host the last one counts.
    pub(super) fn error(&mut self, name: Vec<u8>) {
        self.host().error = Some(name);
    }

    /// `ForensicLog`.
    pub(super) fn forensic(&mut self, name: Vec<u8>) {
        self.host().forensic = Some(name);
    }

    /// `CustomLog`, `TransferLog`, `GlobalLog`: each is opened, another one of the same name too.
    pub(super) fn add(&mut self, name: &[u8]) {
        self.descriptors = self.descriptors.saturating_add(held(name));
        self.name(name);
    }

    /// All of them. Error logs of the same name, compared as it is written, are one. `main_error`
    /// is what httpd says of the main server's.
    pub(super) fn all(mut self, main_error: Option<&ErrorLogPlace>) -> AllLogs {
        let mut room = Room::whole();
        self.leave_host(&mut room);
        let mut main = mem::take(&mut self.main);
        match main_error {
            Some(ErrorLogPlace::File(path)) => self.are_all_kept &= self.files.add_path(path),
            Some(ErrorLogPlace::Syslog | ErrorLogPlace::Pipe | ErrorLogPlace::Stream) => {}
            None => {
                let error = main.error.clone();
                self.name(error.as_deref().unwrap_or(BUILT_IN));
            }
        }
        if let Some(forensic) = main.forensic.clone() {
            self.name(&forensic);
        }
        // What httpd was built with.
        main.error.get_or_insert_default();
        self.count(main, &mut room);
        let errors = self.errors.iter().filter(|name| !is_handed_on(name)).count() as u64;
        AllLogs {
            descriptors: errors.saturating_add(self.descriptors),
            files: self.files.all(),
            are_all_kept: self.are_all_kept,
        }
    }

    /// Keeps the name of a log that is a file.
    fn name(&mut self, name: &[u8]) {
        let is_stream = is_stream(Path::new(OsStr::from_bytes(name)));
        let is_file = !name.starts_with(b"|") && !is_handed_on(name) && !is_stream;
        self.are_all_kept &= !is_file || self.files.add(name);
    }

    fn count(&mut self, host: Host, room: &mut Room) -> bool {
        let forensic = host.forensic.as_deref().map_or(0, held);
        self.descriptors = self.descriptors.saturating_add(forensic);
        let Some(error) = host.error.filter(|name| !self.errors.contains(name)) else {
            return true;
        };
        let is_kept = room.take(error.len());
        if is_kept {
            self.errors.insert(error);
        }
        is_kept
    }

    fn host(&mut self) -> &mut Host {
        self.host.as_mut().unwrap_or(&mut self.main)
    }
}

/// Of a piped logger the parent keeps both ends, so that another one can take its place.
const fn held(name: &[u8]) -> u64 {
    if matches!(name, [b'|', ..]) { 2 } else { 1 }
}

/// To the system's log, or to a module: `ErrorLog syslog:local1`, `ErrorLog journald`.
fn is_handed_on(name: &[u8]) -> bool {
    let end = name.iter().position(|byte| *byte == b':').unwrap_or(name.len());
    name.get(..end).is_some_and(|name| name.eq_ignore_ascii_case(b"syslog"))
        || name.eq_ignore_ascii_case(b"journald")
}
