//! Who could have caused a restart: programs that restart httpds, as far as they live when the
//! process table is read.
//!
//! A signal leaves no sender behind. So this tells who was seen, never who it was: a program that
//! was gone before somebody looked is not in it, and a shell's own `kill` never is.

use std::{fs, os::unix::fs::MetadataExt as _, time::Duration};

use procfs::process::Process;
use rustix::process::{geteuid, getpid};

use super::process_table::ProcessTable;
use crate::{
    clock,
    model::process::{Pid, ProcessId, ProcessState},
};

/// Nobody looks for longer, of CPU time: who has so many processes cannot be told of at once. Those
/// of users who may not signal cost next to nothing, so that none of them hides others.
const MOST_WORK: Duration = Duration::from_millis(250);
/// Names beyond these are left out.
const MOST_NAMES: usize = 8;
/// A name is cut after as many bytes.
const LONGEST_NAME: usize = 64;
/// Parents of a suspect that are named too.
const MOST_ANCESTORS: usize = 8;
/// The kernel cuts names after as many bytes (`TASK_COMM_LEN`).
const LONGEST_COMM: usize = 15;

/// Programs that restart a server when they are told to: with one of [`ORDERS`].
const CONTROLS: [&[u8]; 9] = [
    b"apachectl",
    b"apache2ctl",
    b"httpd",
    b"apache2",
    b"systemctl",
    b"service",
    b"invoke-rc.d",
    b"rc-service",
    b"supervisorctl",
];
/// What they are told.
const ORDERS: [&[u8]; 12] = [
    b"graceful",
    b"graceful-stop",
    b"restart",
    b"stop",
    b"start",
    b"reload",
    b"force-reload",
    b"try-restart",
    b"reload-or-restart",
    b"try-reload-or-restart",
    b"condrestart",
    b"kill",
];
/// Programs that may restart a server whatever they are told.
const RESTARTERS: [&[u8]; 30] = [
    b"kill",
    b"pkill",
    b"killall",
    b"skill",
    b"logrotate",
    b"certbot",
    b"dehydrated",
    b"acme.sh",
    b"lego",
    b"getssl",
    b"ansible",
    b"ansible-playbook",
    b"ansible-pull",
    b"puppet",
    b"chef-client",
    b"cinc-client",
    b"salt-call",
    b"salt-minion",
    b"cf-agent",
    b"needrestart",
    b"unattended-upgrade",
    b"apt.systemd.daily",
    b"dpkg",
    b"apt",
    b"apt-get",
    b"aptitude",
    b"dnf",
    b"yum",
    b"rpm",
    b"zypper",
];
/// What Ansible's modules are called on the hosts that they change.
const ANSIBLE_MODULE: &[u8] = b"AnsiballZ_";
/// What runs scripts, whose names are then its first argument.
const INTERPRETERS: [&[u8]; 10] =
    [b"sh", b"bash", b"dash", b"ash", b"zsh", b"ksh", b"busybox", b"env", b"perl", b"ruby"];
/// Has its release in its name: `python3.13`.
const PYTHON: &[u8] = b"python";

/// The names of all programs alive now that could have restarted the server of this parent, and of
/// their parents, each once. `owner` is the user whose processes may signal it besides root's.
///
/// This costs about a read of a small file for each process of these users.
#[must_use]
pub fn suspects(table: &ProcessTable, parent: Option<Pid>, owner: Option<u32>) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(pids) = table.all() else { return names };
    let before = clock::work_of_this_thread();
    // The youngest first: what is called once lives shortly, daemons live long.
    for pid in pids.into_iter().rev() {
        if clock::work_of_this_thread().saturating_sub(before) > MOST_WORK {
            break;
        }
        if !may_be_of(table, pid, owner) {
            continue;
        }
        let Some(words) = restarter(table, pid) else { continue };
        if !may_signal(table, pid, owner) || is_above(table, parent, pid) {
            continue;
        }
        let Some(above) = ancestors(table, pid) else { continue };
        note(&mut names, &words);
        for name in above {
            note(&mut names, &name);
        }
        if names.len() >= MOST_NAMES {
            break;
        }
    }
    names.truncate(MOST_NAMES);
    names
}

/// The name of a living program that restarts httpds.
fn restarter(table: &ProcessTable, pid: Pid) -> Option<Vec<u8>> {
    let row = table.row(pid).ok()?;
    // Most processes are asked no more than this.
    if row.state == ProcessState::Ended || !could_be(&row.name) {
        return None;
    }
    let line = table.command_line(pid).ok()?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let name = program(&words).unwrap_or_default();
    is_restarter(name, &words).then(|| name.to_vec())
}

/// The kernel's name for a process is that of its program, cut, or of its interpreter.
fn could_be(comm: &[u8]) -> bool {
    let fits = |name: &&[u8]| name.get(..name.len().min(LONGEST_COMM)) == Some(comm);
    is_interpreter(comm)
        || comm.starts_with(ANSIBLE_MODULE)
        || CONTROLS.iter().chain(&RESTARTERS).any(fits)
}

fn is_interpreter(name: &[u8]) -> bool {
    INTERPRETERS.contains(&name) || name.starts_with(PYTHON)
}

fn is_restarter(name: &[u8], words: &[&[u8]]) -> bool {
    let told = || words.iter().skip(1).any(|word| ORDERS.contains(word));
    // One that serves is told `-k start`, and lives as long as it serves.
    let serves = || is_httpd(name) && words.contains(&b"start".as_slice());
    RESTARTERS.contains(&name)
        || name.starts_with(ANSIBLE_MODULE)
        || CONTROLS.contains(&name) && told() && !serves()
}

fn is_httpd(name: &[u8]) -> bool {
    name == b"httpd" || name == b"apache2"
}

/// What a command line calls: of a script its own name, and not its interpreter's.
fn program<'a>(words: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut names = words.iter().map(|word| base(word));
    let first = names.next()?;
    if !is_interpreter(first) {
        return Some(first);
    }
    match words.get(1) {
        Some(script) if !script.is_empty() && !script.starts_with(b"-") => names.next(),
        // `sh -e SCRIPT`, as `#!/bin/sh -e` makes it; `sh -c COMMANDS` names none.
        Some(&(b"-e" | b"-u" | b"-E" | b"-s" | b"-eu")) => names.nth(1).or(Some(first)),
        Some(_) | None => Some(first),
    }
}

/// Of a path the last part; a shell that was logged in to has a dash before its name.
fn base(word: &[u8]) -> &[u8] {
    let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or(word);
    name.strip_prefix(b"-").unwrap_or(name)
}

/// Whether a process may be of a user who may signal. What may not be looked into is shown as
/// root's whoever's it is.
fn may_be_of(table: &ProcessTable, pid: Pid, owner: Option<u32>) -> bool {
    fs::metadata(table.path(pid, "")).is_ok_and(|it| is_of(it.uid(), owner))
}

/// Root's processes, the owner's and our own user's may. Anybody may call his program as he likes,
/// and become effectively root for as long as `su` asks him for a password: who began it counts.
fn may_signal(table: &ProcessTable, pid: Pid, owner: Option<u32>) -> bool {
    let status = table.process(pid).ok().and_then(|process: Process| process.status().ok());
    status.is_some_and(|status| is_of(status.ruid, owner))
}

fn is_of(user: u32, owner: Option<u32>) -> bool {
    user == 0 || user == owner.unwrap_or_else(|| geteuid().as_raw())
}

/// Whether it started the server, and so does not restart it: `apachectl -DFOREGROUND`.
fn is_above(table: &ProcessTable, parent: Option<Pid>, pid: Pid) -> bool {
    let mut above = parent;
    for _ in 0..MOST_ANCESTORS {
        if above == Some(pid) {
            return true;
        }
        let row = above.and_then(|above| table.row(above).ok());
        above = row.and_then(|row| Pid::new(row.parent));
    }
    false
}

/// The names of its parents up to, and without, the first process; `None` for what gracekeeper
/// itself started.
fn ancestors(table: &ProcessTable, pid: Pid) -> Option<Vec<Vec<u8>>> {
    let own = getpid().as_raw_nonzero().get();
    let mut names = Vec::new();
    let mut row = table.row(pid).ok();
    let mut child: Option<ProcessId> = None;
    for _ in 0..=MOST_ANCESTORS {
        let Some(it) = row.take() else { break };
        // A number may have changed hands in between: parents are older than their children.
        if it.id.pid.as_raw() <= 1 || child.is_some_and(|child| it.id.started > child.started) {
            break;
        }
        if it.id.pid.as_raw() == own {
            return None;
        }
        if child.is_some() {
            names.push(called(table, it.id.pid).unwrap_or(it.name));
        }
        child = Some(it.id);
        row = Pid::new(it.parent).and_then(|parent| table.row(parent).ok());
    }
    Some(names)
}

/// The name of the script that a process runs, if it runs one.
fn called(table: &ProcessTable, pid: Pid) -> Option<Vec<u8>> {
    let line = table.command_line(pid).ok()?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let first = base(words.first()?);
    is_interpreter(first).then(|| program(&words).unwrap_or(first).to_vec())
}

/// Adds a name that can be printed, once.
fn note(names: &mut Vec<String>, name: &[u8]) {
    let shown = name.iter().take(LONGEST_NAME).map(|byte| match byte {
        b'!'..=b'~' => char::from(*byte),
        _ => '?',
    });
    let shown: String = shown.collect();
    if !shown.is_empty() && !names.contains(&shown) {
        names.push(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn who_could_have_done_it_is_told_by_its_command_line() {
        let table = [
            ("/usr/sbin/apache2 -k graceful", Some("apache2")),
            ("/usr/sbin/apache2 -k start", None),
            ("/usr/sbin/httpd -DFOREGROUND", None),
            ("/usr/sbin/apache2 -t", None),
            ("/bin/sh /usr/sbin/apachectl graceful", Some("apachectl")),
            ("/bin/sh -e /usr/sbin/apache2ctl restart", Some("apache2ctl")),
            ("/bin/sh /usr/sbin/apachectl configtest", None),
            ("systemctl reload apache2", Some("systemctl")),
            ("systemctl status apache2", None),
            ("/bin/sh /usr/sbin/service apache2 reload", Some("service")),
            ("/usr/bin/python3.13 /usr/bin/certbot renew", Some("certbot")),
            ("/usr/bin/python3 -u /root/x/AnsiballZ_service.py", Some("AnsiballZ_service.py")),
            ("/usr/bin/python3 /usr/share/x/unattended-upgrade-shutdown --wait-for-signal", None),
            ("/usr/sbin/logrotate /etc/logrotate.conf", Some("logrotate")),
            ("-bash", None),
            ("bash -c apachectl graceful", None),
            ("kill -USR1 1", Some("kill")),
            ("sh", None),
            ("", None),
        ];
        for (line, expected) in table {
            let words = words(line);
            let name = program(&words).unwrap_or_default();
            let found = is_restarter(name, &words).then_some(name);
            assert_eq!(found, expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn every_restarter_passes_the_first_question() {
        for name in CONTROLS.iter().chain(&RESTARTERS).chain(&INTERPRETERS) {
            assert!(could_be(&name[..name.len().min(15)]), "{name:?}");
        }
        assert!(could_be(b"unattended-upgr") && could_be(b"python3.13"));
        assert!(!could_be(b"postgres") && !could_be(b""));
    }

    #[test]
    fn names_are_printable_short_and_each_once() {
        let mut names = Vec::new();
        for name in [b"a b\n\"\x1b\xff".as_slice(), b"x", b"x", b"", [b'y'; 99].as_slice()] {
            note(&mut names, name);
        }
        assert_eq!(names, ["a?b?\"??".to_owned(), "x".to_owned(), "y".repeat(64)]);
    }

    /// A process table with these processes: number, name, real and effective user.
    fn table_of(processes: &[(i32, &str, [u32; 2])]) -> (tempfile::TempDir, ProcessTable) {
        let directory = tempfile::tempdir().unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        for (pid, name, [real, effective]) in processes {
            let process = directory.path().join(pid.to_string());
            fs::create_dir(&process).unwrap();
            let rest = "0 ".repeat(17);
            let stat = format!("{pid} ({name}) S 1 {rest}{pid} 0 0\n");
            fs::write(process.join("stat"), stat).unwrap();
            fs::write(process.join("cmdline"), format!("{name}\0renew\0")).unwrap();
            let users = format!("Uid:\t{real}\t{effective}\t{effective}\t{effective}");
            let lines = status.lines().map(|line| match line.split_once(':') {
                Some(("Uid", _)) => users.as_str(),
                _ => line,
            });
            let status: Vec<&str> = lines.collect();
            fs::write(process.join("status"), status.join("\n") + "\n").unwrap();
        }
        let table = ProcessTable::new(directory.path().to_owned());
        (directory, table)
    }

    #[test]
    fn who_became_root_to_be_asked_for_a_password_is_no_suspect() {
        let own = geteuid().as_raw();
        let stranger = own + 64_999;
        let (_directory, table) = table_of(&[
            (70, "certbot", [stranger, 0]),
            (71, "logrotate", [0, 0]),
            (72, "puppet", [own, own]),
            (73, "dehydrated", [stranger, stranger]),
        ]);
        let mut seen = suspects(&table, None, Some(own));
        seen.sort();
        assert_eq!(seen, ["logrotate", "puppet"]);
    }

    #[test]
    fn a_crowd_of_strangers_hides_nobody() {
        let own = geteuid().as_raw();
        let (directory, table) = table_of(&[(900, "certbot", [own, own])]);
        for stranger in 1000..5300 {
            fs::create_dir(directory.path().join(stranger.to_string())).unwrap();
        }
        assert_eq!(suspects(&table, None, Some(own)), ["certbot"], "the oldest of them all");
    }

    #[test]
    fn what_gracekeeper_starts_is_no_suspect() {
        let own = Pid::new(getpid().as_raw_nonzero().get()).unwrap();
        assert_eq!(ancestors(&ProcessTable::new("/proc".into()), own), None);
    }
}
