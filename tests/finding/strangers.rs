//! Processes that look like a httpd, and httpds that are none of this host's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::{
    Kept, discovering, is_down, is_up, label, name_of, named, serves, shell, start, stays, stopped,
};
use crate::harness::{Httpd, eventually, process::children_of, program};

const NOBODY: u32 = 65534;

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
