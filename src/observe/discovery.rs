//! Which processes are parents of an httpd, by the process table alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use thiserror::Error;

use super::{
    main_configuration,
    process_table::{ProcessTable, Row, asks_at_terminal, proc_why},
    waiting,
};
use crate::{
    decode::{
        command_line::{CommandLine, command_line},
        error_log::escaped,
    },
    model::{
        process::{Pid, ProcessId, ProcessState},
        source::Why,
        time::Uptime,
    },
};

/// HUP, INT, USR1, TERM and WINCH: what the parent catches under every MPM, also while it reads
/// its configuration (`ap_unixd_mpm_set_signals`). A prefork child does not catch INT, cgid's
/// daemon neither USR1 nor TERM, and a control program, a configtest or a parent that has not
/// served yet none of them.
const OF_A_PARENT: u64 = 1 << 0 | 1 << 1 | 1 << 9 | 1 << 14 | 1 << 27;

/// A process this young may still become httpd: containers and units start it through a shell.
const MAY_BECOME_HTTPD: u64 = 60_000_000;
/// A child this young may still become a parent: one that detaches itself is a child of the
/// program that an operator called, until that ends.
const MAY_BECOME_PARENT: u64 = 10_000_000;
/// After this time every process is looked at again: a number may have changed hands.
const FORGET_AFTER: u64 = 60_000_000;

/// A parent that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub id: ProcessId,
    /// What makes it the same server across stops and starts.
    pub signature: Signature,
    /// What it was told.
    pub line: CommandLine,
}

/// The same server: the same main configuration and the same program, of the same owner.
///
/// Anybody may call his own program as he likes, but not make it another user's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// The program's name; its path as it was called, if no configuration tells servers apart.
    pub program: PathBuf,
    /// The main configuration's path, if it could be told.
    pub configuration: Option<PathBuf>,
    /// The user whose process the parent is.
    pub owner: u32,
}

/// Whether this user is root or the one that runs gracekeeper. Everybody else may start what looks
/// like a parent as often as he likes.
#[must_use]
pub fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

/// Why a process is not the parent of an httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stranger {
    /// It has another name, or is called otherwise than its program.
    #[error("it is no httpd")]
    NotHttpd,
    /// It is a zombie.
    #[error("it has ended")]
    Ended,
    /// Its parent is an httpd itself.
    #[error("it is a child of an httpd")]
    Child,
    /// It runs in a container.
    #[error("it lives in another PID namespace")]
    Elsewhere,
    /// A configtest, or what signals a server.
    #[error("it was not called to serve")]
    DoesNotServe,
    /// It does not take a parent's signals: a child whose parent ended, or not yet a parent.
    #[error("it does not catch the signals of a parent")]
    Deaf,
    /// It has no child that is an httpd.
    #[error("it has no children")]
    Childless,
    /// It could not be read.
    #[error("it cannot be read")]
    Unreadable(Why),
}

/// What is asked of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// Nothing but its looks: it must look like a parent that serves.
    Looks,
    /// It is named by a pid file; between two generations it has no children. The operator may
    /// have given his httpd another name.
    PidFile(Option<&'a Path>),
    /// It looks like one that is called to serve, and takes no signal yet.
    Starting,
}

/// Finds parents without reading the whole process table at every look.
#[derive(Debug, Default)]
pub struct Discovery {
    others: BTreeMap<Pid, Uptime>,
    /// Of these, the httpds of other PID namespaces.
    elsewhere: BTreeSet<Pid>,
    forgot: Uptime,
    /// What looked like an httpd that is starting, the last time.
    starting: Vec<Found>,
}

impl Discovery {
    /// How many httpds of other PID namespaces were seen, as those of containers.
    #[must_use]
    pub fn elsewhere(&self) -> usize {
        self.elsewhere.len()
    }

    /// What looked like an httpd that is starting when parents were last looked for, the oldest
    /// first.
    #[must_use]
    pub fn starting(&self) -> &[Found] {
        &self.starting
    }

    /// Those of them that have waited for a pass phrase for a while: servers, though none of them
    /// has ever served.
    #[must_use]
    pub fn asking(&self, table: &ProcessTable, now: Uptime) -> Vec<Found> {
        let asks = |found: &&Found| waiting::asks_for_long(found, now, table);
        self.starting.iter().filter(asks).cloned().collect()
    }

    /// Every parent that serves in this PID namespace: those of root's and of one's own first, then the
    /// oldest first.
    pub fn parents(&mut self, table: &ProcessTable, now: Uptime) -> Result<Vec<Found>, Why> {
        if now.as_micros().saturating_sub(self.forgot.as_micros()) > FORGET_AFTER {
            self.others.clear();
            self.elsewhere.clear();
            self.forgot = now;
        }
        let pids = table.all()?;
        let living: BTreeSet<Pid> = pids.iter().copied().collect();
        self.elsewhere.retain(|pid| living.contains(pid));
        self.starting.clear();
        let mut found = Vec::new();
        for pid in pids {
            if self.others.contains_key(&pid) {
                continue;
            }
            let Ok(row) = table.row(pid) else { continue };
            match examine(table, &row, Proof::Looks) {
                Ok(parent) => found.push(parent),
                Err(stranger) if is_for_good(stranger, row.id.started, now) => {
                    self.others.insert(pid, now);
                    if stranger == Stranger::Elsewhere {
                        self.elsewhere.insert(pid);
                    }
                }
                Err(Stranger::Deaf) => {
                    self.starting.extend(examine(table, &row, Proof::Starting));
                }
                Err(_) => {}
            }
        }
        self.starting.sort_by_key(|it| (it.id.started, it.id.pid));
        found.sort_by_key(|it| (!is_trusted(it.signature.owner), it.id.started, it.id.pid));
        Ok(found)
    }
}

/// Whether it will stay one, so that it need not be looked at again soon.
fn is_for_good(stranger: Stranger, started: Uptime, now: Uptime) -> bool {
    let age = now.as_micros().saturating_sub(started.as_micros());
    match stranger {
        Stranger::NotHttpd => age > MAY_BECOME_HTTPD,
        Stranger::Child => age > MAY_BECOME_PARENT,
        Stranger::Elsewhere => true,
        Stranger::Ended
        | Stranger::DoesNotServe
        | Stranger::Deaf
        | Stranger::Childless
        | Stranger::Unreadable(_) => false,
    }
}

/// As [`examine`], for a process that a pid file names. `program` is a name that an operator gave
/// to his httpd.
#[must_use]
pub fn named_parent(table: &ProcessTable, row: &Row, program: Option<&Path>) -> Option<Found> {
    examine(table, row, Proof::PidFile(program)).ok()
}

/// Reads a process as an httpd's parent, the cheapest questions first.
pub fn examine(table: &ProcessTable, row: &Row, proof: Proof<'_>) -> Result<Found, Stranger> {
    let program = match proof {
        Proof::Looks | Proof::Starting => None,
        Proof::PidFile(program) => program,
    };
    if !is_httpd(&row.name, program) {
        return Err(Stranger::NotHttpd);
    }
    if row.state == ProcessState::Ended {
        return Err(Stranger::Ended);
    }
    let above = Pid::new(row.parent).and_then(|pid| table.row(pid).ok());
    if above.is_some_and(|above| above.name == row.name && is_called_by_name(table, &above)) {
        return Err(Stranger::Child);
    }
    let process = table.process(row.id.pid).map_err(Stranger::Unreadable)?;
    let status = process.status().map_err(|error| Stranger::Unreadable(proc_why(&error)))?;
    if status.nspid.is_some_and(|numbers| numbers.len() > 1) {
        return Err(Stranger::Elsewhere);
    }
    let line = table.command_line(row.id.pid).map_err(Stranger::Unreadable)?;
    let line = command_line(&line);
    if !line.serves {
        return Err(Stranger::DoesNotServe);
    }
    // A script is called by its interpreter.
    if !matches!(proof, Proof::PidFile(_)) && !is_name_of(&line.program, &row.name) {
        return Err(Stranger::NotHttpd);
    }
    let takes = status.sigcgt & OF_A_PARENT;
    let prompts = asks_at_terminal(status.sigcgt);
    let is_starting = proof == Proof::Starting && (takes == 0 || prompts);
    if takes != OF_A_PARENT && !is_starting {
        return Err(Stranger::Deaf);
    }
    if proof == Proof::Looks && !has_children(table, row) {
        return Err(Stranger::Childless);
    }
    let configuration = main_configuration::path(&line);
    let name = line.program.file_name().filter(|_| configuration.is_some());
    let program = name.map_or_else(|| line.program.clone(), PathBuf::from);
    let signature = Signature { program, configuration, owner: status.ruid };
    Ok(Found { id: row.id, signature, line })
}

/// Whether the parent has a child of its own name: a worker, or cgid's daemon.
#[must_use]
pub fn has_children(table: &ProcessTable, row: &Row) -> bool {
    let children = table.children(row.id.pid).unwrap_or_default();
    let mut rows = children.into_iter().filter_map(|pid| table.row(pid).ok());
    rows.any(|child| child.name == row.name)
}

/// The name of a server that nobody named: its unit, else its configuration's directory.
#[must_use]
pub fn name(table: &ProcessTable, found: &Found) -> String {
    let directory = found.signature.configuration.as_deref().and_then(Path::parent);
    let directory = directory.and_then(Path::file_name).map(|name| escaped(name.as_bytes(), 100));
    unit_of(table, found.id)
        .or(directory)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "httpd".to_owned())
}

/// The systemd unit of a process, without `.service`; `None` outside of one.
#[must_use]
pub fn unit_of(table: &ProcessTable, id: ProcessId) -> Option<String> {
    let cgroup = fs::read_to_string(table.path(id.pid, "cgroup")).unwrap_or_default();
    unit(&cgroup).map(str::to_owned)
}

/// The name of a server whose name another one has already: the port of its first `Listen` is
/// appended, `apache2:8080`. `None` if its configuration does not tell a port.
#[must_use]
pub fn name_with_port(name: &str, found: &Found) -> Option<String> {
    let port = main_configuration::first_port(found.signature.configuration.as_deref()?)?;
    Some(format!("{name}:{port}"))
}

/// The system's service that a process belongs to. A scope, as of a login, is none. Nor is anything
/// of a user's own service manager: there everybody names his units as he likes.
fn unit(cgroup: &str) -> Option<&str> {
    if cgroup.split(['/', '\n']).any(is_of_a_user) {
        return None;
    }
    let unit = cgroup.lines().find_map(|line| {
        let parts = line.rsplit('/').filter_map(|part| part.rsplit_once('.'));
        let mut units = parts.filter(|(_, kind)| matches!(*kind, "service" | "scope"));
        units.next().filter(|(name, kind)| *kind == "service" && !name.is_empty())
    });
    unit.map(|(name, _)| name)
}

/// Whether it is where systemd keeps what users start.
fn is_of_a_user(part: &str) -> bool {
    part == "user.slice" || part.starts_with("user@") && part.ends_with(".service")
}

/// httpd's own names, and those of its packages: `httpd.worker`, `httpd2-prefork`, `apache2`.
fn is_httpd(name: &[u8], program: Option<&Path>) -> bool {
    name.starts_with(b"httpd")
        || name.starts_with(b"apache2")
        || name == b"apache"
        || program.is_some_and(|program| is_name_of(program, name))
}

/// Whether a process that runs this program has this name, unless it chose another.
fn is_name_of(program: &Path, name: &[u8]) -> bool {
    let own = program.file_name().map(std::ffi::OsStr::as_encoded_bytes);
    // The kernel keeps 15 bytes of a name.
    own.map(|own| own.get(..15).unwrap_or(own)) == Some(name)
}

/// Whether it is called as its program is named: a script that is named as httpd is not.
fn is_called_by_name(table: &ProcessTable, row: &Row) -> bool {
    let line = table.command_line(row.id.pid).map(|line| command_line(&line));
    line.is_ok_and(|line| is_name_of(&line.program, &row.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_is_no_httpd() {
        assert!(is_httpd(b"apache2", None));
        assert!(is_httpd(b"httpd.worker", None));
        assert!(!is_httpd(b"apache_exporter", None));
        assert!(!is_httpd(b"lighttpd", None));
        assert!(!is_httpd(b"sleep", None));
        let long = Path::new("/opt/our-own-web-server-2");
        assert!(is_httpd(b"our-own-web-ser", Some(long)));
    }

    #[test]
    fn the_innermost_service_is_the_unit() {
        assert_eq!(unit("0::/system.slice/apache2.service\n"), Some("apache2"));
        assert_eq!(unit("1:name=systemd:/system.slice/httpd@two.service/x\n"), Some("httpd@two"));
        assert_eq!(unit("0::/user.slice/user@7.service/app.slice/run-1.scope\n"), None);
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit("0::/.service"), None);
    }

    #[test]
    fn a_users_own_unit_is_no_unit() {
        let own = "/user.slice/user-1000.slice/user@1000.service/app.slice/apache2.service";
        assert_eq!(unit(&format!("0::{own}\n")), None);
        assert_eq!(unit(&format!("0::/..{own}\n")), None, "seen from a cgroup namespace");
        assert_eq!(unit(&format!("4:pids:/\n1:name=systemd:{own}\n0::{own}\n")), None);
        assert_eq!(unit("0::/user@1000.service/app.slice/apache2.service\n"), None);
        assert_eq!(unit("0::/user.slice/user-0.slice/apache2.service\n"), None);
        assert_eq!(unit("0::/system.slice/user@home.example.service\n"), None);
        assert_eq!(unit("0::/system.slice/users.service\n"), Some("users"));
    }

    #[test]
    fn what_stays_a_stranger_is_not_looked_at_again() {
        let seconds = |seconds: u64| Uptime::from_micros(seconds * 1_000_000);
        let now = seconds(1000);
        assert!(is_for_good(Stranger::NotHttpd, seconds(900), now));
        assert!(!is_for_good(Stranger::NotHttpd, seconds(950), now), "a shell may still exec");
        assert!(is_for_good(Stranger::Child, seconds(980), now));
        assert!(!is_for_good(Stranger::Child, seconds(995), now), "it may still detach itself");
        assert!(!is_for_good(Stranger::Childless, seconds(0), now));
    }
}
