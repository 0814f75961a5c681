//! A server that is known by its systemd unit alone.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;

use crate::harness::{
    Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, process::children_of, program,
};

/// A cgroup (v1) that is named as a unit's; taken away when dropped.
struct Unit(PathBuf);

impl Unit {
    fn new(name: &str) -> Self {
        let places = ["systemd", "pids", "freezer"].map(|it| Path::new("/sys/fs/cgroup").join(it));
        let place = places.iter().find(|place| place.join("cgroup.procs").exists());
        let place = place.expect("a cgroup v1 hierarchy is mounted").join(name);
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    /// Takes all processes of this httpd; who is forked later is born there.
    fn take(&self, httpd: &Httpd) {
        for process in httpd.processes() {
            let _: std::io::Result<()> =
                fs::write(self.0.join("cgroup.procs"), process.pid().to_string());
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let root = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _: std::io::Result<()> = fs::write(&root, pid);
        }
        let _: std::io::Result<()> = fs::remove_dir(&self.0);
    }
}

/// A process and all that it started, killed on drop.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _: rustix::io::Result<()> = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _: std::io::Result<std::process::ExitStatus> = self.0.wait();
    }
}

fn up(metrics: &Metrics, name: &str) -> Option<f64> {
    metrics.value("httpd_up", &[("server", name)])
}

#[track_caller]
fn is_up(gracekeeper: &Gracekeeper, name: &str, up: f64) -> Metrics {
    gracekeeper
        .wait_until("it is up or down", |metrics| super::units::up(metrics, name) == Some(up))
}

#[test]
fn a_server_is_found_by_its_unit_alone_and_named_by_it() {
    if !geteuid().is_root() {
        assert!(fs::create_dir("/sys/fs/cgroup/gracekeeper-test").is_err());
        return;
    }
    let mut httpd = Httpd::builder(Mpm::Event).start();
    let name = format!("gracekeeper-test-{}", httpd.pid());
    let unit = Unit::new(&format!("{name}.service"));
    let other = format!("{name}-other");
    let gracekeeper = Gracekeeper::discovering()
        .config(&format!("[[server]]\nunit = \"{name}.service\"\n"))
        .config(&format!("[[server]]\nname = \"second\"\nunit = \"{other}.service\"\n"))
        .start();
    is_up(&gracekeeper, &name, 0.0);
    unit.take(&httpd);
    let metrics = is_up(&gracekeeper, &name, 1.0);
    assert_eq!(up(&metrics, "second"), Some(0.0));
    httpd.graceful();
    let labels = [("server", name.as_str()), ("type", "graceful")];
    gracekeeper.wait_until("its restarts are told", |metrics| {
        metrics.value("httpd_restarts_total", &labels) == Some(1.0)
    });

    httpd.stop();
    is_up(&gracekeeper, &name, 0.0);
    httpd.start_again();
    unit.take(&httpd);
    is_up(&gracekeeper, &name, 1.0);
    let full = [("server", name.as_str()), ("type", "full")];
    gracekeeper.wait_until("a full restart is told", |metrics| {
        metrics.value("httpd_restarts_total", &full) == Some(1.0)
    });

    let left = gracekeeper.leave();
    httpd.graceful();
    httpd.oracle().after_restarts(2);
    let gracekeeper = left.start_again();
    is_up(&gracekeeper, &name, 1.0);
    let metrics = gracekeeper.wait_until("what nobody saw is told", |metrics| {
        metrics.value("httpd_restarts_total", &labels) == Some(1.0)
    });
    assert_eq!(metrics.total("httpd_restarts_total", &[("server", "second")]), 0.0);
    assert_eq!(metrics.total("httpd_stops_total", &[("server", name.as_str())]), 0.0);

    let left = gracekeeper.leave();
    httpd.stop();
    eventually("it has stopped", || !httpd.parent_is_alive());
    httpd.start_again();
    unit.take(&httpd);
    let gracekeeper = left.start_again();
    is_up(&gracekeeper, &name, 1.0);
    gracekeeper.wait_until("so is a full restart", |metrics| {
        metrics.value("httpd_restarts_total", &full) == Some(1.0)
    });
    drop(httpd);
}

#[test]
fn discovery_names_a_server_by_its_unit() {
    if !geteuid().is_root() {
        return;
    }
    let httpd = Httpd::builder(Mpm::Event).start();
    let name = format!("gracekeeper-found-{}", httpd.pid());
    let unit = Unit::new(&format!("{name}.service"));
    unit.take(&httpd);
    let gracekeeper = Gracekeeper::discovering().start();
    is_up(&gracekeeper, &name, 1.0);
    drop(httpd);
}

#[test]
fn another_users_imitation_in_the_unit_is_refused_once_and_the_server_found_beside_it() {
    if !geteuid().is_root() {
        return;
    }
    let directory = TempDir::with_prefix("fake-").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("apache2");
    program::copy(Path::new("/bin/bash"), &program);
    let httpd = Httpd::builder(Mpm::Event).start();
    let name = format!("gracekeeper-imitated-{}", httpd.pid());
    let unit = Unit::new(&format!("{name}.service"));
    let body = "trap : HUP INT USR1 TERM WINCH; while :; do sleep 60; done";
    let mut command = Command::new(&program);
    command.args(["-c", &format!("({body}) & {body}")]).uid(64999).gid(64999);
    let fake = Group(command.process_group(0).spawn().unwrap());
    let pid = fake.0.id();
    eventually("it has a child", || !children_of(pid).is_empty());
    fs::write(unit.0.join("cgroup.procs"), pid.to_string()).unwrap();

    let gracekeeper = Gracekeeper::discovering()
        .watch("interval = \"100ms\"")
        .config(&format!("[[server]]\nunit = \"{name}.service\"\n"))
        .start();
    let reason = format!("process {pid} is of user 64999's");
    eventually("it is refused", || gracekeeper.log().contains(&reason));
    is_up(&gracekeeper, &name, 0.0);
    unit.take(&httpd);
    is_up(&gracekeeper, &name, 1.0);
    assert_eq!(gracekeeper.log().matches(&reason).count(), 1, "{}", gracekeeper.log());
    drop((fake, httpd));
}
