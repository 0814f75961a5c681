//! Drift: what is owed to the running server, since when, and what would go wrong if it were paid.

mod certificates;
mod configuration_hash;
mod contents;
mod limits;
mod loading;
pub mod logs;
pub mod programs;
mod standing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(super) use self::loading::{LoadingMemory, LoadingTracker};
use self::{
    certificates::{DateTracker, KeyTracker, Keys},
    contents::{ContentMemory, ContentTracker},
    limits::{LimitDrift, StartedWith},
    logs::LogTracker,
    programs::ProgramTracker,
};
use crate::model::{
    drift::{CertificateSource, DriftSample, Reason},
    files::Loading,
    headroom::Role,
    process::ProcessId,
    scoreboard::Global,
    settings::ServerSettings,
    snapshot::Part,
    time::{Moment, Timestamp},
    tls::Certificate,
};

/// One look at what a living parent loaded and what lies on disk.
#[derive(Clone, Copy, Debug)]
pub struct DriftLook<'a> {
    /// When it began.
    pub at: Moment,
    /// Who the parent is.
    pub parent: ProcessId,
    /// What was seen.
    pub sample: &'a DriftSample,
    /// What the files say now, where httpd could be asked for them.
    pub told: Option<&'a ServerSettings>,
    /// What the running configuration says, where that is known.
    pub loaded: Option<&'a ServerSettings>,
    /// When the running generation read its files.
    pub loading: Loading,
    /// The living parent and its living worker children.
    pub roles: &'a BTreeMap<ProcessId, Role>,
    /// What the scoreboard says of its own limits, while it is read.
    pub global: Option<Global>,
}

/// Whether something is owed for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// What is loaded is what is on disk.
    Nothing,
    /// The change's own time; `None` where that cannot be told.
    Since(Option<Timestamp>),
}

/// Of the certificates in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateDates {
    /// The one with the least share of its life left.
    pub most_urgent: Certificate,
    /// When the one ends that ends first.
    pub earliest_end: Timestamp,
}

/// What is known of drift; what is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// Each reason that could be told.
    pub owed: BTreeMap<Reason, Owed>,
    /// httpd would read its configuration as it is on disk.
    pub config_valid: Option<bool>,
    /// The loaded configuration as a number below 2^52.
    pub config_hash: Option<u64>,
    /// Certificates by where they are.
    pub certificates: BTreeMap<CertificateSource, CertificateDates>,
    /// Key files that are encrypted.
    pub keys_encrypted: Option<u64>,
    /// A restart now would ask for a pass phrase.
    pub would_prompt: Option<bool>,
    /// Descriptors of logs that have another name now, or none.
    pub rotated_logs: BTreeMap<Role, u64>,
    /// Programs and files of the configuration that others than root can write.
    pub insecure_paths: Option<u32>,
    /// `GracefulShutdownTimeout` of the running configuration, in seconds.
    pub graceful_shutdown_timeout: Option<u32>,
}

/// Follows the drift of one server.
#[derive(Clone, Debug, Default)]
pub struct DriftTracker {
    of: Option<ProcessId>,
    contents: ContentTracker,
    dates: DateTracker,
    keys: KeyTracker,
    limits: LimitDrift,
    programs: ProgramTracker,
    logs: LogTracker,
}

/// What is kept of a living parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DriftMemory {
    started_with: StartedWith,
    contents: ContentMemory,
}

impl DriftTracker {
    /// One that goes on where an earlier run left it.
    pub(super) fn restored(parent: ProcessId, memory: DriftMemory) -> Self {
        let limits = LimitDrift::restored(memory.started_with);
        let contents = ContentTracker::restored(memory.contents);
        Self { of: Some(parent), limits, contents, ..Self::default() }
    }

    /// What is to be kept.
    pub(super) fn remember(&self) -> DriftMemory {
        DriftMemory { started_with: self.limits.remember(), contents: self.contents.remember() }
    }

    /// Folds one look.
    pub fn observe(&mut self, look: &DriftLook<'_>) -> Drift {
        if self.of != Some(look.parent) {
            let contents = self.contents.for_another_parent();
            *self = Self { of: Some(look.parent), contents, ..Self::default() };
        }
        let files = look.sample.files.as_ref().and_then(Part::seen);
        let served = look.sample.served.as_ref().and_then(Part::seen);
        let contents = self.contents.observe(files, served, (look.at.wall, look.loading));
        let owed = [
            (Reason::Config, contents.config),
            (Reason::Certificate, contents.certificate),
            (Reason::Limits, self.limits.observe(look, contents.newest)),
        ];
        let owed = owed.into_iter().filter_map(|(reason, owed)| Some((reason, owed?)));
        let told = look.told.or(look.loaded);
        let modules = told.map(|told| &told.module_files);
        let loaded = look.loading.began.wall;
        let programs = self.programs.observe(look.sample.mapped.as_ref(), modules, loaded);
        let logs = told.filter(|told| !told.logs_are_partial).map(|told| told.log_files.as_ref());
        let keys = files.map_or_else(Keys::default, |files| {
            self.keys.observe(files, &self.contents, look.loading.began.wall)
        });
        Drift {
            owed: owed.chain(programs).collect(),
            config_valid: look.sample.config_valid,
            config_hash: contents.hash,
            certificates: self.dates.observe(files, served, look.at.wall),
            keys_encrypted: keys.encrypted,
            would_prompt: keys.would_prompt,
            rotated_logs: self.logs.observe(look.sample.logs.as_ref(), logs, look.roles),
            insecure_paths: files.map(|files| files.insecure),
            graceful_shutdown_timeout: look.loaded.and_then(|it| it.graceful_shutdown_timeout),
        }
    }
}

impl Owed {
    /// Since when something is, where that is known.
    #[must_use]
    pub const fn since(self) -> Option<Timestamp> {
        match self {
            Self::Nothing => None,
            Self::Since(since) => since,
        }
    }
}

#[cfg(test)]
mod tests;
