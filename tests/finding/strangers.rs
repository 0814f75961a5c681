//! Processes that look like a httpd, and httpds that are none of this host's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::{
    Kept, discovering, is_down, is_up, label, name_of, named, serves, shell, start, stays, stopped,
    up,
};
use crate::harness::{Httpd, eventually, metrics::Metrics, process::children_of, program};

const NOBODY: u32 = 65534;
/// Neither root nor whom a test runs gracekeeper by.
const ANYBODY: u32 = 64999;

fn public_directory() -> TempDir {
    let directory = TempDir::with_prefix("fake-").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Runs as a group, which is killed on drop.
struct Fake(Kept);

impl Fake {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).process_group(0).spawn().unwrap();
        let fake = Self(Kept(child));
        eventually("the fake has a child", || !children_of(fake.0.pid()).is_empty());
        fake
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0.0);
        let _: rustix::io::Result<()> =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// A script of that name, which runs itself once more.
fn script(directory: &Path) -> PathBuf {
    let script = directory.join("apache2");
    let text = "#!/bin/sh\n[ \"$1\" = child ] || \"$0\" child &\nwhile :; do sleep 1; done\n";
    program::write_script(&script, text);
    script
}

/// A shell of that name, with a child of that name, called as the httpd is.
fn shell_called_httpd(directory: &Path, httpd: &Httpd, prologue: &str) -> Command {
    let program = directory.join("apache2");
    program::copy(Path::new("/bin/bash"), &program);
    let body = format!("{prologue} while :; do sleep 1; done");
    let mut command = Command::new(&program);
    command
        .args(["-c", &format!("({body}) & {body}")])
        .arg("-d")
        .arg(httpd.directory())
        .arg("-f")
        .arg(httpd.configuration_file());
    command
}

#[test]
fn a_script_that_is_named_as_httpd_is_none() {
    let directory = public_directory();
    let fake = Fake::start(&mut Command::new(script(directory.path())));
    let pid_file = directory.path().join("httpd.pid");
    fs::write(&pid_file, fake.pid().to_string()).unwrap();
    let (by_pid_file, discovering) = (named(&pid_file), discovering());
    stays(&by_pid_file, "main", Some(0.0));
    stays(&discovering, &name_of(directory.path()), None);
    assert!(!discovering.log().contains(&format!("pid={} ", fake.pid())));
    assert!(!discovering.log().contains(&format!("pid={}\n", fake.pid())));
}

#[test]
fn a_program_that_is_called_as_a_server_does_not_take_its_place() {
    let mut httpd = stopped();
    let directory = public_directory();
    let _fake = Fake::start(&mut shell_called_httpd(directory.path(), &httpd, ""));
    let (gracekeeper, name) = (discovering(), label(&httpd));
    stays(&gracekeeper, &name, None);
    httpd.start_again();
    is_up(&gracekeeper, &name);
    httpd.stop();
    is_down(&gracekeeper, &name);
    stays(&gracekeeper, &name, Some(0.0));
}

#[test]
fn another_users_perfect_imitation_does_not_take_a_servers_place() {
    if !geteuid().is_root() {
        // Only root starts processes of another user; those of one's own one may imitate.
        assert!(Command::new("true").uid(NOBODY).spawn().is_err());
        return;
    }
    let httpd = start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    let directory = public_directory();
    let signals = "trap : HUP INT USR1 TERM WINCH;";
    let mut command = shell_called_httpd(directory.path(), &httpd, signals);
    let _fake = Fake::start(command.uid(NOBODY).gid(NOBODY));
    stays(&gracekeeper, &name, Some(1.0));
    httpd.stop();
    is_down(&gracekeeper, &name);
    stays(&gracekeeper, &name, Some(0.0));
    assert_eq!(gracekeeper.get("/-/healthy").status, 200);
}

/// Perfect imitations, each of a server of its own.
fn imitations(directory: &Path, count: usize) -> Vec<Fake> {
    let program = directory.join("apache2");
    program::copy(Path::new("/bin/bash"), &program);
    let body = "trap : HUP INT USR1 TERM WINCH; while :; do sleep 60; done";
    let start = |number: usize| {
        let configuration = directory.join(format!("imitation-{number}/httpd.conf"));
        let mut command = Command::new(&program);
        command.args(["-c", &format!("({body}) & {body}")]).arg("-f").arg(configuration);
        Fake::start(command.uid(ANYBODY).gid(ANYBODY))
    };
    (0..count).map(start).collect()
}

fn imitated(metrics: &Metrics, value: f64) -> usize {
    let is_it = |number: &usize| up(metrics, &format!("imitation-{number}")) == Some(value);
    (0..MANY).filter(is_it).count()
}

/// More than are watched.
const MANY: usize = 18;

#[test]
fn many_imitations_do_not_keep_roots_servers_from_being_watched() {
    if !geteuid().is_root() {
        // Only root starts processes of another user; those of one's own one may imitate.
        assert!(Command::new("true").uid(ANYBODY).spawn().is_err());
        return;
    }
    let directory = public_directory();
    let fakes = imitations(directory.path(), MANY);
    let gracekeeper = discovering();
    let limit = [("reason", "limit")];
    gracekeeper.wait_until("there are too many", |metrics| {
        imitated(metrics, 1.0) > 0
            && metrics.value("gracekeeper_unwatched_servers", &limit) >= Some(2.0)
    });
    let httpd = start();
    let name = label(&httpd);
    is_up(&gracekeeper, &name);
    assert!(gracekeeper.log().contains("no longer watched"), "{}", gracekeeper.log());

    drop(fakes);
    let metrics = gracekeeper.wait_until("few stay when they are down", |metrics| {
        imitated(metrics, 1.0) == 0 && imitated(metrics, 0.0) <= 4
    });
    assert_eq!(up(&metrics, &name), Some(1.0));
    httpd.stop();
    is_down(&gracekeeper, &name);
    let gracekeeper = gracekeeper.leave().start_again();
    let metrics = is_down(&gracekeeper, &name);
    assert_eq!(imitated(&metrics, 0.0), 0, "none is remembered");
}

/// A shell of that name that catches nothing, called as the httpd is, with a program that asks.
fn asks_as_httpd(directory: &Path, httpd: &Httpd) -> Command {
    let (program, dialog) = (directory.join("apache2"), directory.join("dialog"));
    let fifo = directory.join("fifo");
    program::copy(Path::new("/bin/bash"), &program);
    program::write_script(&dialog, "#!/bin/sh\nsleep 600\n");
    let body = format!("{} localhost:443 RSA & exec < {}", dialog.display(), fifo.display());
    mknodat(CWD, fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let mut command = Command::new(&program);
    command.args(["-c", &body]).arg("-d").arg(httpd.directory());
    command.arg("-f").arg(httpd.configuration_file());
    command
}

#[test]
fn a_stranger_that_asks_is_no_start_of_roots_server() {
    if !geteuid().is_root() {
        assert!(Command::new("true").uid(ANYBODY).spawn().is_err());
        return;
    }
    let httpd = stopped();
    let name = label(&httpd);
    let both = [(named(&httpd.pid_file()), "main"), (discovering(), &name)];
    let pending = |metrics: &Metrics, server: &str| {
        metrics.value("httpd_passphrase_prompt_pending", &[("server", server)])
    };
    let looks =
        |metrics: &Metrics| metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap();
    let directory = public_directory();
    let stranger = Fake::start(asks_as_httpd(directory.path(), &httpd).uid(ANYBODY).gid(ANYBODY));
    for (gracekeeper, server) in &both {
        stays(gracekeeper, server, (*server == "main").then_some(0.0));
        let before = looks(&gracekeeper.scrape());
        gracekeeper.wait_until("the time of a prompt is over", |metrics| {
            assert_ne!(pending(metrics, server), Some(1.0), "{server}");
            assert_eq!(up(metrics, server).is_some(), *server == "main");
            looks(metrics) > before + 25.0
        });
    }
    drop(stranger);
    let directory = public_directory();
    let _own = Fake::start(&mut asks_as_httpd(directory.path(), &httpd));
    for (gracekeeper, server) in &both {
        gracekeeper.wait_until("root's own is", |metrics| pending(metrics, server) == Some(1.0));
    }
}

#[test]
fn a_httpd_in_a_pid_namespace_of_its_own_is_not_watched() {
    if !geteuid().is_root() {
        let refused = Command::new("unshare").args(["-pfm", "true"]).output().unwrap();
        assert!(!refused.status.success(), "only root makes a PID namespace");
        return;
    }
    let httpd = stopped();
    let unshare = "exec unshare -pfm --kill-child \"$@\"";
    let _starter = shell(&httpd, unshare, &httpd.configuration_file());
    serves(&httpd);
    // Its pid file says 1, which is somebody else here.
    assert_eq!(fs::read_to_string(httpd.pid_file()).unwrap().trim(), "1");
    stays(&discovering(), &label(&httpd), None);
    stays(&named(&httpd.pid_file()), "main", Some(0.0));
}
