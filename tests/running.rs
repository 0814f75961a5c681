//! `gracekeeper run` as an operator meets it: what it keeps, what it says, how it ends.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually};

fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn network(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs to its end, which must be soon: what is wrong is found before anything is served.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gracekeeper"))
        .arg("run")
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

#[test]
fn the_process_on_the_network_holds_no_capability() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("it looks", |metrics| metrics.value("httpd_up", &[]) == Some(1.0));
    for thread in threads(gracekeeper.pid()) {
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            let held = status_line(thread.parse().unwrap(), set);
            assert_eq!(held, "0000000000000000", "{set} of thread {thread}");
        }
    }
    assert_eq!(status_line(gracekeeper.pid(), "NoNewPrivs"), "1");
}

#[test]
fn the_process_that_reads_has_no_network_and_two_capabilities() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("it reads", |metrics| {
        metrics.value("gracekeeper_source_up", &[("source", "scoreboard")]) == Some(1.0)
    });
    let readers = children(gracekeeper.pid());
    assert_eq!(readers.len(), 1, "{readers:?}");
    let held = u64::from_str_radix(&status_line(readers[0], "CapEff"), 16).unwrap();
    // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, capabilities(7).
    assert_eq!(held & !(1 << 2 | 1 << 19), 0, "{held:x}");
    let sockets = fs::read_dir(format!("/proc/{}/fd", readers[0])).unwrap();
    let sockets = sockets.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let sockets = sockets.filter(|target| target.to_string_lossy().starts_with("socket:"));
    let sockets: BTreeSet<PathBuf> = sockets.collect();
    assert!(sockets.len() <= 2, "one for scoreboards, one for error logs: {sockets:?}");
    if rustix::process::geteuid().is_root() {
        assert_ne!(network(readers[0]), network(gracekeeper.pid()));
    }
}

#[test]
fn the_reader_ends_with_the_watcher_even_if_that_is_killed() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let reader = children(gracekeeper.pid())[0];
    gracekeeper.signal(Signal::KILL);
    eventually("the reader is gone", || {
        fs::read_to_string(format!("/proc/{reader}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_reader_that_dies_takes_its_source_down_and_nothing_else() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let up = [("source", "scoreboard")];
    gracekeeper
        .wait_until("it reads", |metrics| metrics.value("gracekeeper_source_up", &up) == Some(1.0));
    let reader = i32::try_from(children(gracekeeper.pid())[0]).unwrap();
    let reader = rustix::process::Pid::from_raw(reader).unwrap();
    rustix::process::kill_process(reader, Signal::KILL).unwrap();
    let metrics = gracekeeper.wait_until("the source is down", |metrics| {
        metrics.value("gracekeeper_source_up", &up) == Some(0.0)
    });
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    assert_eq!(metrics.series_of("httpd_workers", &[]).len(), 0, "absent, not 0");
    assert!(gracekeeper.log().contains("msg=\"source gives nothing\""));
    assert_eq!(gracekeeper.get("/-/healthy").status, 200);
}

#[test]
fn sigterm_ends_it_in_order() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let reader = children(gracekeeper.pid())[0];
    gracekeeper.signal(Signal::TERM);
    let log = eventually("it says so", || {
        let log = gracekeeper.log();
        log.contains("msg=\"ended\"").then_some(log)
    });
    assert!(!log.contains("level=ERROR"), "{log}");
    assert_eq!(gracekeeper.end().code(), Some(0));
    assert!(!Path::new(&format!("/proc/{reader}")).exists(), "the reader is reaped");
}

#[test]
fn its_own_configuration_is_read_again_and_a_broken_one_is_not_taken() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let success = |expected| {
        gracekeeper.wait_until("the configuration's fate is told", move |metrics| {
            metrics.value("gracekeeper_config_last_reload_successful", &[]) == Some(expected)
        })
    };
    success(1.0);
    let file = gracekeeper.configuration_file();
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}\n[[server]]\nname = 3\n")).unwrap();
    gracekeeper.signal(Signal::HUP);
    let metrics = success(0.0);
    assert_eq!(metrics.value("httpd_up", &[("server", "main")]), Some(1.0));
    assert!(gracekeeper.log().contains("server[1].name"), "{}", gracekeeper.log());
    let absent = gracekeeper.configuration_file().with_file_name("none.pid");
    let second = format!("\n[[server]]\nname = \"second\"\npid_file = \"{}\"\n", absent.display());
    fs::write(&file, format!("{good}{second}")).unwrap();
    gracekeeper.signal(Signal::HUP);
    let metrics = success(1.0);
    assert_eq!(metrics.value("httpd_up", &[("server", "main")]), Some(1.0));
    assert_eq!(metrics.value("httpd_up", &[("server", "second")]), Some(0.0));
    let restarts = metrics.series_of("httpd_restarts_total", &[("server", "second")]);
    assert_eq!(restarts.len(), 4, "all at 0 from the start: {restarts:?}");
    fs::write(&file, good).unwrap();
    gracekeeper.signal(Signal::HUP);
    gracekeeper.wait_until("the second server is gone", |metrics| {
        metrics.series_of("httpd_up", &[]).len() == 1
    });
}

#[test]
fn what_keeps_it_from_starting_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gracekeeper.toml");
    fs::write(&config, "[watch]\nintervall = \"1s\"\n").unwrap();
    let named = config.display().to_string();
    let output = run(&["--config.file", &named]);
    assert_refused(&output, 64, &[&format!("{named}:2:"), "watch.intervall", "interval"]);

    fs::write(&config, "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--config.file", &named, "--web.listen-address", &address]);
    assert_refused(&output, 70, &[&format!("listen on {address}"), "in use"]);

    let web = directory.path().join("web.yml");
    fs::write(&web, "tls_server_config:\n  cert_file: none.crt\n  key_file: none.key\n").unwrap();
    let web = web.display().to_string();
    let free = ["--web.listen-address", "127.0.0.1:0"];
    let output = run(&[&["--config.file", &named, "--web.config.file", &web], &free[..]].concat());
    assert_refused(&output, 64, &[&web, "none.crt"]);
}

#[test]
fn without_the_privilege_the_missing_scoreboard_is_said_and_no_type_is_guessed() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let source = [("source", "scoreboard")];
    // A test that is run by an ordinary user has an httpd of that user, which hides nothing from it.
    let privileged = !rustix::process::geteuid().is_root();
    gracekeeper.wait_until("the source is told", |metrics| {
        metrics.value("gracekeeper_source_up", &source) == Some(f64::from(u8::from(privileged)))
            && metrics.value("httpd_up", &[]) == Some(1.0)
    });
    if privileged {
        return;
    }
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let metrics = gracekeeper.wait_until("the restart is counted", |metrics| {
        metrics.total("httpd_restarts_total", &[]) >= 1.0
    });
    assert_eq!(metrics.value("httpd_restarts_total", &[("type", "unknown")]), Some(1.0));
    let reason = [("source", "scoreboard"), ("reason", "permission")];
    assert!(metrics.value("gracekeeper_source_errors_total", &reason).unwrap() >= 1.0);
    assert_eq!(metrics.value("httpd_generation", &[]), None);
    let said = gracekeeper.log().matches("source=scoreboard reason=permission").count();
    assert_eq!(said, 1, "{}", gracekeeper.log());
}

#[test]
fn what_procfs_hides_is_said_and_not_taken_for_a_stop() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = tempfile::tempdir().unwrap();
    let hidden = directory.path().join("proc");
    fs::create_dir(&hidden).unwrap();
    let hidden = Hidden::mount(&hidden);
    let world: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), world).unwrap();
    let procfs = hidden.0.display().to_string();
    let gracekeeper = Gracekeeper::watching(&httpd)
        .arguments(&["--path.procfs", &procfs])
        .run_by_nobody()
        .start();
    let table = [("source", "process_table")];
    let metrics = gracekeeper.wait_until("the source is down", |metrics| {
        metrics.value("gracekeeper_source_up", &table) == Some(0.0)
    });
    assert_eq!(metrics.value("httpd_up", &[]), None, "absent, not 0");
    assert_eq!(metrics.value("httpd_serving", &[]), None);
    assert_eq!(metrics.total("httpd_stops_total", &[]), 0.0);
    let reason = [("source", "process_table"), ("reason", "permission")];
    assert!(metrics.value("gracekeeper_source_errors_total", &reason).unwrap() >= 1.0);
    let said = gracekeeper.log().matches("source gives nothing").count();
    assert_eq!(said, 1, "{}", gracekeeper.log());
}

/// A procfs that shows each user his own processes only, unmounted when dropped; where the test may
/// not mount, an empty directory, which shows nobody.
struct Hidden(PathBuf);

impl Hidden {
    fn mount(place: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            fs::create_dir(place.join("self")).unwrap();
            return Self(place.to_owned());
        }
        let done = Command::new("mount")
            .args(["-t", "proc", "-o", "hidepid=invisible", "proc"])
            .arg(place)
            .status()
            .unwrap();
        assert!(done.success(), "mount a procfs at {}", place.display());
        Self(place.to_owned())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|done| done.success()), "unmount {}", self.0.display());
    }
}
