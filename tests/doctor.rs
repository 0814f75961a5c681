//! `doctor`, beside real httpds: what is closed to whom, and the line that opens it.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use gracekeeper::{
    decode::callers::Verdict,
    doctor::{
        callers::{Call, scan},
        units::Units,
    },
};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cli::Run,
    harness::{Gracekeeper, Httpd, Mpm, program, under_every_mpm},
};

const BINARY: &str = env!("CARGO_BIN_EXE_gracekeeper");
const NOBODY: u32 = 65534;

under_every_mpm! {
    every_source_of_ones_own_httpd_answers
    what_is_closed_to_nobody_has_the_line_that_opens_it
}

fn doctor(arguments: &[&OsStr]) -> Run {
    let mut command = Command::new(BINARY);
    command.arg("doctor").args(arguments).env_remove("CLICOLOR_FORCE").output().unwrap().into()
}

fn of(httpd: &Httpd, more: &[&str]) -> Run {
    let pid_file = httpd.pid_file();
    let mut arguments = vec![OsStr::new("--httpd.pid-file"), pid_file.as_os_str()];
    arguments.extend(more.iter().map(OsStr::new));
    doctor(&arguments)
}

/// As `nobody`, by a copy of the program that it may run.
fn by_nobody(httpd: &Httpd, more: &[&str]) -> Run {
    let directory = TempDir::with_prefix("doctor-").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("gracekeeper");
    program::copy(Path::new(BINARY), &copy);
    let mut command = Command::new(copy);
    command.arg("doctor").arg("--httpd.pid-file").arg(httpd.pid_file()).args(more);
    command.uid(NOBODY).gid(NOBODY).output().unwrap().into()
}

/// The only server of a report.
#[track_caller]
fn server(run: &Run) -> Value {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut report: Value = serde_json::from_str(&run.stdout).unwrap();
    let servers = report["servers"].as_array_mut().unwrap();
    assert_eq!(servers.len(), 1, "{}", run.stdout);
    servers.remove(0)
}

#[track_caller]
fn source<'a>(server: &'a Value, name: &str) -> &'a Value {
    let all = server["sources"].as_array().unwrap();
    all.iter().find(|source| source["source"] == name).unwrap_or_else(|| panic!("{name}: {server}"))
}

#[track_caller]
fn findings<'a>(server: &'a Value, check: &str) -> Vec<&'a Value> {
    let all = server["hygiene"].as_array().unwrap();
    all.iter().filter(|finding| finding["check"] == check).collect()
}

fn every_source_of_ones_own_httpd_answers(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let server = server(&of(&httpd, &["--json"]));
    assert_eq!((&server["server"], &server["up"]), (&"main".into(), &true.into()));
    assert_eq!(server["pid"], httpd.pid());
    for name in ["process_table", "scoreboard", "error_log", "memory_maps", "fd_links", "sockets"] {
        let source = source(&server, name);
        assert_eq!(source["up"], true, "{source}");
        assert!(source.get("mend").is_none(), "{source}");
        assert!(!source["lost"].as_str().unwrap().is_empty());
    }
    let [status] = findings(&server, "status_handler")[..] else { panic!("{server}") };
    assert_eq!(status["verdict"], "warning", "it is open to everybody: {status}");
    assert!(status["mend"].as_str().unwrap().contains("Require local"), "{status}");
    let [group] = findings(&server, "process_group")[..] else { panic!("{server}") };
    assert_eq!(group["verdict"], "ok", "{group}");
    assert_eq!(findings(&server, "listen_backlog").len(), 1);
    assert_eq!(findings(&server, "exec_reload").len(), 1);
}

fn what_is_closed_to_nobody_has_the_line_that_opens_it(mpm: Mpm) {
    if !geteuid().is_root() {
        return;
    }
    let httpd = Httpd::builder(mpm).start();
    let log = httpd.directory().join("logs/error_log");
    fs::set_permissions(&log, Permissions::from_mode(0o640)).unwrap();
    let adm = 4;
    rustix::fs::chown(&log, None, Some(rustix::process::Gid::from_raw(adm))).unwrap();
    let server = server(&by_nobody(&httpd, &["--json"]));
    let board = source(&server, "scoreboard");
    assert_eq!((&board["up"], &board["reason"]), (&false.into(), &"permission".into()));
    let unit = "in [Service] of gracekeeper's unit: AmbientCapabilities=";
    assert_eq!(board["mend"], format!("{unit}CAP_SYS_PTRACE"));
    let links = source(&server, "fd_links");
    assert_eq!(links["mend"], format!("{unit}CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"));
    let paths = findings(&server, "paths");
    let binary = paths.iter().find(|finding| finding["thing"] == "binary");
    if let Some(binary) = binary {
        assert_eq!(binary["mend"], format!("{unit}CAP_SYS_PTRACE"), "{binary}");
    }
    let log = source(&server, "error_log");
    assert_eq!(log["mend"], "usermod -aG adm nobody", "{log}");
}

#[test]
fn a_table_is_for_people_and_has_no_colour_in_a_pipe() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let run = of(&httpd, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.starts_with("main: up, pid "), "{}", run.stdout);
    assert!(run.stdout.contains("\n  scoreboard     yes         "), "{}", run.stdout);
    assert!(run.stdout.contains("\n  warning  status_handler  "), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "{:?}", run.stdout);
}

#[test]
fn a_running_gracekeeper_is_not_disturbed_and_nothing_is_written() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
    });
    let file = gracekeeper.configuration_file();
    let run = doctor(&["--json".as_ref(), "--config.file".as_ref(), file.as_os_str()]);
    assert_eq!(source(&server(&run), "scoreboard")["up"], true);
    assert_eq!(run.stderr, "", "not a word of the lock that the other one has");
    let metrics = gracekeeper.scrape();
    assert_eq!(metrics.total("httpd_restarts_total", &[]), 0.0);
    assert_eq!(metrics.value("gracekeeper_contradictions_total", &[]), Some(0.0));
    // Where no state directory is, none is made.
    let directory = tempfile::tempdir().unwrap();
    let (file, state) = (directory.path().join("g.toml"), directory.path().join("state"));
    let pid_file = httpd.pid_file();
    let text = format!(
        "[watch]\nstate_dir = {:?}\n[[server]]\npid_file = {:?}\n",
        state.display().to_string(),
        pid_file.display().to_string()
    );
    fs::write(&file, text).unwrap();
    let run = doctor(&["--config.file".as_ref(), file.as_os_str()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!state.exists());
}

#[test]
fn what_others_may_write_is_named_with_what_mends_it() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let file: PathBuf = httpd.configuration_file();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let server = server(&of(&httpd, &["--json"]));
    let paths = findings(&server, "paths");
    let exposed = paths.iter().find(|finding| finding["verdict"] == "warning");
    let exposed = exposed.unwrap_or_else(|| panic!("{paths:?}"));
    assert_eq!(exposed["thing"], file.display().to_string());
    assert_eq!(exposed["mend"], format!("chmod go-w {}", file.display()));
}

#[test]
fn a_stranger_in_a_preforks_group_is_named() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let group = i32::try_from(httpd.pid()).unwrap();
    let mut stranger = Command::new("sleep").arg("600").process_group(group).spawn().unwrap();
    let server = server(&of(&httpd, &["--json"]));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let [found] = findings(&server, "process_group")[..] else { panic!("{server}") };
    assert_eq!(found["verdict"], "warning");
    assert!(found["cause"].as_str().unwrap().contains("sleep ("), "{found}");
}

#[test]
fn a_server_that_is_down_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("httpd.pid");
    let run = doctor(&["--httpd.pid-file".as_ref(), pid_file.as_os_str()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.starts_with("main: down; seen by "), "{}", run.stdout);
    let why = "\n  (nothing is asked while httpd is down: start it; why it ended may stand in ";
    assert!(run.stdout.contains(why), "{}", run.stdout);
    let json = doctor(&["--json".as_ref(), "--httpd.pid-file".as_ref(), pid_file.as_os_str()]);
    assert_eq!(server(&json)["hygiene"], Value::Array(Vec::new()));
}

#[test]
fn callers_are_looked_for_only_if_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("httpd.pid");
    let flags: [&OsStr; 3] = ["--json".as_ref(), "--httpd.pid-file".as_ref(), pid_file.as_os_str()];
    let without: Value = serde_json::from_str(&doctor(&flags).stdout).unwrap();
    assert!(without.get("callers").is_none());
    let [first, ..] = flags;
    let run = doctor(&["--callers".as_ref(), first, flags[1], flags[2]]);
    let with: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(with["callers"]["found"].is_array(), "{with}");
}

#[test]
fn httpd_is_asked_once_and_its_listeners_are_left_alone() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = TempDir::with_prefix("doctor-").unwrap();
    let (script, asked) = (directory.path().join("envvars"), directory.path().join("asked"));
    fs::write(&script, format!("echo asked >> {}\n", asked.display())).unwrap();
    let file = directory.path().join("g.toml");
    let text = format!(
        "[[server]]\npid_file = {:?}\nenvironment_file = {:?}\n",
        httpd.pid_file().display().to_string(),
        script.display().to_string()
    );
    fs::write(&file, text).unwrap();
    let run = doctor(&["--json".as_ref(), "--config.file".as_ref(), file.as_os_str()]);
    let server = server(&run);
    assert_eq!(fs::read_to_string(&asked).unwrap_or_default(), "asked\n", "{}", run.stdout);
    let paths = findings(&server, "paths");
    assert!(!paths.iter().any(|finding| finding["thing"] == "modules"), "it was heard: {paths:?}");
    let probe = source(&server, "tls_probe");
    assert!(probe.get("up").is_none(), "{probe}");
    assert!(probe["note"].as_str().unwrap().starts_with("not asked here"), "{probe}");
    fs::write(&file, "[watch]\nask_httpd = false\ntls_probe = \"off\"\n").unwrap();
    let pid_file = httpd.pid_file();
    let flags: [&OsStr; 5] = [
        "--json".as_ref(),
        "--config.file".as_ref(),
        file.as_os_str(),
        "--httpd.pid-file".as_ref(),
        pid_file.as_os_str(),
    ];
    let run = doctor(&flags);
    assert!(run.stdout.contains("httpd does not tell: ask_httpd is false"), "{}", run.stdout);
    assert!(!run.stdout.contains("tls_probe"), "{}", run.stdout);
}

#[test]
fn who_may_read_nothing_and_who_has_no_httpd_are_told_so() {
    let elsewhere = TempDir::with_prefix("doctor-").unwrap();
    fs::create_dir(elsewhere.path().join("self")).unwrap();
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
    let procfs = elsewhere.path().as_os_str();
    let run = doctor(&["--path.procfs".as_ref(), procfs]);
    let words = "no httpd was found, seen by ";
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.starts_with(words), "{}", run.stdout);
    if !geteuid().is_root() {
        return;
    }
    // It may be entered, so that `self` is there, but not listed.
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o711)).unwrap();
    let httpd = Httpd::builder(Mpm::Event).start();
    let run = by_nobody(&httpd, &["--path.procfs", procfs.to_str().unwrap()]);
    assert_eq!(run.code, Some(77), "{}", run.stderr);
    let expected = format!("gracekeeper: {}: permission denied\n", elsewhere.path().display());
    assert_eq!((run.stderr.as_str(), run.stdout.as_str()), (expected.as_str(), ""));
}

#[test]
fn wrong_usage_and_a_wrong_configuration_are_refused() {
    assert_eq!(doctor(&["--alert".as_ref()]).code, Some(64));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[watch]\ninterval = 5\n").unwrap();
    let run = doctor(&["--config.file".as_ref(), file.path().as_os_str()]);
    assert_eq!(run.code, Some(64), "{}", run.stderr);
    let place = format!("{}:2: watch.interval: must be ", file.path().display());
    assert!(run.stderr.contains(&place), "{}", run.stderr);
    let missing = file.path().with_extension("none");
    let run = doctor(&["--config.file".as_ref(), missing.as_os_str()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(64), ""), "{}", run.stderr);
    assert!(run.stderr.contains(&missing.display().to_string()), "{}", run.stderr);
    let run = doctor(&["--path.procfs".as_ref(), "/etc".as_ref()]);
    assert_eq!(run.code, Some(70), "{}", run.stderr);
    assert!(run.stderr.contains("is no procfs"), "{}", run.stderr);
}

#[test]
fn what_distributions_ship_restarts_gracefully() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/callers");
    for (host, unit) in [("debian", "apache2"), ("redhat", "httpd")] {
        let root = hosts.join(host);
        let told = scan(&root, &[]);
        assert!(told.files > 1 && told.unread.is_empty(), "{told:?}");
        assert!(told.found.iter().all(Call::is_graceful), "{told:#?}");
        let of = |folder| told.found.iter().filter(|call| call.file.contains(folder)).count();
        assert_eq!((of("/logrotate.d/"), of("/systemd/") > 0), (1, true), "{told:#?}");
        let reload = Units::new(&root).reload(unit).unwrap();
        assert_eq!(reload.verdict, Some(Verdict::Graceful), "{reload:?}");
    }
}
