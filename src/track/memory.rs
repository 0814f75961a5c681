//! What is kept of a server from one run to the next, so that nothing is invented or lost while
//! nobody looks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    children::Descent,
    drain::DrainMemory,
    drift::{DriftMemory, LoadingMemory},
    full_restart::{FullRestart, Unserved},
    hang::HangTracker,
    headroom::RestartNeeds,
    prompt::Prompt,
    restart::RestartMemory,
    stop::StopTracker,
};
use crate::model::{
    event::{FailureReason, RestartType},
    process::ProcessId,
    scoreboard::Generation,
    time::{Moment, Timestamp},
};

/// More children than a default httpd may have; what is beyond it is found again while it has a
/// parent, and is nobody's orphan after that.
const MOST_CHILDREN: usize = 4096;

/// What is kept of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerMemory {
    /// The last restarts, which a boot of the host does not undo.
    pub last: LastMemory,
    /// How long the last finished drain took.
    pub last_drain: Option<Duration>,
    /// What the last restart needed at its peak.
    pub last_needs: RestartNeeds,
    /// What holds as long as the processes that it names may live.
    pub life: Option<LifeMemory>,
}

/// The last restarts of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastMemory {
    /// The last signal of each type.
    pub restart: BTreeMap<RestartType, Timestamp>,
    /// The last failure of each reason.
    pub failure: BTreeMap<FailureReason, Timestamp>,
    /// `None` before the first restart.
    pub successful: Option<bool>,
}

/// What is kept of a server's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeMemory {
    /// The last look that it is from.
    pub(super) at: Moment,
    pub(super) story: Story,
    /// The children of the running generation, which come and go.
    pub(super) current: Vec<(ProcessId, Descent)>,
    /// Workers that were busy, before the restart in progress if there is one.
    #[serde(default)]
    pub(super) busy: u32,
}

/// What changes only when something happens that is counted or shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Story {
    pub(super) parents: u32,
    pub(super) parent: Option<ParentMemory>,
    pub(super) running: Option<Generation>,
    pub(super) unserved: Option<Unserved>,
    /// Children of older generations and of parents that are gone.
    pub(super) old: Vec<(ProcessId, Descent)>,
    pub(super) drains: DrainMemory,
    pub(super) stops: StopTracker,
    /// The configuration was opened, and no look since saw the parent run normally.
    #[serde(default)]
    pub(super) opened: Option<Moment>,
    /// What was told, and is not told again.
    #[serde(default)]
    pub(super) prompt: Option<Prompt>,
    #[serde(default)]
    pub(super) hang: HangTracker,
}

/// A parent that lived in the last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParentMemory {
    pub(super) id: ProcessId,
    pub(super) started: Moment,
    pub(super) restart: RestartMemory,
    pub(super) full: Option<FullRestart>,
    /// When it last read its files.
    #[serde(default)]
    pub(super) loading: Option<LoadingMemory>,
    #[serde(default)]
    pub(super) drift: DriftMemory,
}

impl ServerMemory {
    /// It tells the same, but for the children of the running generation and the time.
    #[must_use]
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        let story = |memory: &Self| memory.life.as_ref().map(|life| life.story.clone());
        self.last == other.last
            && self.last_drain == other.last_drain
            && self.last_needs == other.last_needs
            && story(self) == story(other)
    }

    /// The children of the running generation are the same too.
    #[must_use]
    pub fn names_the_same_as(&self, other: &Self) -> bool {
        let current = |memory: &Self| memory.life.as_ref().map(|life| life.current.clone());
        current(self) == current(other)
    }
}

impl LifeMemory {
    /// The last look that it is from.
    #[must_use]
    pub const fn at(&self) -> Moment {
        self.at
    }

    /// The parent that lived.
    #[must_use]
    pub fn parent(&self) -> Option<ProcessId> {
        self.story.parent.as_ref().map(|parent| parent.id)
    }

    /// The worker children that lived, those of parents that are gone included.
    pub fn children(&self) -> impl Iterator<Item = ProcessId> {
        self.story.old.iter().chain(&self.current).map(|(id, _)| *id)
    }

    /// The parents that had ended, and of which it was not known yet why.
    pub fn ended(&self) -> impl Iterator<Item = ProcessId> {
        self.story.stops.undecided()
    }

    pub(super) fn family(
        children: impl Iterator<Item = (ProcessId, Descent)>,
    ) -> Vec<(ProcessId, Descent)> {
        children.take(MOST_CHILDREN).collect()
    }
}
