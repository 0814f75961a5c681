//! Who may use whom in `src`, and what the pure part of it does not know.

use super::{Source, sources};

/// A part of `src` and the parts that it may use besides itself; the longest name that fits counts.
const LAYERS: [(&str, &[&str]); 23] = [
    ("", &["*"]),
    ("model", &[]),
    ("decode", &["model"]),
    // One rule says what lines mean, to history and to the trackers.
    ("track", &["model", "decode::error_log::failure"]),
    ("clock", &["model"]),
    ("exit", &[]),
    ("version", &[]),
    ("log_format", &["model", "clock"]),
    ("observe", &["model", "decode", "clock", "program", "trusted_path", "file_stamp"]),
    ("expose", &["model", "track"]),
    ("expose::server", &["model", "clock", "expose"]),
    ("expose::web_config", &["model", "clock", "expose", "file_stamp"]),
    ("config", &["trusted_path"]),
    ("cli", &["config", "exit", "log_format", "version"]),
    ("state", &["model", "decode", "clock", "track", "trusted_path"]),
    ("history", &["model", "decode"]),
    ("watch", &["model", "clock", "observe", "track", "expose", "state"]),
    ("command", &["*"]),
    ("program", &["model", "clock"]),
    ("trusted_path", &[]),
    ("file_stamp", &[]),
    ("demo", &["clock", "program"]),
    ("doctor", &["model", "decode", "observe", "trusted_path"]),
];

/// What knows no file, socket, clock, log or thread.
const PURE: [&str; 14] = [
    "model",
    "decode",
    "track",
    "history::story",
    "history::note",
    "expose::api",
    "expose::catalogue",
    "expose::drift",
    "expose::headroom",
    "expose::journal",
    "expose::last_restart",
    "expose::metrics",
    "expose::publication",
    "expose::stragglers",
];

const IMPURE: [&str; 17] = [
    "std::env",
    "std::fs",
    // An address is a value.
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os::fd",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::time::Instant",
    "std::time::SystemTime",
    "hyper",
    "procfs",
    "rustix",
    "tokio",
    "tracing",
];

fn is_below(path: &str, part: &str) -> bool {
    part.is_empty()
        || path == part
        || path.strip_prefix(part).is_some_and(|rest| rest.starts_with("::"))
}

fn layer(module: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let fitting = LAYERS.iter().filter(|(part, _)| {
        if part.is_empty() { module.is_empty() } else { is_below(module, part) }
    });
    fitting.max_by_key(|(part, _)| part.len())
}

fn may_use(source: &Source, used: &str) -> bool {
    let Some((own, others)) = layer(&source.module) else {
        panic!("src/{}: say in LAYERS what {} may use", source.file.display(), source.module);
    };
    others.contains(&"*") || is_below(used, own) || others.iter().any(|part| is_below(used, part))
}

#[test]
fn every_part_uses_only_what_is_below_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for path in source.paths(&["crate", "super"]) {
            let used = path.strip_prefix("crate::").unwrap_or_default();
            seen += 1;
            if !may_use(&source, used) {
                wrong.push(format!("src/{} uses {used}", source.file.display()));
            }
        }
    }
    assert!(seen > 200, "only {seen} paths were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_pure_knows_no_file_socket_clock_log_or_thread() {
    let roots = ["std", "hyper", "procfs", "rustix", "tokio", "tracing"];
    let mut wrong = Vec::new();
    let pure = |source: &Source| PURE.iter().any(|part| is_below(&source.module, part));
    for source in sources().into_iter().filter(pure) {
        for path in source.paths(&roots) {
            if IMPURE.iter().any(|part| is_below(&path, part)) {
                wrong.push(format!("src/{} uses {path}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rules_tell_right_from_wrong() {
    let source = |module: &str, text: &str| Source {
        module: module.to_owned(),
        file: module.into(),
        text: text.to_owned(),
    };
    let allowed = |module: &str, used: &str| may_use(&source(module, ""), used);
    assert!(allowed("track::restart", "model::time::Moment"));
    assert!(allowed("track::restart", "track::look"));
    assert!(allowed("expose::server::site", "clock"));
    assert!(allowed("command::run", "watch::Watch"));
    assert!(!allowed("track::restart", "observe"));
    assert!(!allowed("model::time", "modelling"));
    assert!(!allowed("expose::metrics", "clock"));
    assert!(!allowed("observe::server", "track"));
    assert!(!allowed("watch", "config"));
    assert_eq!(source("track::a", "use super::{b, c};").paths(&["super"]).len(), 2);
}
