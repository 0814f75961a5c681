//! What a private httpd is told: its settings, and the configuration file that they make.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::httpd::Httpd;

const MODULES: &str = "/usr/lib/apache2/modules";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mpm {
    Event,
    Worker,
    Prefork,
}

impl Mpm {
    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Worker => "worker",
            Self::Prefork => "prefork",
        }
    }
}

/// How the parent is started, and so whose child it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// `-D FOREGROUND`: the test process's child.
    Foreground,
    /// `-k start`: init's child, as installations have it.
    Daemonised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scoreboard {
    Anonymous,
    Named,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    File,
    Piped,
}

/// A httpd to be; a setting that is not made has a value at which few children live long.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(super) mpm: Mpm,
    pub(super) start: Start,
    start_servers: u32,
    server_limit: u32,
    threads_per_child: u32,
    max_request_workers: Option<u32>,
    log_level: String,
    log: Log,
    scoreboard: Scoreboard,
    modules: Vec<&'static str>,
    extra: String,
}

impl Builder {
    pub(super) fn new(mpm: Mpm) -> Self {
        Self {
            mpm,
            start: Start::Foreground,
            start_servers: 2,
            server_limit: 8,
            threads_per_child: 5,
            max_request_workers: None,
            log_level: "info".to_owned(),
            log: Log::File,
            scoreboard: Scoreboard::Anonymous,
            modules: vec!["authz_core", "status", "proxy", "proxy_http"],
            extra: String::new(),
        }
    }

    pub(crate) fn start_servers(self, start_servers: u32) -> Self {
        Self { start_servers, ..self }
    }

    pub(crate) fn server_limit(self, server_limit: u32) -> Self {
        Self { server_limit, ..self }
    }

    /// Means nothing to prefork.
    pub(crate) fn threads_per_child(self, threads_per_child: u32) -> Self {
        Self { threads_per_child, ..self }
    }

    /// Half of what the slots would hold, if not set, so that an old generation finds room; all of
    /// it under prefork.
    pub(crate) fn max_request_workers(self, max_request_workers: u32) -> Self {
        Self { max_request_workers: Some(max_request_workers), ..self }
    }

    pub(crate) fn log_level(self, log_level: &str) -> Self {
        Self { log_level: log_level.to_owned(), ..self }
    }

    /// With `mod_cgid`'s daemon: a child of the parent that is no worker.
    pub(crate) fn with_cgid(mut self) -> Self {
        self.modules.push("cgid");
        self
    }

    /// With rotatelogs behind `ErrorLog`, a child of the parent that is no worker.
    pub(crate) fn with_piped_log(self) -> Self {
        Self { log: Log::Piped, ..self }
    }

    /// With `ScoreBoardFile`: a named POSIX shared memory instead of an anonymous one.
    pub(crate) fn with_scoreboard_file(self) -> Self {
        Self { scoreboard: Scoreboard::Named, ..self }
    }

    /// Started by `-k start`: a process that detached itself and belongs to init.
    pub(crate) fn daemonised(self) -> Self {
        Self { start: Start::Daemonised, ..self }
    }

    /// Lines at the end of the main configuration.
    pub(crate) fn extra(mut self, directives: &str) -> Self {
        self.extra.push_str(directives);
        self.extra.push('\n');
        self
    }

    /// Returns when it serves; panics with its log if it does not come up.
    pub(crate) fn start(self) -> Httpd {
        Httpd::start(self)
    }

    /// How many requests can be worked on at the same time.
    pub(super) fn workers(&self) -> u32 {
        self.max_request_workers.unwrap_or(match self.mpm {
            Mpm::Prefork => self.server_limit,
            Mpm::Event | Mpm::Worker => self.server_limit.div_ceil(2) * self.threads_per_child,
        })
    }

    /// How many of them there are after a start.
    pub(super) fn first_workers(&self) -> u32 {
        let per_child = match self.mpm {
            Mpm::Prefork => 1,
            Mpm::Event | Mpm::Worker => self.threads_per_child,
        };
        self.workers().min(self.start_servers * per_child)
    }

    /// The main configuration of a httpd in `directory`; `backend` holds requests.
    pub(super) fn render(&self, directory: &Path, port: u16, backend: SocketAddr) -> String {
        let mut text = String::new();
        self.write_server(&mut text, directory, port);
        self.write_children(&mut text);
        let directory = directory.display();
        write!(
            text,
            "
ExtendedStatus On
<Location /server-status>
    SetHandler server-status
</Location>
ProxyTimeout 3600
ProxyPass /held/ http://{backend}/ retry=0 disablereuse=On
LogLevel {log_level}
# The time in UTC: the process has TZ=UTC.
ErrorLogFormat \"[%{{cu}}t] [%-m:%l] [pid %P:tid %T] %7F: %E: %M\"
ErrorLog \"{log}\"
{extra}",
            log_level = self.log_level,
            log = match self.log {
                Log::File => format!("{directory}/logs/error_log"),
                // One file, never rotated: what is tested is the pipe.
                Log::Piped => format!("|/usr/bin/rotatelogs -n 1 {directory}/logs/error_log 1G"),
            },
            extra = self.extra,
        )
        .unwrap();
        text
    }

    fn write_server(&self, text: &mut String, directory: &Path, port: u16) {
        let directory = directory.display();
        writeln!(
            text,
            "ServerRoot \"{directory}\"
ServerName localhost
DefaultRuntimeDir \"{directory}/run\"
PidFile \"{directory}/run/httpd.pid\"
DocumentRoot \"{directory}/htdocs\"
Listen 127.0.0.1:{port}
LoadModule mpm_{mpm}_module {MODULES}/mod_mpm_{mpm}.so",
            mpm = self.mpm.name()
        )
        .unwrap();
        for module in &self.modules {
            writeln!(text, "LoadModule {module}_module {MODULES}/mod_{module}.so").unwrap();
        }
        if self.modules.contains(&"cgid") {
            writeln!(text, "ScriptSock \"{directory}/run/cgisock\"").unwrap();
        }
        if self.scoreboard == Scoreboard::Named {
            writeln!(text, "ScoreBoardFile \"{directory}/run/scoreboard\"").unwrap();
        }
        if rustix::process::geteuid().is_root() {
            writeln!(text, "User www-data\nGroup www-data").unwrap();
        }
    }

    fn write_children(&self, text: &mut String) {
        let (start_servers, server_limit) = (self.start_servers, self.server_limit);
        let workers = self.workers();
        writeln!(text, "StartServers {start_servers}\nServerLimit {server_limit}").unwrap();
        // A child is forked when no worker is idle and none is ended for idleness: children come
        // and go by what the test does.
        match self.mpm {
            Mpm::Prefork => writeln!(text, "MinSpareServers 1\nMaxSpareServers {server_limit}"),
            Mpm::Event | Mpm::Worker => writeln!(
                text,
                "ThreadsPerChild {threads}\nThreadLimit {threads}\nMinSpareThreads 1\nMaxSpareThreads {most}",
                threads = self.threads_per_child,
                most = workers + self.threads_per_child,
            ),
        }
        .unwrap();
        writeln!(text, "MaxRequestWorkers {workers}").unwrap();
    }
}
