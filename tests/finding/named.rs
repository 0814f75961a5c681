//! Servers that an operator named by a pid file.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    Kept, graceful_is_counted, is_down, is_up, label, named, restarts, start, stays, stopped, up,
};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, process::children_of};

/// As if it had been written that long ago.
fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

type Lie = dyn Fn(&Path);

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_flag_names_one_server_main() {
    let httpd = start();
    let path = httpd.pid_file();
    let flags = ["--httpd.pid-file", path.to_str().unwrap()];
    let gracekeeper = Gracekeeper::discovering().arguments(&flags).start();
    let metrics = is_up(&gracekeeper, "main");
    assert_eq!(up(&metrics, &label(&httpd)), None, "nothing is discovered beside it");
    graceful_is_counted(&httpd, &gracekeeper, "main");
}

#[test]
fn each_server_of_the_configuration_is_there_from_the_start() {
    let httpd = start();
    let server =
        format!("[[server]]\nname = \"one\"\npid_file = \"{}\"", httpd.pid_file().display());
    let none = "[[server]]\nname = \"two\"\npid_file = \"/nowhere/httpd.pid\"";
    let gracekeeper = Gracekeeper::discovering().config(&server).config(none).start();
    is_up(&gracekeeper, "one");
    let metrics = gracekeeper.scrape();
    assert_eq!(up(&metrics, "two"), Some(0.0));
    for kind in ["graceful", "hard", "full", "unknown"] {
        assert_eq!(restarts(&metrics, "two", kind), Some(0.0));
    }
    assert_eq!(gracekeeper.get("/-/ready").status, 200);
}

#[test]
fn a_httpd_that_starts_later_is_found_and_again_under_another_pid() {
    let mut httpd = stopped();
    let gracekeeper = named(&httpd.pid_file());
    stays(&gracekeeper, "main", Some(0.0));
    httpd.start_again();
    let metrics = is_up(&gracekeeper, "main");
    assert_eq!(restarts(&metrics, "main", "full"), Some(0.0), "the first sight is no restart");
    let first = httpd.pid();
    httpd.stop();
    is_down(&gracekeeper, "main");
    httpd.start_again();
    assert_ne!(httpd.pid(), first);
    is_up(&gracekeeper, "main");
    gracekeeper.wait_until("the full restart is counted", |metrics| {
        restarts(metrics, "main", "full") == Some(1.0)
    });
    graceful_is_counted(&httpd, &gracekeeper, "main");
}

#[test]
fn a_daemonised_httpd_is_found() {
    let httpd = Httpd::builder(Mpm::Event).daemonised().start();
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    graceful_is_counted(&httpd, &gracekeeper, "main");
}

#[test]
fn whatever_lies_in_place_of_the_pid_file_misleads_nobody() {
    let httpd = start();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("httpd.pid");
    let gracekeeper = named(&path);
    let stranger = Kept::sleeping();
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let child = *children_of(httpd.pid()).first().unwrap();
    let content = |text: String| move |path: &Path| fs::write(path, &text).unwrap();
    let lies: [(&str, Box<Lie>); 13] = [
        ("nothing", Box::new(|_| {})),
        ("an empty file", Box::new(content(String::new()))),
        ("garbage", Box::new(content("\u{fffd}\0httpd".to_owned()))),
        ("a negative number", Box::new(content("-1".to_owned()))),
        ("ten megabytes", Box::new(content("1".repeat(10_000_000)))),
        ("a FIFO", Box::new(|path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap())),
        ("a directory", Box::new(|path| fs::create_dir(path).unwrap())),
        ("a link to itself", Box::new(|path| symlink(path, path).unwrap())),
        ("an ended process", Box::new(content(ended.id().to_string()))),
        ("a stranger", Box::new(content(stranger.pid().to_string()))),
        ("a child of the httpd", Box::new(content(child.to_string()))),
        ("gracekeeper itself", Box::new(content(gracekeeper.pid().to_string()))),
        ("init", Box::new(content("1\n".to_owned()))),
    ];
    for (what, lie) in lies {
        eprintln!("{what}");
        lie(&path);
        stays(&gracekeeper, "main", Some(0.0));
        remove(&path);
    }
    symlink(httpd.pid_file(), &path).unwrap();
    is_up(&gracekeeper, "main");
    graceful_is_counted(&httpd, &gracekeeper, "main");
}

#[test]
fn a_pid_file_that_is_older_than_another_servers_parent_does_not_name_it() {
    let httpd = start();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("httpd.pid");
    fs::write(&path, httpd.pid().to_string()).unwrap();
    age(&path, Duration::from_secs(3600));
    let gracekeeper = named(&path);
    stays(&gracekeeper, "main", Some(0.0));
    assert!(gracekeeper.log().contains("is younger than the pid file"));
}

#[test]
fn a_clock_that_was_set_forward_since_the_start_hides_nobody() {
    let httpd = start();
    age(&httpd.pid_file(), Duration::from_secs(3600));
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    graceful_is_counted(&httpd, &gracekeeper, "main");
}

#[test]
fn once_identified_a_parent_stays_up_whatever_the_pid_file_says() {
    let httpd = start();
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    fs::remove_file(httpd.pid_file()).unwrap();
    stays(&gracekeeper, "main", Some(1.0));
    let stranger = Kept::sleeping();
    fs::write(httpd.pid_file(), stranger.pid().to_string()).unwrap();
    stays(&gracekeeper, "main", Some(1.0));
    fs::write(httpd.pid_file(), "garbage").unwrap();
    stays(&gracekeeper, "main", Some(1.0));
    fs::remove_file(httpd.pid_file()).unwrap();
    graceful_is_counted(&httpd, &gracekeeper, "main");
    httpd.kill_parent();
    is_down(&gracekeeper, "main");
}

#[test]
fn a_server_that_was_seen_is_found_again_without_its_pid_file() {
    let mut httpd = start();
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    httpd.stop();
    is_down(&gracekeeper, "main");
    // The new parent writes its pid file elsewhere than its operator told gracekeeper.
    let other = httpd.directory().join("run/other.pid");
    httpd.rewrite_config(|text| text.replace("run/httpd.pid", other.to_str().unwrap()));
    httpd.rewrite_config(|text| {
        let twice = format!("{}/{}", httpd.directory().display(), other.display());
        text.replace(&twice, other.to_str().unwrap())
    });
    httpd.start_again();
    is_up(&gracekeeper, "main");
    gracekeeper.wait_until("the full restart is counted", |metrics| {
        restarts(metrics, "main", "full") == Some(1.0)
    });
}

#[test]
fn a_server_that_is_renamed_keeps_its_parent_and_sees_its_end() {
    let httpd = start();
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    let file = gracekeeper.configuration_file();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"main\"", "\"other\"")).unwrap();
    gracekeeper.signal(Signal::HUP);
    let metrics = is_up(&gracekeeper, "other");
    assert_eq!(up(&metrics, "main"), None);
    httpd.kill_parent();
    let ended = |metrics: &Metrics| up(metrics, "other") == Some(0.0);
    gracekeeper.wait_until("the end is seen", ended);
}
