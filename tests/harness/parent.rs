//! The process that restarts: how it is started, and reaped where it is ours.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use super::eventually::eventually;
use super::process::{MARK, Process};

const PROGRAM: &str = "/usr/sbin/apache2";

pub(super) struct Parent {
    pub(super) process: Process,
    reaper: Option<Reaper>,
}

/// Reaps our own child at once: a parent that stays a zombie would look like no installation does.
struct Reaper {
    status: Arc<OnceLock<ExitStatus>>,
    thread: JoinHandle<()>,
}

impl Parent {
    /// Of the httpd in `directory`.
    pub(super) fn in_foreground(directory: &Path) -> Self {
        let mut child = spawn(directory, &["-D", "FOREGROUND"]);
        let process = Process::open(child.id()).expect("a child that is not reaped is there");
        let status = Arc::new(OnceLock::new());
        let reaped = Arc::clone(&status);
        let thread = thread::spawn(move || {
            reaped.set(child.wait().unwrap()).unwrap();
        });
        Self { process, reaper: Some(Reaper { status, thread }) }
    }

    /// None if the start command has failed.
    pub(super) fn daemonised(directory: &Path) -> Option<Self> {
        let old = fs::read_to_string(pid_file(directory)).ok();
        if !spawn(directory, &["-k", "start"]).wait().unwrap().success() {
            return None;
        }
        let process = eventually("a daemonised httpd writes its pid file", || {
            let text = fs::read_to_string(pid_file(directory)).ok();
            let new = text.filter(|text| Some(text) != old.as_ref())?;
            Process::open(new.trim().parse().ok()?)
        });
        Some(Self { process, reaper: None })
    }

    /// None while it runs, and of a daemonised parent, which is not our child.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        self.reaper.as_ref()?.status.get().copied()
    }

    pub(super) fn wait_until_reaped(self) {
        if let Some(reaper) = self.reaper {
            let _: thread::Result<()> = reaper.thread.join();
        }
    }
}

pub(super) fn configuration_file(directory: &Path) -> PathBuf {
    directory.join("httpd.conf")
}

pub(super) fn pid_file(directory: &Path) -> PathBuf {
    directory.join("run/httpd.pid")
}

/// What goes to stdout and stderr, before there is an error log.
pub(super) fn output_file(directory: &Path) -> PathBuf {
    directory.join("logs/output")
}

fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    let output = output_file(directory);
    let output = File::options().create(true).append(true).open(output).unwrap();
    let spawned = Command::new(PROGRAM)
        .arg("-d")
        .arg(directory)
        .arg("-f")
        .arg(configuration_file(directory))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TZ", "UTC")
        .env("APACHE_LOG_DIR", directory.join("logs"))
        .env(MARK, directory)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        // prefork signals its whole process group, which must not be ours.
        .process_group(0)
        .spawn();
    match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "{PROGRAM} is not installed: these tests are about a real httpd and are not skipped; \
             install the package apache2"
        ),
        Err(error) => panic!("start {PROGRAM}: {error}"),
    }
}
