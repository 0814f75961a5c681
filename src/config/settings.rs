//! Settings: what this version of gracekeeper follows, checked once.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use serde_json::Value;

use super::{
    DEFAULT_FILE,
    error::ConfigError,
    file, keys,
    show::Row,
    typed::{self, Sheet},
    web::{ListenAddress, TelemetryPath},
};

/// What the command line says; `None` and empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config.file`.
    pub config_file: Option<PathBuf>,
    /// `--web.listen-address`, each.
    pub listen_addresses: Vec<ListenAddress>,
    /// `--web.config.file`.
    pub web_config_file: Option<PathBuf>,
    /// `--web.telemetry-path`.
    pub telemetry_path: Option<TelemetryPath>,
    /// `--path.procfs`.
    pub procfs: Option<PathBuf>,
    /// `--path.sysfs`.
    pub sysfs: Option<PathBuf>,
    /// `--httpd.pid-file`.
    pub pid_file: Option<PathBuf>,
}

/// The effective settings: flags over file over defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file that was read; `None` if there is none.
    pub config_file: Option<PathBuf>,
    /// How to watch.
    pub watch: Watch,
    /// Which servers to watch; none: those that run here.
    pub servers: Vec<Server>,
    /// When something takes too long.
    pub limits: Limits,
    /// Where to be asked.
    pub web: Web,
    /// Where the kernel tells.
    pub paths: Paths,
    /// The keys that somebody set and that this version does not follow.
    pub without_effect: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) flags: Flags,
}

/// `[watch]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// A look at least this often: 100 ms to 60 s.
    pub interval: Duration,
    /// The absolute path of the directory in which gracekeeper remembers.
    pub state_dir: PathBuf,
    /// Whether httpd may be asked about its own configuration.
    pub ask_httpd: bool,
    /// When its listeners are asked for the certificates that they serve.
    pub tls_probe: TlsProbe,
}

/// `tls_probe` of `[watch]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsProbe {
    /// Whenever another certificate may be served than before.
    #[default]
    OnChange,
    /// Never.
    Off,
    /// Then too, and each certificate once a period of 1 s to 24 h.
    Every(Duration),
}

/// One `[[server]]`, or what `--httpd.pid-file` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The name; unlike every other server's.
    pub name: Option<String>,
    /// The absolute path of its pid file; no server is accepted with neither this nor a unit.
    pub pid_file: Option<PathBuf>,
    /// Its systemd service, without `.service`.
    pub unit: Option<String>,
    /// Where its error log is.
    pub error_log: ErrorLogSetting,
    /// Where `mod_status` answers: an http URL with a host; `None`: it is not asked.
    pub status_url: Option<Uri>,
    /// The absolute path of its program; `None`: whatever the parent runs.
    pub program: Option<PathBuf>,
    /// What the program is told when it is asked about its configuration; `None`: what the parent
    /// was told of it.
    pub arguments: Option<Vec<String>>,
    /// The absolute path of a shell script that sets its environment; `None`: the parent's own
    /// environment, else a distribution's script.
    pub environment_file: Option<PathBuf>,
}

/// `error_log` of a `[[server]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorLogSetting {
    /// Wherever httpd writes it.
    #[default]
    Auto,
    /// It is not read.
    None,
    /// An absolute path.
    Path(PathBuf),
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A restart that takes longer is hung.
    pub restart_timeout: Duration,
}

/// `[web]`, and `--web.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// At least one address to listen on.
    pub listen_addresses: Vec<ListenAddress>,
    /// Where the metrics are.
    pub telemetry_path: TelemetryPath,
    /// The exporter-toolkit's file; `None`: plain HTTP for everybody.
    pub config_file: Option<PathBuf>,
    /// What is shown of stragglers' request lines.
    pub show_requests: ShowRequests,
}

/// `show_requests` of `[web]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShowRequests {
    /// Nothing.
    #[default]
    Off,
    /// The method.
    Method,
    /// The method, and the path without its query.
    Path,
}

/// `--path.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
}

impl Settings {
    /// Reads the configuration file, if there is one, and puts the flags over it; an error tells all
    /// that is wrong.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let path = flags.config_file.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        match file::read(&path) {
            Ok(bytes) => Self::from_bytes(&path, Some(&bytes), flags),
            // Only a file that somebody named has to exist.
            Err(ConfigError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound && flags.config_file.is_none() =>
            {
                Self::from_bytes(&path, None, flags)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads them anew, under the same command line.
    pub fn reread(&self) -> Result<Self, ConfigError> {
        Self::load(self.flags.clone())
    }

    /// What [`Settings::load`] makes of a file's bytes; `None` for no file.
    pub(super) fn from_bytes(
        path: &Path,
        bytes: Option<&[u8]>,
        flags: Flags,
    ) -> Result<Self, ConfigError> {
        let document = bytes.map(|bytes| typed::parse(path, bytes)).transpose()?;
        let mut sheet = Sheet::new(path, bytes.unwrap_or_default());
        let mut settings = keys::read(document.as_ref(), &mut sheet, flags);
        if !sheet.problems.is_empty() {
            return Err(sheet.problems.into());
        }
        settings.config_file = bytes.map(|_| path.to_owned());
        settings.rows = sheet.rows;
        settings.finish_rows();
        Ok(settings)
    }

    /// Every setting with its origin.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn finish_rows(&mut self) {
        let path = |path: &PathBuf| Value::from(path.to_string_lossy());
        let addresses: Value = self.web.listen_addresses.iter().map(ToString::to_string).collect();
        let flags = &self.flags;
        let given = |is_given: bool, value: Value| is_given.then_some(value);
        self.rows.extend([
            Row::flag("--config.file", flags.config_file.as_ref().map(path), DEFAULT_FILE.into()),
            Row::flag(
                "--web.listen-address",
                given(!flags.listen_addresses.is_empty(), addresses.clone()),
                addresses,
            ),
            Row::flag("--web.config.file", flags.web_config_file.as_ref().map(path), Value::Null),
            Row::flag(
                "--web.telemetry-path",
                flags.telemetry_path.as_ref().map(|path| path.as_str().into()),
                TelemetryPath::default().as_str().into(),
            ),
            Row::flag("--path.procfs", flags.procfs.as_ref().map(path), path(&self.paths.procfs)),
            Row::flag("--path.sysfs", flags.sysfs.as_ref().map(path), path(&self.paths.sysfs)),
        ]);
        let in_vain = self.rows.iter().filter(|row| row.is_set_in_vain());
        self.without_effect = in_vain.map(|row| row.key.clone()).collect();
    }
}
