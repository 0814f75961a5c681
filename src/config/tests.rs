//! The configuration as a whole: what is accepted, and each refusal in its full words.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use proptest::prelude::*;
use rustix::process::geteuid;

use super::{
    Flags, Settings,
    error::ConfigError,
    settings::{ErrorLogSetting, TlsProbe},
    show,
    web::ListenAddress,
};

fn load(text: &str, flags: Flags) -> Result<Settings, ConfigError> {
    Settings::from_bytes(Path::new("/g.toml"), Some(text.as_bytes()), flags)
}

fn accepted(text: &str) -> Settings {
    load(text, Flags::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    match load(text, Flags::default()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Each text is refused in exactly these words, behind the file's name.
fn assert_refused(table: &[(&str, &str)]) {
    for (text, words) in table {
        assert_eq!(refusal(text), format!("/g.toml:{words}"));
    }
}

/// The contract's configuration, every key that has a value there.
const WHOLE: &str = r#"
[watch]
interval = "2s"
state_dir = "/var/lib/gracekeeper"
ask_httpd = true
tls_probe = "1h"
[web]
show_requests = "path"
[[server]]
name = "main"
pid_file = "/run/apache2/apache2.pid"
error_log = "auto"
status_url = "http://127.0.0.1/server-status?auto"
program = "auto"
arguments = ["-d", "/etc/apache2"]
environment_file = "auto"
[[server]]
pid_file = "/run/other.pid"
unit = "apache2.service"
error_log = "none"
program = "/usr/sbin/httpd"
[limits]
restart_timeout = "90s"
[reload]
mode = "off"
via = "unit"
triggers = ["certificate", "config"]
settle = "60s"
min_interval = "5m"
max_per_hour = 6
windows = ["Mon-Fri 02:00-05:00 UTC"]
urgent_before = "72h"
rehearse = "require"
max_generations = 4
headroom = ["memory", "fds", "slots", "semaphores", "pids"]
[reload.gate]
url = "https://prometheus.example"
expr = 'count(httpd_serving{job="web"} == 1) < 3'
username = "u"
password_file = "/p"
[reload.lock]
backend = "etcd"
endpoints = ["https://10.0.0.1:2379", "http://127.0.0.1:2379"]
ca_file = "/ca"
cert_file = "/cert"
key_file = "/key"
group = "web"
slots = 1
ttl = "60s"
release_delay = "30s"
[reload.verify]
timeout = "30s"
survive = "15s"
probe = "http://127.0.0.1/"
[reload.drain]
terminate_after = "1h"
signal = "SIGKILL"
"#;

#[test]
fn every_key_of_the_contract_is_known() {
    let settings = accepted(WHOLE);
    assert_eq!(settings.config_file, Some("/g.toml".into()));
    assert_eq!(settings.watch.interval.as_secs(), 2);
    assert_eq!(settings.limits.restart_timeout.as_secs(), 90);
    let [main, other] = settings.servers.as_slice() else { panic!("{:?}", settings.servers) };
    assert_eq!(main.name.as_deref(), Some("main"));
    assert_eq!(main.pid_file, Some(PathBuf::from("/run/apache2/apache2.pid")));
    assert_eq!(main.program, None);
    assert_eq!(main.error_log, ErrorLogSetting::Auto);
    assert_eq!(main.status_url, Some(Uri::from_static("http://127.0.0.1/server-status?auto")));
    assert_eq!(main.arguments, Some(vec!["-d".to_owned(), "/etc/apache2".to_owned()]));
    assert_eq!(main.environment_file, None);
    assert_eq!(other.unit.as_deref(), Some("apache2"));
    assert_eq!(other.error_log, ErrorLogSetting::None);
    assert_eq!(other.program, Some(PathBuf::from("/usr/sbin/httpd")));
    assert_eq!((&other.status_url, &other.arguments), (&None, &None));
    assert_eq!(settings.watch.state_dir, Path::new("/var/lib/gracekeeper"));
    assert!(settings.watch.ask_httpd);
    assert_eq!(settings.watch.tls_probe, TlsProbe::Every(Duration::from_secs(3600)));
}

#[test]
fn when_listeners_are_asked_for_their_certificates_may_be_said() {
    for (text, expected) in [
        ("", TlsProbe::OnChange),
        ("watch.tls_probe = \"on-change\"", TlsProbe::OnChange),
        ("watch.tls_probe = \"off\"", TlsProbe::Off),
        ("watch.tls_probe = \"1s\"", TlsProbe::Every(Duration::from_secs(1))),
        ("watch.tls_probe = \"24h\"", TlsProbe::Every(Duration::from_secs(86_400))),
    ] {
        let settings = accepted(text);
        assert_eq!(settings.watch.tls_probe, expected, "{text}");
        assert_eq!(settings.without_effect, [""; 0], "{text}");
    }
}

#[test]
fn no_configuration_is_one() {
    for settings in
        [accepted(""), Settings::from_bytes(Path::new("/g.toml"), None, Flags::default()).unwrap()]
    {
        assert_eq!(settings.watch.interval.as_secs(), 1);
        assert_eq!(settings.limits.restart_timeout.as_secs(), 60);
        assert!(settings.servers.is_empty());
        assert!(settings.without_effect.is_empty());
        assert_eq!(settings.web.listen_addresses, [ListenAddress::default()]);
        assert_eq!(settings.web.telemetry_path.as_str(), "/metrics");
        assert_eq!(settings.paths.procfs, Path::new("/proc"));
    }
}

#[test]
fn a_server_may_be_given_by_its_unit_alone() {
    for unit in ["apache2", "apache2.service", "httpd@blue.service"] {
        let settings = accepted(&format!("[[server]]\nunit = \"{unit}\""));
        let [server] = settings.servers.as_slice() else { panic!("{:?}", settings.servers) };
        assert_eq!(server.unit.as_deref(), unit.split(".service").next());
        assert_eq!(server.pid_file, None);
    }
}

#[test]
fn where_the_error_log_is_may_be_said() {
    let settings = accepted("[[server]]\nunit = \"a\"\nerror_log = \"/var/log/x\"");
    let [server] = settings.servers.as_slice() else { panic!("{:?}", settings.servers) };
    assert_eq!(server.error_log, ErrorLogSetting::Path("/var/log/x".into()));
}

#[test]
fn root_runs_nothing_that_others_may_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("httpd");
    fs::write(&file, "").unwrap();
    for key in ["program", "environment_file"] {
        let text = format!("[[server]]\nunit = \"a\"\n{key} = \"{}\"", file.display());
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        accepted(&text);
        fs::set_permissions(&file, Permissions::from_mode(0o777)).unwrap();
        if geteuid().is_root() {
            let expected = format!(
                "/g.toml:3: server[0].{key}: must be writable by root alone, as gracekeeper runs \
                 as root: others may write {}: its mode is 0777, its owner 0",
                file.display()
            );
            assert_eq!(refusal(&text), expected);
        } else {
            accepted(&text);
        }
    }
    let none_yet = directory.path().join("nothing/httpd");
    accepted(&format!("[[server]]\nunit = \"a\"\nprogram = \"{}\"", none_yet.display()));
}

#[test]
fn what_a_later_version_follows_is_told() {
    let settings = accepted(
        "[watch]\nstate_dir = \"/x\"\ntls_probe = \"off\"\nask_httpd = false\ninterval = \"1s\"\n\
         [[server]]\nname = \"a\"\npid_file = \"/a\"\nerror_log = \"none\"\nstatus_url = \"http://h/\"\n\
         [[server]]\nname = \"b\"\npid_file = \"/b\"\nunit = \"b.service\"\nerror_log = \"auto\"\n\
         [reload]\nmode = \"off\"\nsettle = \"1s\"\nwindows = [\"02:00-03:00\"]\n\
         [reload.drain]\nterminate_after = \"off\"\n",
    );
    let expected = ["reload.settle", "reload.windows"];
    assert_eq!(settings.without_effect, expected);
}

#[test]
fn each_wrong_value_of_watching_is_named_with_its_line_and_key() {
    assert_refused(&[
        (
            "[watch]\n\ninterval = \"5ms\"",
            "3: watch.interval: must be between 100ms and 60s, is 5ms",
        ),
        ("[watch]\ninterval = \"61s\"", "2: watch.interval: must be between 100ms and 60s, is 61s"),
        (
            "[watch]\ninterval = 1",
            "2: watch.interval: must be a duration such as \"1s\", is the integer 1",
        ),
        (
            "watch.interval = 1.5",
            "1: watch.interval: must be a duration such as \"1s\", is the number 1.5",
        ),
        (
            "[watch]\ninterval = \"1 \\u001b\"",
            "2: watch.interval: must be a duration such as \"1s\", is \"1 \\u{1b}\"",
        ),
        ("[watch]\nstate_dir = \"x\"", "2: watch.state_dir: must be an absolute path, is \"x\""),
        ("[watch]\nask_httpd = \"yes\"", "2: watch.ask_httpd: must be true or false, is \"yes\""),
        (
            "[watch]\ntls_probe = \"never\"",
            "2: watch.tls_probe: must be \"on-change\", \"off\" or a duration such as \"1s\", is \"never\"",
        ),
        (
            "[watch]\ntls_probe = \"25h\"",
            "2: watch.tls_probe: must be \"on-change\", \"off\" or between 1s and 24h, is 25h",
        ),
        ("watch = 1", "1: watch: must be a table, [watch], is the integer 1"),
        (
            "[web]\nshow_requests = true",
            "2: web.show_requests: must be \"off\", \"method\" or \"path\", is the boolean true",
        ),
        (
            "[limits]\nrestart_timeout = []",
            "2: limits.restart_timeout: must be a duration such as \"1s\", is a list",
        ),
    ]);
}

#[test]
fn each_wrong_value_of_reloading_is_named_with_its_line_and_key() {
    assert_refused(&[
        (
            "[reload]\nmode = \"act\"",
            "2: reload.mode: must be \"off\", is \"act\": this version only watches",
        ),
        (
            "[reload]\nmode = \"advise\"",
            "2: reload.mode: must be \"off\", is \"advise\": this version only watches",
        ),
        (
            "[reload]\nmode = \"on\"",
            "2: reload.mode: must be \"off\", \"advise\" or \"act\", is \"on\"",
        ),
        (
            "[reload]\nmax_per_hour = 0",
            "2: reload.max_per_hour: must be a whole number from 1 to 3600, is the integer 0",
        ),
        ("[reload]\ntriggers = \"config\"", "2: reload.triggers: must be a list, is \"config\""),
        (
            "[reload]\ntriggers = [\n\"config\",\n\"cert\"]",
            "4: reload.triggers: must be \"certificate\" or \"config\", is \"cert\"",
        ),
        (
            "[reload]\nwindows = [\"Mon\"]",
            "2: reload.windows: must be a window such as \"Mon-Fri 02:00-05:00 Europe/Berlin\", is \"Mon\"",
        ),
        (
            "[reload.drain]\nterminate_after = \"0s\"",
            "2: reload.drain.terminate_after: must be \"off\" or between 1s and 168h, is 0s",
        ),
        (
            "[reload.verify]\nprobe = \"ftp://x\"",
            "2: reload.verify.probe: must be an http or https URL without credentials, is \"ftp://x\"",
        ),
        (
            "[reload]\nsettle = 1979-05-27",
            "2: reload.settle: must be a duration such as \"1s\", is a date or time",
        ),
    ]);
}

#[test]
fn each_unknown_key_is_named_with_the_one_that_was_meant() {
    assert_refused(&[
        ("[watch]\nintervall = \"1s\"", "2: watch.intervall: unknown key; did you mean interval?"),
        ("[wach]\nx = 1", "1: wach: unknown key; did you mean watch?"),
        ("a = 1\n[watch]", "1: a: unknown key"),
        ("[reload]\n[reload.gates]", "2: reload.gates: unknown key; did you mean gate?"),
        ("[watch]\n\"a b\\n\" = 1", "2: watch.\"a b\\n\": unknown key"),
        (
            "[[server]]\npid_file = \"/x\"\npidfile = \"/x\"",
            "3: server[0].pidfile: unknown key; did you mean pid_file?",
        ),
    ]);
}

#[test]
fn servers_must_be_told_apart_and_found() {
    assert_refused(&[
        ("server = 1", "1: server: must be an array of tables, [[server]], is the integer 1"),
        ("[server]\nname = \"x\"", "1: server: must be an array of tables, [[server]], is a table"),
        ("server = [1]", "1: server: must be an array of tables, [[server]], is the integer 1"),
        ("\n[[server]]\nname = \"x\"", "2: server[0]: needs pid_file or unit"),
        (
            "[[server]]\nname=\"x\"\npid_file=\"/x\"\n[[server]]\nname=\"x\"\npid_file=\"/y\"",
            "5: server[1].name: the name \"x\" is also that of server[0]",
        ),
        (
            "[[server]]\npid_file=\"/x\"\n[[server]]\npid_file=\"/x\"",
            "4: server[1].pid_file: the pid file \"/x\" is also that of server[0]",
        ),
        (
            "[[server]]\npid_file=\"/x\"\nunit=\"x\"\n[[server]]\npid_file=\"/y\"\nunit=\"x.service\"",
            "6: server[1].unit: the unit \"x\" is also that of server[0]",
        ),
    ]);
    let many: Vec<String> = (0..65).map(|n| format!("[[server]]\npid_file=\"/{n}\"\n")).collect();
    let many = many.concat();
    assert_eq!(refusal(&many), "/g.toml:129: server: must be at most 64 tables, is 65");
}

#[test]
fn what_a_server_is_said_to_have_is_checked() {
    assert_refused(&[
        (
            "[[server]]\nname=\"\"\npid_file=\"/x\"",
            "2: server[0].name: must be printable text that is not empty, is \"\"",
        ),
        (
            "[[server]]\nname=\"a\\nb\"\npid_file=\"/x\"",
            "2: server[0].name: must be printable text that is not empty, is \"a\\nb\"",
        ),
        (
            "[[server]]\npid_file=\"/x\"\nstatus_url=\"127.0.0.1\"",
            "3: server[0].status_url: must be an http URL without credentials, as https is not spoken here, is \"127.0.0.1\"",
        ),
        (
            "[[server]]\npid_file=\"/x\"\nstatus_url=\"https://h/server-status?auto\"",
            "3: server[0].status_url: must be an http URL without credentials, as https is not spoken here, is \"https://h/server-status?auto\"",
        ),
        (
            "[[server]]\nunit=\"apache2.socket\"",
            "2: server[0].unit: must be the name of a systemd service, is \"apache2.socket\"",
        ),
        (
            "[[server]]\nunit=\"../x\"",
            "2: server[0].unit: must be the name of a systemd service, is \"../x\"",
        ),
        (
            "[[server]]\npid_file=\"/x\"\nerror_log=\"log\"",
            "3: server[0].error_log: must be \"auto\", \"none\" or an absolute path, is \"log\"",
        ),
        (
            "[[server]]\npid_file=\"/x\"\narguments=\"-X\"",
            "3: server[0].arguments: must be \"auto\" or a list, is \"-X\"",
        ),
        (
            "[[server]]\npid_file=\"/x\"\narguments=[1]",
            "3: server[0].arguments: must be \"auto\" or a text without NUL, is the integer 1",
        ),
    ]);
    let long = format!("[[server]]\npid_file=\"/x\"\nname=\"{}\"", "é".repeat(101));
    let expected =
        "/g.toml:3: server[0].name: must be at most 100 characters long, is 101 characters long";
    assert_eq!(refusal(&long), expected);
}

#[test]
fn sections_that_would_not_work_are_refused() {
    assert_refused(&[
        ("[reload.gate]\nurl = \"http://h\"", "1: reload.gate: needs expr"),
        ("[reload.gate]\nexpr = \"up\"", "1: reload.gate: needs url"),
        (
            "[reload.gate]\nurl = \"http://h\"\nexpr = \" \"",
            "3: reload.gate.expr: must be a text that is not empty, is \" \"",
        ),
        (
            "[reload.gate]\nurl=\"http://h\"\nexpr=\"up\"\nusername=\"u\"",
            "4: reload.gate.username: needs password_file",
        ),
        (
            "[reload.gate]\nurl=\"http://h\"\nexpr=\"up\"\nusername=\"u\"\npassword_file=\"/p\"\nbearer_token_file=\"/b\"",
            "6: reload.gate.bearer_token_file: excludes username",
        ),
        ("[reload.lock]\ngroup = \"web\"", "1: reload.lock: needs endpoints"),
        ("[reload.lock]\nendpoints = [\"https://h\"]", "1: reload.lock: needs group"),
        (
            "[reload.lock]\ngroup=\"web\"\nendpoints=[\"http://10.0.0.1:2379\"]",
            "3: reload.lock.endpoints: needs insecure = true for plain http to another host",
        ),
        (
            "[reload.lock]\ngroup=\"web\"\nendpoints=[\"https://h\"]\nkey_file=\"/k\"",
            "4: reload.lock.key_file: needs cert_file",
        ),
        (
            "[reload.lock]\ngroup=\"web\"\nendpoints=[\"https://h\"]\nbackend=\"consul\"",
            "4: reload.lock.backend: must be \"etcd\", is \"consul\"",
        ),
    ]);
    accepted("[reload.lock]\ngroup=\"web\"\nendpoints=[\"http://10.0.0.1:2379\"]\ninsecure=true");
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_lines() {
    let expected = "\
/g.toml:1: x: unknown key
/g.toml:3: watch.interval: must be between 100ms and 60s, is 1ms
/g.toml:4: watch.y: unknown key
/g.toml:6: limits.restart_timeout: must be between 100ms and 24h, is 25h";
    let text = "x = 1\n[watch]\ninterval = \"1ms\"\ny = 1\n[limits]\nrestart_timeout = \"25h\"\n";
    assert_eq!(refusal(text), expected);
    let many: Vec<String> = (0..30).map(|n| format!("x{n} = 1\n")).collect();
    let refusal = refusal(&many.concat());
    assert_eq!(refusal.lines().count(), 21);
    assert!(refusal.ends_with("\n/g.toml:20: x19: unknown key\nand 10 more of these"), "{refusal}");
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    assert_refused(&[
        ("[watch]\ninterval = \"1s\"\ninterval = \"2s\"", "3: duplicate key"),
        ("[watch\n", "1: unclosed table, expected `]`"),
        ("a = 1\nb", "2: key with no value, expected `=`"),
        ("\n\na = \"x", "3: invalid basic string, expected `\"`"),
    ]);
    let garbage =
        Settings::from_bytes(Path::new("/g.toml"), Some(b"a = 1\n\xff\xfe"), Flags::default());
    assert_eq!(garbage.unwrap_err().to_string(), "/g.toml:2: must be UTF-8 text, is not");
}

#[test]
fn a_pid_file_on_the_command_line_is_one_server_named_main() {
    let flags = Flags { pid_file: Some("/run/httpd.pid".into()), ..Flags::default() };
    let settings = load("", flags.clone()).unwrap();
    let [server] = settings.servers.as_slice() else { panic!("{:?}", settings.servers) };
    assert_eq!(server.name.as_deref(), Some("main"));
    assert_eq!(server.pid_file, Some("/run/httpd.pid".into()));
    let table = show::table(settings.rows());
    let row = table.lines().find(|row| row.starts_with("server[0].pid_file")).unwrap();
    assert!(row.ends_with("flag --httpd.pid-file"), "{row}");
    let both = load("[[server]]\npid_file = \"/x\"", flags).unwrap_err().to_string();
    assert_eq!(both, "--httpd.pid-file: excludes the [[server]] of the configuration file");
}

#[test]
fn flags_go_over_defaults() {
    let flags = Flags {
        listen_addresses: vec![":1".parse().unwrap(), "[::1]:2".parse().unwrap()],
        telemetry_path: Some("/m".parse().unwrap()),
        web_config_file: Some("/w.yml".into()),
        procfs: Some("/host/proc".into()),
        ..Flags::default()
    };
    let settings = load("", flags).unwrap();
    assert_eq!(settings.web.listen_addresses.len(), 2);
    assert_eq!(settings.web.telemetry_path.as_str(), "/m");
    assert_eq!(settings.web.config_file, Some("/w.yml".into()));
    assert_eq!(settings.paths.procfs, Path::new("/host/proc"));
    assert_eq!(settings.paths.sysfs, Path::new("/sys"));
    let table = show::table(settings.rows());
    let row = table.lines().find(|row| row.starts_with("--web.listen-address")).unwrap();
    assert!(row.contains("[\":1\",\"[::1]:2\"]"), "{row}");
    assert!(row.ends_with("flag --web.listen-address"), "{row}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = Settings::from_bytes(Path::new("/g.toml"), Some(&bytes), Flags::default());
    }

    #[test]
    fn no_damage_to_a_right_one_makes_it_panic(at in 0..WHOLE.len(), bytes: [u8; 3]) {
        let mut damaged = WHOLE.as_bytes().to_vec();
        let end = damaged.len().min(at + bytes.len());
        damaged.splice(at..end, bytes);
        let _ = Settings::from_bytes(Path::new("/g.toml"), Some(&damaged), Flags::default());
    }

    #[test]
    fn no_value_makes_it_panic(value in "(true|-?[0-9]{1,25}|0x[0-9a-f]{1,20}|[0-9]\\.[0-9]e9|\"\\PC*\"|'.*'|\\[\\]|\\{\\})") {
        let text = WHOLE.lines().map(|line| match line.split_once(" = ") {
            Some((key, _)) => format!("{key} = {value}\n"),
            None => format!("{line}\n"),
        });
        let text: String = text.collect();
        let _ = Settings::from_bytes(Path::new("/g.toml"), Some(text.as_bytes()), Flags::default());
    }
}
