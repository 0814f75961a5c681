//! `ServerLimit`, `ThreadLimit` and the MPM: httpd reads them when it starts, and never again.

use serde::{Deserialize, Serialize};

use super::{DriftLook, Owed};
use crate::model::{
    drift::DriftSample,
    settings::{Mpm, ServerSettings},
    snapshot::Part,
    time::Timestamp,
};

/// `MAX_SERVER_LIMIT` of event and worker; `MAX_THREAD_LIMIT` of worker.
const MOST: u32 = 20_000;
/// `MAX_SERVER_LIMIT` of prefork.
const MOST_OF_PREFORK: u32 = 200_000;
/// `MAX_THREAD_LIMIT` of event.
const MOST_THREADS_OF_EVENT: u32 = 100_000;

/// Follows what one parent was started with.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitDrift {
    started_with: StartedWith,
    owed: Option<Owed>,
}

/// What a parent was started with, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::track) struct StartedWith {
    server_limit: Option<u32>,
    thread_limit: Option<u32>,
    #[serde(default)]
    mpm: Option<StartedMpm>,
}

/// An MPM, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StartedMpm {
    Event,
    Worker,
    Prefork,
}

impl LimitDrift {
    /// One that goes on where an earlier run left it.
    pub(super) const fn restored(started_with: StartedWith) -> Self {
        Self { started_with, owed: None }
    }

    /// What is to be kept.
    pub(super) const fn remember(&self) -> StartedWith {
        self.started_with
    }

    /// Folds one look. What is owed is so since the configuration last changed before that was told
    /// first: since `changed` if it is not loaded yet.
    pub(super) fn observe(
        &mut self,
        look: &DriftLook<'_>,
        changed: Option<Timestamp>,
    ) -> Option<Owed> {
        self.started_with.learn(look);
        let told = look.told.filter(|told| !told.is_partial)?;
        let owed = match (self.started_with.differs(told)?, self.owed) {
            (false, _) => Owed::Nothing,
            (true, Some(owed @ Owed::Since(_))) => owed,
            (true, Some(Owed::Nothing) | None) => Owed::Since(changed.or(told.changed)),
        };
        self.owed = Some(owed);
        self.owed
    }
}

impl StartedWith {
    fn learn(&mut self, look: &DriftLook<'_>) {
        let loaded = look.loaded.filter(|_| look.loading.number == 0);
        if let Some(loaded) = loaded.filter(|loaded| !loaded.is_partial) {
            let mpm = loaded.mpm.or(self.mpm.map(Mpm::from));
            // What was learned at its start holds, whatever is read later.
            self.server_limit = self.server_limit.or(server_limit(loaded, mpm));
            self.thread_limit = self.thread_limit.or(thread_limit(loaded, mpm));
        }
        if let Some(global) = look.global {
            self.server_limit = Some(global.server_limit);
            self.thread_limit = Some(global.thread_limit);
        }
        // httpd ends rather than that it goes on with another one.
        let mpm = mapped_mpm(look.sample).or(look.loaded.and_then(|loaded| loaded.mpm));
        self.mpm = self.mpm.or(mpm.map(StartedMpm::from));
    }

    /// `None` where that cannot be told.
    fn differs(&self, told: &ServerSettings) -> Option<bool> {
        let running = self.mpm.map(Mpm::from);
        if running.zip(told.mpm).is_some_and(|(running, told)| running != told) {
            return Some(true);
        }
        let mpm = told.mpm.or(running);
        let pairs = [
            (server_limit(told, mpm), self.server_limit),
            (thread_limit(told, mpm), self.thread_limit),
        ];
        let differs = pairs.map(|(told, running)| told.zip(running).map(|(one, it)| one != it));
        match differs {
            [Some(true), _] | [_, Some(true)] => Some(true),
            [Some(false), Some(false)] => Some(false),
            [None, _] | [_, None] => None,
        }
    }
}

/// What an MPM makes of `ServerLimit`; `None` where its default is not known.
fn server_limit(told: &ServerSettings, mpm: Option<Mpm>) -> Option<u32> {
    let (default, most) = match mpm {
        Some(Mpm::Event | Mpm::Worker) => (Some(16), MOST),
        Some(Mpm::Prefork) => (Some(256), MOST_OF_PREFORK),
        None => (None, MOST),
    };
    told.server_limit.or(default).map(|limit| limit.clamp(1, most))
}

/// What an MPM makes of `ThreadLimit`.
fn thread_limit(told: &ServerSettings, mpm: Option<Mpm>) -> Option<u32> {
    let most = match mpm {
        Some(Mpm::Prefork) => return Some(1),
        Some(Mpm::Event) => MOST_THREADS_OF_EVENT,
        Some(Mpm::Worker) | None => MOST,
    };
    told.thread_limit.or(mpm.map(|_| 64)).map(|limit| limit.clamp(1, most))
}

/// The MPM whose module the parent has mapped.
fn mapped_mpm(sample: &DriftSample) -> Option<Mpm> {
    let mapped = sample.mapped.as_ref().and_then(Part::seen)?;
    let mut names = mapped.iter().filter_map(|file| file.path.file_name()?.to_str());
    names.find_map(|name| match name {
        "mod_mpm_event.so" => Some(Mpm::Event),
        "mod_mpm_worker.so" => Some(Mpm::Worker),
        "mod_mpm_prefork.so" => Some(Mpm::Prefork),
        _ => None,
    })
}

impl From<Mpm> for StartedMpm {
    fn from(mpm: Mpm) -> Self {
        match mpm {
            Mpm::Event => Self::Event,
            Mpm::Worker => Self::Worker,
            Mpm::Prefork => Self::Prefork,
        }
    }
}

impl From<StartedMpm> for Mpm {
    fn from(mpm: StartedMpm) -> Self {
        match mpm {
            StartedMpm::Event => Self::Event,
            StartedMpm::Worker => Self::Worker,
            StartedMpm::Prefork => Self::Prefork,
        }
    }
}
