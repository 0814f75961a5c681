//! Logs that were rotated under a process that still writes them.
//!
//! A descriptor is one of a rotated log if its file has no name any more, or another one than that
//! under which it was seen first, or one that a rotation makes of a log's name while the process has
//! no file of that name: `error_log.1`, `error_log-20261122`, `error-20261122.log`. What was
//! truncated in place is no rotation: the process goes on where people look.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::{
    files::{FileIdentity, OpenLog, OpenLogs},
    headroom::Role,
    process::ProcessId,
    snapshot::Part,
};

/// Follows the names of the logs that a server's processes have open.
#[derive(Clone, Debug, Default)]
pub struct LogTracker {
    /// The name under which each file was seen first.
    names: BTreeMap<FileIdentity, PathBuf>,
    folded: Option<Folded>,
}

/// What was made of the last listing, of which there may be a new one less often than a look.
#[derive(Clone, Debug)]
struct Folded {
    logs: Arc<OpenLogs>,
    log_files: Option<Vec<PathBuf>>,
    rotated: BTreeMap<ProcessId, u64>,
}

impl LogTracker {
    /// Folds one look: how many descriptors of rotated logs processes of each role have.
    /// `log_files` are the logs that the configuration names, `None` where httpd could not be asked.
    /// A role of which no process could be listed yet is left out; so are all if nothing was seen.
    pub fn observe(
        &mut self,
        logs: Option<&Part<Arc<OpenLogs>>>,
        log_files: Option<&[PathBuf]>,
        roles: &BTreeMap<ProcessId, Role>,
    ) -> BTreeMap<Role, u64> {
        let Some(logs) = logs.and_then(Part::seen) else { return BTreeMap::new() };
        let rotated = self.fold(logs, log_files);
        let mut counts = BTreeMap::new();
        for role in Role::ALL.iter().copied() {
            let mut of_role = roles.iter().filter(|(_, it)| **it == role).peekable();
            let is_nobody = of_role.peek().is_none();
            let listed: Vec<u64> = of_role.filter_map(|(id, _)| rotated.get(id).copied()).collect();
            if is_nobody || !listed.is_empty() {
                counts.insert(role, listed.into_iter().sum());
            }
        }
        counts
    }

    fn fold(
        &mut self,
        logs: &Arc<OpenLogs>,
        log_files: Option<&[PathBuf]>,
    ) -> &BTreeMap<ProcessId, u64> {
        let earlier = self.folded.take().filter(|folded| {
            Arc::ptr_eq(&folded.logs, logs) && folded.log_files.as_deref() == log_files
        });
        let folded = match earlier {
            Some(earlier) => earlier,
            None => self.fold_anew(logs, log_files),
        };
        &self.folded.insert(folded).rotated
    }

    fn fold_anew(&mut self, logs: &Arc<OpenLogs>, log_files: Option<&[PathBuf]>) -> Folded {
        self.remember(logs);
        let configured = log_files.map(Configured::of);
        // Children have most lists in common with their parent.
        let mut lists: BTreeMap<*const OpenLog, u64> = BTreeMap::new();
        let mut rotated = BTreeMap::new();
        for (id, list) in &logs.processes {
            let count = || self.count(list, configured.as_ref());
            rotated.insert(*id, *lists.entry(list.as_ptr()).or_insert_with(count));
        }
        let log_files = log_files.map(<[PathBuf]>::to_vec);
        Folded { logs: Arc::clone(logs), log_files, rotated }
    }

    /// What nobody has open any more is forgotten.
    fn remember(&mut self, logs: &OpenLogs) {
        let mut earlier = std::mem::take(&mut self.names);
        let mut seen = BTreeSet::new();
        for list in logs.processes.values().filter(|list| seen.insert(list.as_ptr())) {
            for log in list.iter() {
                let first = || earlier.remove(&log.file).unwrap_or_else(|| log.path.clone());
                self.names.entry(log.file).or_insert_with(first);
            }
        }
    }

    fn count(&self, list: &[OpenLog], configured: Option<&Configured<'_>>) -> u64 {
        let held = Held::of(list);
        let rotated = list.iter().filter(|log| self.is_rotated(log, &held, configured));
        u64::try_from(rotated.count()).unwrap_or(u64::MAX)
    }

    fn is_rotated(
        &self,
        log: &OpenLog,
        held: &Held<'_>,
        configured: Option<&Configured<'_>>,
    ) -> bool {
        if log.is_deleted {
            return true;
        }
        if configured.is_some_and(|it| it.paths.contains(log.path.as_path())) {
            return false;
        }
        let is_renamed = self.names.get(&log.file).is_some_and(|first| *first != log.path);
        is_renamed || configured.is_some_and(|it| it.lacks_original(&log.path, held))
    }
}

/// The logs that the configuration names.
struct Configured<'a> {
    paths: BTreeSet<&'a Path>,
    /// By the name of the file.
    names: BTreeMap<String, Vec<&'a Path>>,
}

/// What a process has open under its own name.
struct Held<'a> {
    paths: BTreeSet<&'a Path>,
    /// How many by the name of the file.
    names: BTreeMap<String, usize>,
}

impl<'a> Configured<'a> {
    fn of(files: &'a [PathBuf]) -> Self {
        let paths: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in &paths {
            names.entry(name(path)).or_default().push(*path);
        }
        Self { paths, names }
    }

    /// It has a name that a rotation makes of a log's, and the process has no such log.
    fn lacks_original(&self, path: &Path, held: &Held<'_>) -> bool {
        let name = name(path);
        // The directory may be told as a link that leads there.
        if self.names.contains_key(&name) {
            return false;
        }
        originals(&name).iter().any(|original| {
            self.names.get(original).is_some_and(|logs| {
                let beside = logs.iter().find(|log| log.parent() == path.parent());
                match beside {
                    Some(log) => !held.paths.contains(log),
                    None => held.names.get(original).is_none_or(|held| *held < logs.len()),
                }
            })
        })
    }
}

impl<'a> Held<'a> {
    fn of(list: &'a [OpenLog]) -> Self {
        let kept = list.iter().filter(|log| !log.is_deleted);
        let paths: BTreeSet<&Path> = kept.map(|log| log.path.as_path()).collect();
        let mut names = BTreeMap::new();
        for path in &paths {
            *names.entry(name(path)).or_default() += 1;
        }
        Self { paths, names }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names of which rotations may have made this one: what follows them, or stands before their
/// extension, is a number, a date, or the word `old`.
fn originals(name: &str) -> Vec<String> {
    let mut originals = Vec::new();
    let parts = [(name, "")].into_iter().chain(name.rfind('.').map(|at| name.split_at(at)));
    for (stem, extension) in parts {
        for (at, _) in stem.match_indices(['.', '-', '_']) {
            let (original, mark) = stem.split_at(at);
            if !original.is_empty() && is_mark(mark) {
                originals.push([original, extension].concat());
            }
        }
    }
    originals
}

fn is_mark(text: &str) -> bool {
    let mark = text.trim_start_matches(['.', '-', '_']);
    let is_date = |it: char| it.is_ascii_digit() || matches!(it, '.' | '-' | '_' | ':' | 'T' | 'Z');
    matches!(mark, "old" | "bak")
        || (mark.starts_with(|it: char| it.is_ascii_digit()) && mark.chars().all(is_date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{process::Pid, source::Why, time::Uptime};

    const LOGS: [&str; 2] = ["/var/log/httpd/error_log", "/var/log/httpd/access_log"];

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(1) }
    }

    fn log(inode: u64, name: &str) -> OpenLog {
        let kept = name.strip_suffix(" (deleted)");
        let file = FileIdentity { device: 1, inode, born: None };
        OpenLog { file, path: kept.unwrap_or(name).into(), is_deleted: kept.is_some() }
    }

    fn seen(lists: &[(i32, &[(u64, &str)])]) -> Part<Arc<OpenLogs>> {
        let list = |(pid, logs): &(i32, &[(u64, &str)])| {
            (process(*pid), logs.iter().map(|(inode, name)| log(*inode, name)).collect())
        };
        Part::Seen(Arc::new(OpenLogs { processes: lists.iter().map(list).collect() }))
    }

    fn files(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn roles(parent: i32, current: &[i32], old: &[i32]) -> BTreeMap<ProcessId, Role> {
        let of = |pids: &[i32], role| -> Vec<_> {
            pids.iter().map(|pid| (process(*pid), role)).collect()
        };
        [of(&[parent], Role::Parent), of(current, Role::Current), of(old, Role::Old)]
            .concat()
            .into_iter()
            .collect()
    }

    fn counts(parent: u64, current: u64, old: u64) -> BTreeMap<Role, u64> {
        [(Role::Parent, parent), (Role::Current, current), (Role::Old, old)].into()
    }

    /// Of a parent that has these open, seen for the first time.
    fn rotated(logs: &[(u64, &str)], log_files: Option<&[&str]>) -> u64 {
        let log_files = log_files.map(files);
        let seen = seen(&[(1, logs)]);
        let counts =
            LogTracker::default().observe(Some(&seen), log_files.as_deref(), &roles(1, &[], &[]));
        assert_eq!((counts.get(&Role::Current), counts.get(&Role::Old)), (Some(&0), Some(&0)));
        *counts.get(&Role::Parent).unwrap()
    }

    #[test]
    fn what_is_not_seen_is_not_told() {
        let mut tracker = LogTracker::default();
        let roles = roles(1, &[2], &[]);
        assert!(tracker.observe(None, None, &roles).is_empty());
        assert!(tracker.observe(Some(&Part::Unseen(Why::Permission)), None, &roles).is_empty());
        let seen = seen(&[(1, &[(5, LOGS[0])])]);
        let told = tracker.observe(Some(&seen), None, &roles);
        assert_eq!(told, [(Role::Parent, 0), (Role::Old, 0)].into(), "the child has no list yet");
    }

    #[test]
    fn a_rotation_is_counted_until_the_log_is_opened_again() {
        for log_files in [None, Some(files(&LOGS))] {
            let mut tracker = LogTracker::default();
            let mut told = |lists: &[(i32, &[(u64, &str)])], roles: &BTreeMap<_, _>| {
                tracker.observe(Some(&seen(lists)), log_files.as_deref(), roles)
            };
            let own = [(5, LOGS[0]), (6, LOGS[1])];
            let calm = roles(1, &[2, 3], &[]);
            assert_eq!(told(&[(1, &own), (2, &own), (3, &own)], &calm), counts(0, 0, 0));
            // Whatever it is called.
            let moved = [(5, "/backup/x"), (6, "/var/log/httpd/access_log-20261122")];
            let lists: [(i32, &[_]); 3] = [(1, &moved), (2, &moved), (3, &moved)];
            assert_eq!(told(&lists, &calm), counts(2, 4, 0));
            let new = [(7, LOGS[0]), (8, LOGS[1])];
            let drains = roles(1, &[4], &[3]);
            assert_eq!(told(&[(1, &new), (3, &moved), (4, &new)], &drains), counts(0, 0, 2));
            let deleted = [(5, "/backup/x (deleted)"), (6, "/x (deleted)")];
            assert_eq!(told(&[(1, &new), (3, &deleted), (4, &new)], &drains), counts(0, 0, 2));
            let calm = roles(1, &[4], &[]);
            assert_eq!(told(&[(1, &new), (4, &new)], &calm), counts(0, 0, 0));
            let reused = [(7, LOGS[0]), (8, LOGS[1]), (5, "/opt/audit")];
            assert_eq!(told(&[(1, &reused), (4, &new)], &calm), counts(0, 0, 0), "another file");
        }
    }

    #[test]
    fn a_log_that_was_rotated_before_anybody_looked_is_told_by_its_name() {
        for (name, expected) in [
            ("/var/log/httpd/error_log.1", 1),
            ("/var/log/httpd/error_log-20261122", 1),
            ("/var/log/httpd/error_log-20261122-1795312800", 1),
            ("/var/log/httpd/error_log.old", 1),
            ("/var/log/httpd/olddir/error_log.1", 1),
            ("/var/log/httpd/error_log (deleted)", 1),
            ("/var/log/httpd/error_log", 0),
            ("/var/log/httpd/error_log.audit", 0),
            ("/var/log/httpd/error_log2", 0),
            ("/var/log/php/php_error_log.1", 0),
        ] {
            let logs = [(5, name), (6, LOGS[1])];
            assert_eq!(rotated(&logs, Some(&LOGS)), expected, "{name}");
            let alone = u64::from(name.ends_with("(deleted)"));
            assert_eq!(rotated(&logs, None), alone, "{name}: nobody knows what it was");
            let both = [(5, name), (6, LOGS[1]), (7, LOGS[0])];
            assert_eq!(rotated(&both, Some(&LOGS)), alone, "{name} beside the log itself");
        }
        let extended = ["/var/log/apache2/error.log", "/var/log/apache2/access.log"];
        for name in ["error-20261122.log", "error.1.log", "error.log.1", "error_2026-11-22.log"] {
            let path = format!("/var/log/apache2/{name}");
            assert_eq!(rotated(&[(5, &path)], Some(&extended)), 1, "{name}");
        }
    }

    #[test]
    fn logs_of_many_virtual_hosts_are_told_apart() {
        let logs = ["/srv/a/error.log", "/srv/b/error.log"];
        let one = [(5, "/srv/a/error.log.1"), (6, "/srv/b/error.log")];
        assert_eq!(rotated(&one, Some(&logs)), 1);
        let moved = [(5, "/olddir/error.log.1"), (6, "/srv/b/error.log")];
        assert_eq!(rotated(&moved, Some(&logs)), 1);
        let other = [(5, "/olddir/error.log.1"), (6, "/srv/b/error.log"), (7, "/srv/a/error.log")];
        assert_eq!(rotated(&other, Some(&logs)), 0);
    }

    #[test]
    fn a_configuration_that_names_logs_over_a_link_is_understood() {
        let logs = ["/etc/httpd/logs/error_log", "/etc/httpd/logs/access_log"];
        let plain = [(5, LOGS[0]), (6, LOGS[1])];
        assert_eq!(rotated(&plain, Some(&logs)), 0);
        let one = [(5, "/var/log/httpd/error_log.1"), (6, LOGS[1])];
        assert_eq!(rotated(&one, Some(&logs)), 1);
    }

    #[test]
    fn what_others_append_to_counts_only_if_it_was_renamed() {
        let mut tracker = LogTracker::default();
        let log_files = files(&LOGS);
        let mut told = |name: &str| {
            let seen = seen(&[(1, &[(5, LOGS[0]), (6, LOGS[1]), (9, name)])]);
            tracker.observe(Some(&seen), Some(&log_files), &roles(1, &[], &[]))
        };
        assert_eq!(told("/var/log/php/php.log"), counts(0, 0, 0));
        assert_eq!(told("/var/log/php/php.log.1"), counts(1, 0, 0));
        assert_eq!(told("/var/log/php/php.log"), counts(0, 0, 0), "renamed back");
    }

    #[test]
    fn a_configuration_that_comes_later_is_counted_with() {
        let mut tracker = LogTracker::default();
        let (seen, roles) = (seen(&[(1, &[(5, "/l/error_log.1")])]), roles(1, &[], &[]));
        assert_eq!(tracker.observe(Some(&seen), None, &roles), counts(0, 0, 0));
        let log_files = files(&["/l/error_log"]);
        assert_eq!(tracker.observe(Some(&seen), Some(&log_files), &roles), counts(1, 0, 0));
        assert_eq!(tracker.observe(Some(&seen), Some(&log_files), &roles), counts(1, 0, 0));
    }
}
