//! Which processes are parents of an httpd, by the process table alone.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::process_table::{ProcessTable, Row};
use crate::{
    decode::command_line::{CommandLine, command_line},
    model::{
        process::{Pid, ProcessId, ProcessState},
        source::Why,
        time::Uptime,
    },
};

/// A process this young may still become httpd: containers and units start it through a shell.
const MAY_BECOME_HTTPD: u64 = 60_000_000;
/// After this time every process is looked at again: a number may have changed hands.
const FORGET_AFTER: u64 = 60_000_000;

/// Roots that distributions compile in, with the main configuration's path below them.
const COMPILED_IN: [(&str, &str); 4] = [
    ("/etc/apache2", "apache2.conf"),
    ("/etc/apache2", "httpd.conf"),
    ("/etc/httpd", "conf/httpd.conf"),
    ("/usr/local/apache2", "conf/httpd.conf"),
];
/// Pid files that distributions compile in or configure.
const USUAL_PID_FILES: [&str; 5] = [
    "/run/apache2/apache2.pid",
    "/run/httpd/httpd.pid",
    "/run/apache2/httpd.pid",
    "/run/httpd.pid",
    "/usr/local/apache2/logs/httpd.pid",
];

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

/// The same server: the same program and the same main configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// The program's path, as it was called.
    pub program: PathBuf,
    /// The main configuration's path, if it could be told.
    pub configuration: Option<PathBuf>,
}

/// Finds parents without reading the whole process table at every look.
#[derive(Debug, Default)]
pub struct Discovery {
    others: BTreeMap<Pid, Uptime>,
    forgot: Uptime,
}

impl Discovery {
    /// Every parent that serves in this PID namespace.
    pub fn parents(&mut self, table: &ProcessTable, now: Uptime) -> Result<Vec<Found>, Why> {
        if now.as_micros().saturating_sub(self.forgot.as_micros()) > FORGET_AFTER {
            self.others.clear();
            self.forgot = now;
        }
        let pids = table.all()?;
        let mut found = Vec::new();
        for pid in pids {
            if self.others.contains_key(&pid) {
                continue;
            }
            let Ok(row) = table.row(pid) else { continue };
            if let Some(parent) = parent(table, &row, None) {
                found.push(parent);
            } else if now.as_micros().saturating_sub(row.id.started.as_micros()) > MAY_BECOME_HTTPD
                && !is_httpd(&row.name, None)
            {
                self.others.insert(pid, now);
            }
        }
        found.sort_by_key(|parent| parent.id);
        Ok(found)
    }
}

/// Reads a process as an httpd's parent that serves; `None` if it is none. `program` is a name
/// that an operator gave to his httpd.
#[must_use]
pub fn parent(table: &ProcessTable, row: &Row, program: Option<&Path>) -> Option<Found> {
    let found = named_parent(table, row, program)?;
    let children = table.children(row.id.pid).ok()?;
    // The control program and a configtest have the same name, but no children of it.
    let mut rows = children.into_iter().filter_map(|pid| table.row(pid).ok());
    rows.any(|child| child.name == row.name).then_some(found)
}

/// As [`parent`], for a process that is known by its pid file: between two generations it has no
/// children.
#[must_use]
pub fn named_parent(table: &ProcessTable, row: &Row, program: Option<&Path>) -> Option<Found> {
    if row.state == ProcessState::Ended || !is_httpd(&row.name, program) {
        return None;
    }
    let above = Pid::new(row.parent).and_then(|pid| table.row(pid).ok());
    if above.is_some_and(|above| above.name == row.name) {
        return None;
    }
    if table.is_in_another_namespace(row.id.pid).unwrap_or(true) {
        return None;
    }
    let line = command_line(&table.command_line(row.id.pid).ok()?);
    let signature =
        Signature { program: line.program.clone(), configuration: configuration(&line) };
    line.serves.then_some(Found { id: row.id, signature, line })
}

/// Where the parent's pid file lies, if it is told or usual and names the parent.
#[must_use]
pub fn pid_file(found: &Found) -> Option<PathBuf> {
    let root = found.line.root.clone().or_else(|| root_of(found));
    let below = |path: &Path| root.as_deref().unwrap_or(Path::new("/")).join(path);
    let told = found.line.pid_file.as_deref().map(below);
    let usual = USUAL_PID_FILES.iter().map(PathBuf::from);
    let relative = ["run/httpd.pid", "logs/httpd.pid", "httpd.pid"];
    let relative = relative.into_iter().map(|path| below(Path::new(path)));
    told.into_iter()
        .chain(usual)
        .chain(relative)
        .find(|path| super::pid_file::read(path).is_ok_and(|file| file.pid == found.id.pid))
}

/// The name of a server that nobody named: its unit, else its configuration's directory.
#[must_use]
pub fn name(table: &ProcessTable, found: &Found) -> String {
    let cgroup = fs::read_to_string(table.path(found.id.pid, "cgroup")).unwrap_or_default();
    let unit = cgroup.lines().find_map(|line| {
        let mut components = line.rsplit('/');
        components.find_map(|component| component.strip_suffix(".service"))
    });
    let directory = found.signature.configuration.as_deref().and_then(Path::parent);
    let directory = directory.and_then(Path::file_name).map(|name| name.to_string_lossy());
    unit.map(str::to_owned)
        .or_else(|| directory.map(std::borrow::Cow::into_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "httpd".to_owned())
}

/// httpd's own names, and those of its packages: `httpd.worker`, `httpd2-prefork`, `apache2`.
fn is_httpd(name: &[u8], program: Option<&Path>) -> bool {
    let own = program.and_then(Path::file_name).map(std::ffi::OsStr::as_encoded_bytes);
    // The kernel keeps 15 bytes of a name.
    let own = own.map(|own| own.get(..15).unwrap_or(own));
    name.starts_with(b"httpd")
        || name.starts_with(b"apache2")
        || name == b"apache"
        || own == Some(name)
}

fn configuration(line: &CommandLine) -> Option<PathBuf> {
    let told = line.configuration.as_deref();
    if let Some(path) = told.filter(|path| path.is_absolute()) {
        return Some(path.to_owned());
    }
    let roots = line.root.iter().map(|root| (root.as_path(), "conf/httpd.conf"));
    let compiled = COMPILED_IN.iter().map(|(root, path)| (Path::new(root), *path));
    roots
        .chain(compiled)
        .map(|(root, usual)| root.join(told.unwrap_or(Path::new(usual))))
        .find(|path| path.exists())
}

/// The root that a main configuration lies below.
fn root_of(found: &Found) -> Option<PathBuf> {
    let configuration = found.signature.configuration.as_deref()?;
    let directory = configuration.parent()?;
    let root = if directory.ends_with("conf") { directory.parent()? } else { directory };
    Some(root.to_owned())
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
    fn a_relative_configuration_lies_below_the_root() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("conf")).unwrap();
        fs::write(directory.path().join("conf/httpd.conf"), "").unwrap();
        let line = CommandLine { root: Some(directory.path().into()), ..CommandLine::default() };
        assert_eq!(configuration(&line), Some(directory.path().join("conf/httpd.conf")));
        let told = CommandLine { configuration: Some("/nowhere.conf".into()), ..line };
        assert_eq!(configuration(&told), Some("/nowhere.conf".into()));
    }
}
