//! What httpd prints of its own configuration: `-t -D DUMP_RUN_CFG`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::model::settings::Mechanism;

/// Where the main server's error log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorLogPlace {
    /// An absolute path of a file.
    File(PathBuf),
    /// To the system's log.
    Syslog,
    /// Into a program that httpd starts.
    Pipe,
    /// A device or a descriptor of httpd's own, such as `/dev/stderr`, which another process that
    /// opens it finds to be something else.
    Stream,
}

/// What is read of it; `None` where a line is missing or holds no absolute path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunConfiguration {
    /// `ServerRoot`.
    pub root: Option<PathBuf>,
    /// The main server's `ErrorLog`.
    pub error_log: Option<ErrorLogPlace>,
    /// `PidFile`.
    pub pid_file: Option<PathBuf>,
}

/// Reads what httpd printed. Other lines, such as a module's own, are passed over.
///
/// `core.c`, `core_dump_config`: paths are absolute by then, and nothing in them is escaped.
#[must_use]
pub fn run_configuration(printed: &[u8]) -> RunConfiguration {
    let mut found = RunConfiguration::default();
    for line in printed.split(|byte| *byte == b'\n') {
        if let Some(value) = quoted(line, b"ServerRoot: ") {
            found.root = found.root.or_else(|| absolute(value));
        } else if let Some(value) = quoted(line, b"Main ErrorLog: ") {
            found.error_log = found.error_log.or_else(|| error_log(value));
        } else if let Some(value) = quoted(line, b"PidFile: ") {
            found.pid_file = found.pid_file.or_else(|| absolute(value));
        }
    }
    found
}

/// What is defined once all is read, with its value if it has one: `Define: NAME=VALUE`.
#[must_use]
pub fn defines(printed: &[u8]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let lines = printed.split(|byte| *byte == b'\n');
    let told = lines.filter_map(|line| line.strip_prefix(b"Define: ")).map(|told| {
        let mut parts = told.splitn(2, |byte| *byte == b'=');
        (parts.next().unwrap_or_default().to_owned(), parts.next().map(<[u8]>::to_owned))
    });
    told.collect()
}

/// The kinds of mutexes that are semaphores, or may be: each line `Mutex KIND: using_defaults`, or
/// with a `mechanism=`. `None` where httpd does not tell of the default one.
///
/// `util_mutex.c`, `dump_mutex`.
#[must_use]
pub fn mutexes(printed: &[u8]) -> Option<BTreeMap<Vec<u8>, Mechanism>> {
    let lines = printed.split(|byte| *byte == b'\n');
    let told = lines.filter_map(|line| {
        let line = line.strip_prefix(b"Mutex ")?;
        let end = line.windows(2).position(|two| two == b": ")?;
        let (kind, rest) = line.split_at_checked(end)?;
        Some((kind, rest.get(2..)?.trim_ascii()))
    });
    let told: BTreeMap<&[u8], &[u8]> = told.collect();
    let default = mechanism(told.get(&b"default"[..])?);
    let kinds = told.iter().filter(|(kind, _)| **kind != b"default").filter_map(|(kind, rest)| {
        let made = if *rest == b"using_defaults" { default } else { mechanism(rest) };
        Some(((*kind).to_owned(), made?))
    });
    Some(kinds.collect())
}

/// A directory may hold anything: the last such word counts.
fn mechanism(rest: &[u8]) -> Option<Mechanism> {
    let name = b"mechanism=";
    let start = rest.windows(name.len()).rposition(|window| window == name)?;
    let value = rest.get(start + name.len()..)?;
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    match value.get(..end)? {
        b"sysvsem" => Some(Mechanism::SystemV),
        b"default" => Some(Mechanism::BuiltIn),
        _ => None,
    }
}

/// A value may hold quotes: the last one ends it.
fn quoted<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    line.strip_prefix(name)?.trim_ascii_end().strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn absolute(value: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(OsStr::from_bytes(value));
    (path.is_absolute() && !value.contains(&0)).then_some(path)
}

fn error_log(value: &[u8]) -> Option<ErrorLogPlace> {
    if value.starts_with(b"|") {
        return Some(ErrorLogPlace::Pipe);
    }
    if value == b"syslog" || value.starts_with(b"syslog:") {
        return Some(ErrorLogPlace::Syslog);
    }
    let path = absolute(value)?;
    Some(if is_stream(&path) { ErrorLogPlace::Stream } else { ErrorLogPlace::File(path) })
}

/// A device or a descriptor of httpd's own.
pub(super) fn is_stream(path: &Path) -> bool {
    let streams = ["null", "stdin", "stdout", "stderr", "tty", "console", "fd"];
    path.starts_with("/proc")
        || streams.iter().any(|stream| path.starts_with(Path::new("/dev").join(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was printed by a 2.4.71 that was given this `Mutex`, its built-in one being `pthread`.
    #[test]
    fn mutexes_that_may_be_semaphores_are_told() {
        let read = |text: &str| mutexes(text.as_bytes());
        let kinds = |kinds: &[(&str, Mechanism)]| {
            let kinds = kinds.iter().map(|(kind, made)| (kind.as_bytes().to_owned(), *made));
            Some(kinds.collect::<BTreeMap<_, _>>())
        };
        let inherits = "Mutex proxy: using_defaults\n";
        let default = |mechanism| {
            format!("{inherits}Mutex default: dir=\"/srv/mechanism=no/\" mechanism={mechanism} \n")
        };
        assert_eq!(read(&default("sysvsem")), kinds(&[("proxy", Mechanism::SystemV)]));
        assert_eq!(read(&default("default")), kinds(&[("proxy", Mechanism::BuiltIn)]));
        assert_eq!(read(&default("fcntl")), kinds(&[]));
        let own = "Mutex watchdog-callback: dir=\"\" mechanism=sysvsem [OmitPid]\n";
        let one = format!("{own}{}", default("posixsem"));
        assert_eq!(read(&one), kinds(&[("watchdog-callback", Mechanism::SystemV)]));
        assert_eq!(read(inherits), None, "not all was told");
        assert_eq!(read("Mutex \nMutex :\nMutex default: \n"), kinds(&[]));
    }

    /// As 2.4.71 prints it.
    const PRINTED: &[u8] = b"Included configuration files:\n  (*) /srv/httpd.conf\n\
        ServerRoot: \"/srv/a\"\nMain DocumentRoot: \"/srv/htdocs\"\n\
        Main ErrorLog: \"/srv/logs/error_log\"\nMutex watchdog-callback: using_defaults\n\
        Mutex default: dir=\"/srv/run/\" mechanism=default \nPidFile: \"/srv/run/httpd.pid\"\n\
        Define: DUMP_RUN_CFG\nDefine: X=1\nUser: name=\"www-data\" id=33 not_used\n";

    fn place(printed: &str) -> Option<ErrorLogPlace> {
        let line = format!("Main ErrorLog: {printed}\n");
        run_configuration(line.as_bytes()).error_log
    }

    #[test]
    fn what_httpd_prints_is_read() {
        let expected = RunConfiguration {
            root: Some("/srv/a".into()),
            error_log: Some(ErrorLogPlace::File("/srv/logs/error_log".into())),
            pid_file: Some("/srv/run/httpd.pid".into()),
        };
        assert_eq!(run_configuration(PRINTED), expected);
    }

    #[test]
    fn an_error_log_need_not_be_a_file() {
        let file = |path: &str| Some(ErrorLogPlace::File(path.into()));
        for (printed, expected) in [
            ("\"syslog\"", Some(ErrorLogPlace::Syslog)),
            ("\"syslog:local1:tag\"", Some(ErrorLogPlace::Syslog)),
            ("\"|/usr/bin/rotatelogs /x 60\"", Some(ErrorLogPlace::Pipe)),
            ("\"|$cat >/dev/null\"", Some(ErrorLogPlace::Pipe)),
            ("\"/dev/stderr\"", Some(ErrorLogPlace::Stream)),
            ("\"/proc/self/fd/2\"", Some(ErrorLogPlace::Stream)),
            ("\"/dev/fd/2\"", Some(ErrorLogPlace::Stream)),
            ("\"/dev/null\"", Some(ErrorLogPlace::Stream)),
            ("\"/dev/shm/error_log\"", file("/dev/shm/error_log")),
            ("\"/srv/we ird\"", file("/srv/we ird")),
            ("\"/srv/a \"b\" c\"", file("/srv/a \"b\" c")),
            ("\"/srv/syslog\"", file("/srv/syslog")),
            ("\"(null)\"", None),
            ("\"logs/error_log\"", None),
            ("\"\"", None),
            ("/x", None),
        ] {
            assert_eq!(place(printed), expected, "{printed}");
        }
    }

    #[test]
    fn a_definition_may_have_a_value() {
        let found = defines(PRINTED);
        let value = |name: &str| found.get(name.as_bytes()).cloned();
        assert_eq!((found.len(), value("X")), (2, Some(Some(b"1".to_vec()))));
        assert_eq!(value("DUMP_RUN_CFG"), Some(None));
        assert_eq!(defines(b"Define: A==\n").get(&b"A"[..]), Some(&Some(b"=".to_vec())));
        assert!(defines(b"define: A\n Define: B\n").is_empty());
    }

    #[test]
    fn the_first_line_counts() {
        let printed = b"PidFile: \"/a\"\nDefine: x\nPidFile: \"/b\"\n";
        assert_eq!(run_configuration(printed).pid_file, Some("/a".into()));
    }

    #[test]
    fn what_is_no_such_text_says_nothing() {
        for printed in [&b""[..], b"Syntax OK\n", b"PidFile: \"", b"PidFile: \"\"", b"\0\xff\n\n"] {
            assert_eq!(run_configuration(printed), RunConfiguration::default());
        }
    }
}
