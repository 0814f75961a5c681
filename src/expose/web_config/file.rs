//! The web configuration in force: read again when its files changed, kept when they broke.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clock;
use crate::file_stamp::FileStamp;
use crate::model::time::{Timestamp, Uptime};

use super::{WebConfig, WebConfigError};

/// How long a request waits for the disk before it is served under the last configuration.
const DISK: Duration = Duration::from_secs(2);

/// What the program tells Prometheus of its web configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebConfigState {
    /// Whether the files on disk are the ones in force.
    pub last_reload_successful: bool,
    /// When the configuration in force was read.
    pub last_success: Timestamp,
}

/// A web configuration file, shared by the server and whoever reports its state.
#[derive(Debug)]
pub struct WebConfigFile {
    path: PathBuf,
    look_every: Duration,
    in_force: watch::Sender<InForce>,
    state: watch::Sender<WebConfigState>,
    /// Microseconds since boot of the last look at the files.
    looked_at: AtomicU64,
    /// Held by the one look that goes on.
    look: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct InForce {
    config: Arc<WebConfig>,
    stamps: Stamps,
    /// What the last look found wrong.
    complaint: Option<String>,
}

impl WebConfigFile {
    /// How often its files are looked at, at most.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// Reads the file for the first time, when it must be good; may block.
    pub fn open(path: &Path, look_every: Duration) -> Result<Self, WebConfigError> {
        let (config, stamps) = read(path)?;
        let now = clock::now();
        let state = WebConfigState { last_reload_successful: true, last_success: now.wall };
        let in_force = InForce { config: Arc::new(config), stamps, complaint: None };
        Ok(Self {
            path: path.to_owned(),
            look_every,
            in_force: watch::Sender::new(in_force),
            state: watch::Sender::new(state),
            looked_at: AtomicU64::new(now.uptime.as_micros()),
            look: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether the last reading succeeded, and when one did.
    #[must_use]
    pub fn state(&self) -> WebConfigState {
        *self.state.borrow()
    }

    /// The state and its changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<WebConfigState> {
        self.state.subscribe()
    }

    /// The configuration as it is on disk, or the last good one.
    ///
    /// Looks when somebody asks, as the toolkit does, so that an idle server does nothing. While
    /// one request looks, others go on under what is in force.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<WebConfig> {
        if self.is_due()
            && let Ok(look) = Arc::clone(&self.look).try_acquire_owned()
        {
            let file = Arc::clone(self);
            let looking = spawn_blocking(move || {
                file.look_again();
                drop(look);
            });
            if timeout(DISK, looking).await.is_err() {
                tracing::debug!(file = %self.path.display(), "the web configuration is slow to read");
            }
        }
        Arc::clone(&self.in_force.borrow().config)
    }

    fn is_due(&self) -> bool {
        let now = clock::now();
        let looked_at = Uptime::from_micros(self.looked_at.load(Ordering::Relaxed));
        now.since(now.at_uptime(looked_at)) >= self.look_every
    }

    /// Reads the files if they changed, or were wrong; may block.
    fn look_again(&self) {
        self.looked_at.store(clock::now().uptime.as_micros(), Ordering::Relaxed);
        let before = self.in_force.borrow().clone();
        // A wrong one is tried again as it is: the cause may lie outside (descriptors, rights).
        if before.complaint.is_none() && stamps(&before.config.sources) == before.stamps {
            return;
        }
        match read(&self.path).and_then(|read| self.may_follow(&before.config, read)) {
            Ok((config, stamps)) => self.accept(config, stamps),
            Err(error) => self.complain(error.to_string(), before.complaint.as_deref()),
        }
    }

    /// Refuses what would open the server to everybody, or shut it for its clients, by accident.
    fn may_follow(&self, before: &WebConfig, read: Read) -> Result<Read, WebConfigError> {
        let path = self.path.clone();
        if read.0.says_nothing && !before.says_nothing {
            return Err(WebConfigError::Emptied { path });
        }
        if read.0.tls.is_some() != before.tls.is_some() {
            return Err(WebConfigError::TlsSwitched { path });
        }
        Ok(read)
    }

    fn accept(&self, config: WebConfig, stamps: Stamps) {
        let config = Arc::new(config);
        self.in_force.send_replace(InForce { config, stamps, complaint: None });
        let last_success = clock::now().wall;
        self.state.send_replace(WebConfigState { last_reload_successful: true, last_success });
        tracing::info!(file = %self.path.display(), "the web configuration was read again");
    }

    fn complain(&self, complaint: String, before: Option<&str>) {
        if before != Some(complaint.as_str()) {
            tracing::error!(
                file = %self.path.display(),
                error = complaint,
                "the web configuration is wrong, the last good one stays in force"
            );
        }
        self.in_force.send_modify(|in_force| in_force.complaint = Some(complaint));
        self.state.send_modify(|state| state.last_reload_successful = false);
    }
}

/// Files as they were at one time; one that could not be looked at is `None`.
type Stamps = Vec<Option<FileStamp>>;
type Read = (WebConfig, Stamps);

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| FileStamp::of(path)).collect()
}

/// Reads the configuration; a change while it is read shows in the next look.
fn read(path: &Path) -> Result<Read, WebConfigError> {
    let before = FileStamp::of(path);
    let config = WebConfig::read(path)?;
    let stamps = stamps(&config.sources);
    if FileStamp::of(path) == before {
        return Ok((config, stamps));
    }
    // Different from every later one.
    Ok((config, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, path).unwrap();
    }

    #[test]
    fn a_good_change_is_taken_over_and_a_broken_one_leaves_the_last_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        replace(&path, &format!("basic_auth_users: {{alice: {HASH}}}\n"));
        let file = WebConfigFile::open(&path, Duration::ZERO).unwrap();
        let users = || format!("{:?}", file.in_force.borrow().config.users());
        let first = file.state();

        replace(&path, &format!("basic_auth_users: {{bob: {HASH}}}\n"));
        file.look_again();
        assert_eq!(users(), "Some({\"bob\"})");
        assert!(file.state().last_reload_successful);
        assert!(file.state().last_success >= first.last_success);

        let good = file.state().last_success;
        for broken in ["{{{", "", "# nothing\n", "basic_auth_user: {}\n", "rate_limit: {burst: -1}"]
        {
            replace(&path, broken);
            file.look_again();
            let wanted = WebConfigState { last_reload_successful: false, last_success: good };
            assert_eq!(file.state(), wanted, "{broken:?}");
            assert_eq!(users(), "Some({\"bob\"})");
        }
        fs::remove_file(&path).unwrap();
        file.look_again();
        assert!(!file.state().last_reload_successful);

        replace(&path, "http_server_config: {http2: false}\n");
        file.look_again();
        assert_eq!(users(), "None");
        assert!(file.state().last_reload_successful);
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        replace(&path, "rate_limit: {interval: 1s, burst: 1}\n");
        let file = WebConfigFile::open(&path, Duration::ZERO).unwrap();
        let config = Arc::clone(&file.in_force.borrow().config);
        file.look_again();
        assert!(Arc::ptr_eq(&config, &file.in_force.borrow().config));
    }

    #[test]
    fn files_are_looked_at_once_in_a_while_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        replace(&path, "");
        let file = WebConfigFile::open(&path, Duration::from_secs(3600)).unwrap();
        assert!(!file.is_due());
    }

    #[test]
    fn an_error_names_file_line_key_and_cause() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        let error = |text: &str| {
            replace(&path, text);
            let error = WebConfig::read(&path).unwrap_err().to_string();
            let prefix = format!("{}: ", path.display());
            error.strip_prefix(&prefix).map(str::to_owned).unwrap_or(error)
        };
        assert!(error("\ntls_server_config:\n  min_version: TLS10\n").contains("at line 3"));
        assert!(error("tls: {}\n").contains("unknown field `tls`"));
        assert_eq!(
            error("tls_server_config: {cert: inline}\n"),
            "tls_server_config: neither key nor key_file is given"
        );
        fs::remove_file(&path).unwrap();
        let missing = WebConfig::read(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("read {}: ", path.display())), "{missing}");
        let directory = WebConfig::read(directory.path()).unwrap_err().to_string();
        assert!(directory.ends_with("not a regular file"), "{directory}");
    }
}
