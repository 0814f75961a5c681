//! Finding httpd: by a pid file, by the process tree, late, again, and in spite of strangers.
//!
//! Other httpds may run on this machine at the same time: each test looks at its own server only.

mod discovered;
mod ends;
mod named;
mod strangers;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, http, metrics::Metrics, process};

fn start() -> Httpd {
    Httpd::builder(Mpm::Event).start()
}

/// A httpd that has been stopped, whose files are left.
fn stopped() -> Httpd {
    let httpd = start();
    httpd.stop();
    eventually("httpd has stopped", || httpd.processes().is_empty());
    httpd
}

/// With one server, `main`, of this pid file.
fn named(pid_file: &Path) -> Gracekeeper {
    let server = format!("[[server]]\nname = \"main\"\npid_file = \"{}\"", pid_file.display());
    Gracekeeper::discovering().watch("interval = \"100ms\"").config(&server).start()
}

fn discovering() -> Gracekeeper {
    Gracekeeper::discovering().watch("interval = \"100ms\"").start()
}

/// As discovery names it.
fn label(httpd: &Httpd) -> String {
    name_of(httpd.directory())
}

fn name_of(directory: &Path) -> String {
    directory.file_name().unwrap().to_str().unwrap().to_owned()
}

fn up(metrics: &Metrics, server: &str) -> Option<f64> {
    metrics.value("httpd_up", &[("server", server)])
}

fn restarts(metrics: &Metrics, server: &str, kind: &str) -> Option<f64> {
    metrics.value("httpd_restarts_total", &[("server", server), ("type", kind)])
}

fn stops(metrics: &Metrics, server: &str, kind: &str) -> Option<f64> {
    metrics.value("httpd_stops_total", &[("server", server), ("type", kind)])
}

#[track_caller]
fn is_up(gracekeeper: &Gracekeeper, server: &str) -> Metrics {
    gracekeeper.wait_until("the server is up", |metrics| up(metrics, server) == Some(1.0))
}

#[track_caller]
fn is_down(gracekeeper: &Gracekeeper, server: &str) -> Metrics {
    gracekeeper.wait_until("the server is down", |metrics| up(metrics, server) == Some(0.0))
}

/// Watched for so long that a change of mind would have been seen.
#[track_caller]
fn stays(gracekeeper: &Gracekeeper, server: &str, expected: Option<f64>) {
    let looks = |metrics: &Metrics| {
        metrics.value("gracekeeper_look_duration_seconds_count", &[]).expect("looks are counted")
    };
    eventually("it has looked", || gracekeeper.get("/-/ready").status == 200);
    let first = looks(&gracekeeper.scrape());
    gracekeeper.wait_until("looks go on", |metrics| {
        assert_eq!(up(metrics, server), expected, "httpd_up of {server}");
        looks(metrics) >= first + 6.0
    });
    assert_eq!(gracekeeper.get("/-/healthy").status, 200);
}

#[track_caller]
fn graceful_is_counted(httpd: &Httpd, gracekeeper: &Gracekeeper, server: &str) {
    let before = restarts(&gracekeeper.scrape(), server, "graceful").unwrap();
    httpd.graceful();
    let metrics = gracekeeper.wait_until("the graceful restart is counted", |metrics| {
        restarts(metrics, server, "graceful") == Some(before + 1.0)
    });
    assert_eq!(restarts(&metrics, server, "hard"), Some(0.0));
    assert_eq!(restarts(&metrics, server, "unknown"), Some(0.0));
}

/// A shell whose `"$@"` is this httpd in the foreground, reading this configuration; the httpd's
/// drop ends all that it starts.
fn shell(httpd: &Httpd, script: &str, configuration: &Path) -> Kept {
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh", "/usr/sbin/apache2", "-d"])
        .arg(httpd.directory())
        .arg("-f")
        .arg(configuration)
        .args(["-D", "FOREGROUND"])
        .env(process::MARK, httpd.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    Kept(child)
}

#[track_caller]
fn serves(httpd: &Httpd) {
    eventually("it answers", || {
        http::get(httpd.address(), "/", std::time::Duration::from_secs(5)).is_ok()
    });
}

/// A process that a test started, killed and reaped on drop.
struct Kept(Child);

impl Kept {
    fn sleeping() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.0.wait();
    }
}
