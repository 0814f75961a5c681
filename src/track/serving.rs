//! Serving: is there a child that would answer a new connection?

use std::time::Duration;

use super::children::is_starting;
use crate::model::{
    process::{ProcessId, ProcessTable},
    scoreboard::Scoreboard,
    time::Moment,
};

/// Ordinary delays between "resuming" and the first child are shorter (event: 1 s, worker: 2 s).
const ORDINARY_DELAY: Duration = Duration::from_secs(3);
/// A child has its workers within a few milliseconds, unless a module takes long.
const STARTED_AFTER: Duration = Duration::from_millis(100);

/// Whether a server serves, as a state:
///
/// ```text
///   Unknown ◀──cannot be seen── any     Serves ──no child──▶ Pausing ──3 s──▶ Not
///                                          ▲─────── a child lives ──────────────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServingTracker {
    /// Nothing tells.
    #[default]
    Unknown,
    /// A child takes connections.
    Serves,
    /// None has, for no longer than is ordinary.
    Pausing {
        /// The first look that saw none.
        since: Moment,
    },
    /// None does.
    Not,
}

impl ServingTracker {
    /// Folds one look: whether a live, non-quiescing child of the running generation exists, which
    /// has started; `None` if that could not be seen.
    pub fn observe(&mut self, at: Moment, serves: Option<bool>) {
        *self = match (*self, serves) {
            (_, None) => Self::Unknown,
            (_, Some(true)) => Self::Serves,
            (Self::Serves, Some(false)) => Self::Pausing { since: at },
            (Self::Pausing { since }, Some(false)) if at.since(since) < ORDINARY_DELAY => *self,
            (Self::Pausing { .. } | Self::Unknown | Self::Not, Some(false)) => Self::Not,
        };
    }

    /// The server serves, or did until an ordinary delay ago; `None` where nothing tells.
    #[must_use]
    pub const fn serves(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Serves | Self::Pausing { .. } => Some(true),
            Self::Not => Some(false),
        }
    }

    /// When a server that does not serve just now stops counting as one that does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self {
            Self::Pausing { since } => Some(since.after(ORDINARY_DELAY)),
            Self::Unknown | Self::Serves | Self::Not => None,
        }
    }
}

/// A live, non-quiescing child of the running generation exists, and is not only being started: one
/// that dies before any worker is ready is followed by the next, and none ever answers. `None` while
/// slots are not proven.
pub(super) fn takes_connections(board: &Scoreboard, table: &ProcessTable) -> Option<bool> {
    let running = board.global.running_generation;
    let mut current = board.slots.as_ref()?.iter().filter(|slot| slot.generation == running);
    Some(
        current
            .any(|slot| !slot.quiescing && !is_starting(slot) && table.living(slot.pid).is_some()),
    )
}

/// The same without slots, which alone tell of workers: one that dies at its start does so sooner.
pub(super) fn has_started(id: &ProcessId, at: Moment) -> bool {
    at.since(at.at_uptime(id.started)) >= STARTED_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            process::{Child, ChildRole, ExitStatus, ProcessState},
            scoreboard::{Generation, Global, SlotRecord, WorkerStatus},
            snapshot::TraceKind,
            waiting::Waiting,
        },
        track::fixture::{self, Story, after, process},
    };

    fn takes(generation: i32, quiescing: bool, workers: &[(WorkerStatus, u32)]) -> bool {
        let slot = SlotRecord { quiescing, ..fixture::slot(11, generation, workers) };
        let global = Global {
            server_limit: 1,
            thread_limit: 5,
            running_generation: Generation::new(1),
            restart_time: after(0).wall,
        };
        let (id, state) = (process(11, 20), ProcessState::Alive);
        let child = Child { id, role: ChildRole::Httpd, state };
        let table = ProcessTable {
            state,
            catches_crashes: true,
            children: [(id.pid, child)].into(),
            well: Vec::new(),
            halted: Vec::new(),
            threaded: true,
            waiting: Waiting::default(),
        };
        takes_connections(&Scoreboard { global, slots: Some(vec![slot]) }, &table).unwrap()
    }

    #[test]
    fn a_child_that_is_never_ready_takes_no_connection() {
        let (ready, busy) = ((WorkerStatus::Ready, 4), (WorkerStatus::Sending, 5));
        let starting = (WorkerStatus::Starting, 5);
        assert!(takes(1, false, &[ready, starting]) && takes(1, false, &[busy]));
        assert!(!takes(1, false, &[starting]) && !takes(1, false, &[]), "it dies at its start");
        assert!(!takes(1, true, &[ready]) && !takes(0, false, &[ready]), "it is leaving");
    }

    #[test]
    fn a_restart_after_which_no_child_comes_or_none_lives_is_an_outage() {
        let mut story = Story::of_a_running_httpd();
        // Old children hold every slot.
        story.reads_configuration(2500, 2504);
        story.generation = 1;
        story.look(2510);
        assert_eq!(story.tracker.assessment().serving, Some(true), "it may be about to come");
        story.look(5510);
        assert_eq!(story.tracker.assessment().serving, Some(false));
        story.children = vec![(13, 5600, 1)];
        story.look(5700);
        assert_eq!(story.tracker.assessment().serving, Some(true));
    }

    #[test]
    fn what_a_failed_restart_leaves_behind_serves_nobody_new() {
        for (status, serves) in [(ExitStatus::Code(1), false), (ExitStatus::Signal(9), true)] {
            let mut story = Story::of_a_running_httpd();
            if !serves {
                story.trace(2500, TraceKind::ConfigOpened);
            }
            story.children.clear();
            story.orphans = vec![(11, 20)];
            story.ended(process(1, 0), 2505, Some(status));
            story.parent = None;
            for at in [2506, 3506, 6600] {
                story.look(at);
            }
            assert_eq!(story.tracker.assessment().orphans, Some(1));
            assert_eq!(story.tracker.assessment().serving, Some(serves), "{status:?}");
        }
    }

    #[test]
    fn a_graceful_stop_takes_no_connection_and_a_lost_pid_file_means_nothing() {
        for starts_another in [false, true] {
            let mut story = Story::of_a_running_httpd();
            story.trace(2500, TraceKind::PidFileRemoved);
            story.look(2600);
            story.look(6000);
            assert_eq!(story.tracker.assessment().serving, Some(true), "only the file is gone");
            story.exit(12, 6100, ExitStatus::Code(0));
            if starts_another {
                story.children.push((13, 6500, 0));
            }
            story.look(6600);
            story.look(9700);
            assert_eq!(story.tracker.assessment().serving, Some(starts_another));
        }
    }

    #[test]
    fn an_ordinary_delay_is_not_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        serving.observe(after(3000), Some(false));
        assert_eq!(serving.serves(), Some(true));
        serving.observe(after(3000), Some(true));
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn three_seconds_without_a_child_are_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        assert_eq!(serving.next_deadline(), Some(after(4000)));
        serving.observe(after(4000), Some(false));
        assert_eq!(serving.serves(), Some(false));
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn what_cannot_be_seen_is_neither_serving_nor_not() {
        let mut serving = ServingTracker::default();
        assert_eq!(serving.serves(), None);
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        serving.observe(after(60_000), None);
        assert_eq!(serving.serves(), None);
        assert_eq!(serving.next_deadline(), None, "nothing to wait for");
    }
}
