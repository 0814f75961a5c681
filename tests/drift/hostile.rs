//! Configurations that are too large, that wait, that lead in circles, and that are closed.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{owed, valid, watch};
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually};

#[test]
fn twenty_thousand_files_are_followed() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = httpd.directory().join("many");
    fs::create_dir(&directory).unwrap();
    for number in 0..20_000 {
        fs::write(directory.join(format!("{number}.conf")), "#\n").unwrap();
    }
    httpd.rewrite_config(|text| format!("{text}Include {}/*.conf\n", directory.display()));
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    fs::write(directory.join("7000.conf"), "##\n").unwrap();
    gracekeeper
        .wait_until("one of them has changed", |metrics| owed(metrics, "config") == Some(true));
    let exposed = gracekeeper.get("/-/healthy");
    assert_eq!(exposed.status, 200);
}

#[test]
fn circles_and_what_never_ends_do_no_harm() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = httpd.directory().join("conf.d");
    fs::create_dir(&directory).unwrap();
    symlink("loop.conf", directory.join("loop.conf")).unwrap();
    symlink("..", directory.join("up")).unwrap();
    fs::write(directory.join("a.conf"), "#\n").unwrap();
    let mut include = String::new();
    writeln!(include, "IncludeOptional {}/a*.conf", directory.display()).unwrap();
    httpd.rewrite_config(|text| text + &include);
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    // httpd itself would wait for a writer.
    mknodat(CWD, directory.join("aa.conf"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    gracekeeper.wait_until("it is owed, and nobody waits", |metrics| {
        owed(metrics, "config") == Some(true)
    });
    fs::remove_file(directory.join("aa.conf")).unwrap();
    gracekeeper.wait_until("it is gone", |metrics| owed(metrics, "config") == Some(false));
    symlink("loop.conf", directory.join("ab.conf")).unwrap();
    // httpd passes over it; that another name came may be told all the same.
    eventually("a circle does no harm", || gracekeeper.get("/-/healthy").status == 200);
    fs::remove_file(directory.join("ab.conf")).unwrap();
    gracekeeper.wait_until("all is well", |metrics| {
        owed(metrics, "config") == Some(false) && valid(metrics) == Some(1.0)
    });
}

#[test]
fn what_may_not_be_read_is_told_by_its_times_and_gives_no_verdict() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = httpd.directory().join("conf.d");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("a.conf");
    fs::write(&file, "#\n").unwrap();
    httpd.rewrite_config(|text| format!("{text}Include {}/*.conf\n", directory.display()));
    httpd.graceful();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    gracekeeper.wait_until("an ordinary user reads it", |metrics| {
        owed(metrics, "config") == Some(false) && valid(metrics) == Some(1.0)
    });
    if !rustix::process::geteuid().is_root() {
        return crate::harness::not_tested("what is closed to others needs root to make it so");
    }
    fs::write(&file, "##\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    gracekeeper.wait_until("changed, and closed to it", |metrics| {
        owed(metrics, "config") == Some(true)
            && valid(metrics).is_none()
            && metrics.value("gracekeeper_source_up", &[("source", "files")]) == Some(0.0)
    });
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    gracekeeper.wait_until("open again", |metrics| {
        owed(metrics, "config") == Some(true)
            && valid(metrics) == Some(1.0)
            && metrics.value("gracekeeper_source_up", &[("source", "files")]) == Some(1.0)
    });
}
