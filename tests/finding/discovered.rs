//! Servers that nobody named, by the process tree.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use super::{
    discovering, graceful_is_counted, is_down, is_up, label, name_of, restarts, serves, shell,
    start, stays, stopped, up,
};
use crate::harness::{Gracekeeper, Httpd, Mpm, under_every_mpm};

under_every_mpm! {
    a_httpd_with_cgid_and_a_piped_log_is_one_server
}

fn a_httpd_with_cgid_and_a_piped_log_is_one_server(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_cgid().with_piped_log().daemonised().start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    let workers = f64::from(u32::try_from(httpd.oracle().living_pids().len()).unwrap());
    gracekeeper.wait_until("only workers are counted", |metrics| {
        metrics.total("httpd_children", &[("server", &name)]) == workers
    });
    graceful_is_counted(&httpd, &gracekeeper, &name);
    httpd.kill_parent();
    is_down(&gracekeeper, &name);
    stays(&gracekeeper, &name, Some(0.0));
}

#[test]
fn nobody_found_is_no_series_and_ready() {
    let empty = TempDir::new().unwrap();
    fs::set_permissions(empty.path(), Permissions::from_mode(0o755)).unwrap();
    // The least that passes for a procfs: it shows nobody.
    fs::create_dir(empty.path().join("self")).unwrap();
    let flags = ["--path.procfs", empty.path().to_str().unwrap()];
    let gracekeeper = Gracekeeper::discovering().arguments(&flags).start();
    gracekeeper.wait_until("it has looked", |_| gracekeeper.get("/-/ready").status == 200);
    let body = gracekeeper.get("/metrics").body;
    assert!(!body.lines().any(|line| line.starts_with("httpd_")), "{body}");
    assert_eq!(gracekeeper.get("/-/healthy").status, 200);
}

#[test]
fn two_at_once_have_two_names_and_one_that_starts_later_is_found_too() {
    let gracekeeper = discovering();
    let (one, two) = (start(), start());
    is_up(&gracekeeper, &label(&one));
    is_up(&gracekeeper, &label(&two));
    one.stop();
    is_down(&gracekeeper, &label(&one));
    assert_eq!(up(&gracekeeper.scrape(), &label(&two)), Some(1.0));
    graceful_is_counted(&two, &gracekeeper, &label(&two));
}

#[test]
fn a_server_that_comes_back_is_the_same() {
    let mut httpd = start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    for count in [1.0, 2.0] {
        httpd.stop();
        is_down(&gracekeeper, &name);
        httpd.start_again();
        is_up(&gracekeeper, &name);
        gracekeeper.wait_until("the full restart is counted", |metrics| {
            restarts(metrics, &name, "full") == Some(count)
        });
    }
    assert_eq!(gracekeeper.scrape().total("httpd_stops_total", &[("server", &name)]), 2.0);
}

#[test]
fn an_unprivileged_look_finds_a_server_whose_configuration_cannot_be_read() {
    let httpd = start();
    fs::set_permissions(httpd.configuration_file(), Permissions::from_mode(0o000)).unwrap();
    let gracekeeper =
        Gracekeeper::discovering().watch("interval = \"100ms\"").run_by_nobody().start();
    is_up(&gracekeeper, &label(&httpd));
    httpd.stop();
    is_down(&gracekeeper, &label(&httpd));
}

#[test]
fn of_two_servers_of_one_name_the_second_has_its_port_appended() {
    let (first, second) = (stopped(), stopped());
    let place = TempDir::with_prefix("same-").unwrap();
    let same = place.path().file_name().unwrap();
    let mut shells = Vec::new();
    let gracekeeper = discovering();
    for (httpd, name) in [
        (&first, name_of(place.path())),
        (&second, format!("{}:{}", name_of(place.path()), second.address().port())),
    ] {
        let directory = httpd.directory().join(same);
        fs::create_dir(&directory).unwrap();
        let configuration = directory.join("httpd.conf");
        fs::copy(httpd.configuration_file(), &configuration).unwrap();
        shells.push(shell(httpd, "exec \"$@\"", &configuration));
        serves(httpd);
        is_up(&gracekeeper, &name);
    }
}

#[test]
fn processes_that_come_and_go_meanwhile_disturb_nothing() {
    let gracekeeper = discovering();
    let storm = thread::spawn(|| {
        for _ in 0..200 {
            Command::new("true").spawn().unwrap().wait().unwrap();
        }
    });
    let httpd = start();
    is_up(&gracekeeper, &label(&httpd));
    storm.join().unwrap();
    stays(&gracekeeper, &label(&httpd), Some(1.0));
}

#[test]
fn the_programs_that_control_a_httpd_are_no_servers() {
    let httpd = start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    for arguments in [["-t"].as_slice(), &["-S"], &["-k", "graceful"], &["-k", "start"]] {
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-d").arg(httpd.directory()).arg("-f").arg(httpd.configuration_file());
        command.args(arguments).output().unwrap();
    }
    gracekeeper.wait_until("the graceful restart is counted", |metrics| {
        restarts(metrics, &name, "graceful") == Some(1.0)
    });
    let metrics = gracekeeper.scrape();
    assert_eq!(metrics.total("httpd_stops_total", &[("server", &name)]), 0.0);
    assert_eq!(restarts(&metrics, &name, "full"), Some(0.0));
}
