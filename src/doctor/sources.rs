//! What is lost without a source, and what exactly makes it speak.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::text;
use crate::model::source::{Source, Why};

pub(super) const UNIT: &str = "in [Service] of gracekeeper's unit";
/// What a service of gracekeeper's is allowed by its unit.
pub(super) const CAPABILITY: &str = "AmbientCapabilities=CAP_SYS_PTRACE";
const CAPABILITIES: &str = "AmbientCapabilities=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH";
const READING: &str = "AmbientCapabilities=CAP_DAC_READ_SEARCH";
/// The file of the scoreboard that httpd's own user may read though it may not trace.
const SCOREBOARD_FILE: &str = "ScoreBoardFile /dev/shm/httpd-scoreboard";
const GROUP_MAY_READ: u32 = 0o040;

/// One source of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Which.
    pub source: Source,
    /// It answered; absent where it does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Why>,
    /// What is not known without it.
    pub lost: &'static str,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Why it has no answer though nothing is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Who looks, and at whom.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The own user's name, else its uid.
    pub user: String,
    /// The own uid is the parent's.
    pub is_httpds: bool,
    /// `kernel.yama.ptrace_scope`; 0 where there is no Yama.
    pub yama: u32,
    /// Where the error log is, as far as that is known.
    pub log: Option<PathBuf>,
}

/// What a server is not known by without this source.
#[must_use]
pub const fn lost(source: Source) -> &'static str {
    match source {
        Source::ProcessTable => "whether httpd is up, its restarts, its children: everything",
        Source::Scoreboard => {
            "generation numbers, worker states, stragglers' requests, the type of an idle restart"
        }
        Source::ErrorLog => "why a restart failed, AH codes, what a crash was",
        Source::ServerStatus => "the witness that status_url names",
        Source::MemoryMaps => "memory by role, its forecast for a restart and the measured peak",
        Source::FdLinks => "sockets that the configuration does not name, logs that were rotated",
        Source::Sockets => "accept queues, dropped connections, listeners that were replaced",
        Source::Files => "what is newer on disk than what httpd has loaded",
        Source::Cgroup => "whether memory and process numbers suffice, OOM kills, pressure",
        Source::TlsProbe => "which certificates are really served",
    }
}

/// A source that a run asks and that who only looks once leaves alone.
#[must_use]
pub const fn not_asked(source: Source) -> SourceReport {
    let note = Some("not asked here: `gracekeeper run` does it");
    SourceReport { source, up: None, reason: None, lost: lost(source), mend: None, note }
}

/// What makes a silent source speak: a command, or a line of a unit or of httpd's configuration;
/// `usual` is what the run says of it.
#[must_use]
pub fn mend(source: Source, why: Why, viewer: &Viewer, usual: Option<&str>) -> Option<String> {
    let exact = match why {
        Why::Permission => permission(source, viewer),
        Why::Limit if is_of_descriptors(source) => Some(format!("{UNIT}: LimitNOFILE=65536")),
        Why::Missing | Why::Timeout | Why::Invalid | Why::Limit | Why::Other => None,
    };
    exact.or_else(|| usual.map(str::to_owned))
}

const fn is_of_descriptors(source: Source) -> bool {
    matches!(
        source,
        Source::ProcessTable | Source::ErrorLog | Source::ServerStatus | Source::Cgroup
    )
}

fn permission(source: Source, viewer: &Viewer) -> Option<String> {
    match source {
        Source::ProcessTable => Some("mount -o remount,hidepid=0 /proc".to_owned()),
        // Yama refuses at the same uid too, and memory is no file.
        Source::Scoreboard if viewer.is_httpds && viewer.yama > 0 => {
            Some(format!("in httpd's configuration: {SCOREBOARD_FILE}; or {UNIT}: {CAPABILITY}"))
        }
        Source::Scoreboard | Source::MemoryMaps => Some(format!("{UNIT}: {CAPABILITY}")),
        Source::FdLinks => Some(format!("{UNIT}: {CAPABILITIES}")),
        Source::Files => Some(format!("{UNIT}: {READING}")),
        Source::ErrorLog => viewer.log.as_deref().and_then(|log| join(log, &viewer.user)),
        Source::Sockets | Source::ServerStatus | Source::Cgroup | Source::TlsProbe => None,
    }
}

/// What lets a user read this log: its group, or that of the directory that keeps him out.
fn join(log: &Path, user: &str) -> Option<String> {
    let (path, metadata) =
        log.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    let group = group_name(metadata.gid());
    match group {
        Some(group) if metadata.gid() != 0 && metadata.mode() & GROUP_MAY_READ != 0 => {
            Some(format!("usermod -aG {group} {user}"))
        }
        Some(_) | None => Some(format!("setfacl -m u:{user}:rX {}", text::quoted(path))),
    }
}

fn group_name(gid: u32) -> Option<String> {
    name_of(Path::new("/etc/group"), gid)
}

/// The name of a user, else its uid as text.
#[must_use]
pub fn user_name(uid: u32) -> String {
    name_of(Path::new("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string())
}

/// `kernel.yama.ptrace_scope` below this procfs; 0 where there is no Yama.
#[must_use]
pub fn yama(procfs: &Path) -> u32 {
    let file = procfs.join("sys/kernel/yama/ptrace_scope");
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The first field of the line whose third is this number.
fn name_of(file: &Path, number: u32) -> Option<String> {
    let text = text::text(file)?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(is_httpds: bool, yama: u32) -> Viewer {
        Viewer { user: "gracekeeper".to_owned(), is_httpds, yama, log: None }
    }

    #[test]
    fn what_is_closed_has_a_line_that_opens_it() {
        let of = |source, viewer: &Viewer| mend(source, Why::Permission, viewer, Some("usual"));
        let stranger = viewer(false, 1);
        let line = "in [Service] of gracekeeper's unit: AmbientCapabilities=CAP_SYS_PTRACE";
        assert_eq!(of(Source::Scoreboard, &stranger).as_deref(), Some(line));
        let line = "in [Service] of gracekeeper's unit: AmbientCapabilities=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH";
        assert_eq!(of(Source::FdLinks, &stranger).as_deref(), Some(line));
        let own = of(Source::Scoreboard, &viewer(true, 1)).unwrap();
        assert!(own.contains(": ScoreBoardFile /dev/shm/"), "{own}");
        assert_eq!(of(Source::Sockets, &stranger).as_deref(), Some("usual"));
        assert_eq!(mend(Source::Scoreboard, Why::Other, &stranger, None), None);
    }

    #[test]
    fn who_may_read_the_log_is_told_by_what_keeps_one_out() {
        let log = |path: &str| Viewer { log: Some(path.into()), ..viewer(false, 0) };
        // What is root's alone is given to one user, not to a group.
        let mended = mend(Source::ErrorLog, Why::Permission, &log("/etc/passwd-none"), None);
        assert_eq!(mended.as_deref(), Some("setfacl -m u:gracekeeper:rX /etc"));
    }
}
