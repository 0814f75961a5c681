//! When the running generation read its files.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    event::{Event, RestartType},
    files::Loading,
    process::ProcessId,
    snapshot::{ParentSighting, ServerSnapshot, TraceKind},
    time::Moment,
};

/// A process's start is told in ticks, rounded down, and so is the last change of a file that it
/// read at once.
const STARTED_WITHIN: Duration = Duration::from_millis(20);
/// httpd opens its configuration about 1 ms after a graceful restart's signal; who opens it later
/// is another, as a configtest.
const OPENED_WITHIN: Duration = Duration::from_secs(2);
/// In a hard restart it ends its children first, for which it takes up to ten seconds.
const OPENED_AFTER_CHILDREN: Duration = Duration::from_secs(12);
/// The configuration may be opened by anybody, as often as he likes.
const MOST_OPENINGS: usize = 64;

/// Follows when one server's parents read their files.
#[derive(Clone, Debug, Default)]
pub(in crate::track) struct LoadingTracker {
    latest: Option<(ProcessId, Loading)>,
    /// When the configuration was opened since.
    opened: Vec<Moment>,
    /// A restart was in progress when the parent was first seen, so that nobody tells of it.
    is_reading: bool,
    /// When the pid file was last written since.
    written: Option<Moment>,
}

/// What is kept of a living parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::track) struct LoadingMemory {
    number: u64,
    began: Moment,
}

impl LoadingTracker {
    /// One that goes on where an earlier run left it.
    pub(in crate::track) fn restored(parent: ProcessId, memory: LoadingMemory) -> Self {
        let LoadingMemory { number, began } = memory;
        Self { latest: Some((parent, Loading { number, began })), ..Self::default() }
    }

    /// What is to be kept of this parent.
    pub(in crate::track) fn remember(&self, parent: ProcessId) -> Option<LoadingMemory> {
        let Loading { number, began } = self.of(parent)?;
        Some(LoadingMemory { number, began })
    }

    /// When this parent last read its files; `None` before it was seen.
    pub(in crate::track) fn of(&self, parent: ProcessId) -> Option<Loading> {
        self.latest.filter(|(id, _)| *id == parent).map(|(_, loading)| loading)
    }

    /// Folds one look, with the restarts that the parent went through since the last. One that is
    /// in progress has loaded nothing yet.
    pub(in crate::track) fn observe(
        &mut self,
        snapshot: &ServerSnapshot,
        parent: &ParentSighting,
        restarts: &[Event],
    ) {
        // `None` while that cannot be seen.
        let reads = parent.processes.seen().map(|table| !table.catches_crashes);
        let mut loading = self.of(parent.id).unwrap_or_else(|| {
            self.opened.clear();
            self.is_reading = reads == Some(true);
            first(snapshot.at, parent)
        });
        let ends = snapshot.traces.iter().filter(|it| it.kind == TraceKind::PidFileWritten);
        self.written = ends.map(|trace| trace.at).max().or(self.written);
        let opened = snapshot.traces.iter().filter(|it| it.kind == TraceKind::ConfigOpened);
        self.opened.extend(opened.map(|trace| trace.at));
        let superfluous = self.opened.len().saturating_sub(MOST_OPENINGS);
        self.opened.drain(..superfluous);
        let written = parent.pid_file.map(|stamp| snapshot.at.at_wall(stamp.written));
        // One that was there before says nothing of this restart.
        let written = written.filter(|written| written.wall > loading.began.wall);
        for restart in restarts {
            let Event::Restarted { kind, began, .. } = restart else { continue };
            let began = self.began(*kind, *began, written);
            loading = Loading { number: loading.number.saturating_add(1), began };
        }
        if self.is_reading && reads == Some(false) {
            let began = written.unwrap_or(snapshot.at);
            loading = Loading { number: loading.number.saturating_add(1), began };
        }
        self.is_reading &= reads != Some(false);
        if !restarts.is_empty() {
            self.written = None;
        }
        self.opened.retain(|opened| *opened > loading.began);
        self.latest = Some((parent.id, loading));
    }

    /// When a restart read its files, whose signal was taken at `signal`, if that was seen, and
    /// which wrote its pid file last.
    fn began(&self, kind: RestartType, signal: Moment, written: Option<Moment>) -> Moment {
        let last_opened = |within: Duration| {
            let until = signal.after(within);
            // Whoever opens it after the pid file was written is another, too.
            let until = self.written.map_or(until, |written| written.min(until));
            let opened =
                self.opened.iter().filter(|opened| **opened >= signal && **opened <= until);
            opened.max().copied()
        };
        let began = match kind {
            RestartType::Graceful => last_opened(OPENED_WITHIN).unwrap_or(signal),
            RestartType::Hard => last_opened(OPENED_AFTER_CHILDREN).or(written).unwrap_or(signal),
            RestartType::Full | RestartType::Unknown => written.unwrap_or(signal),
        };
        // By the wall: both are stamps, and where no trace was seen the signal is the look's time.
        written.filter(|written| written.wall < began.wall).unwrap_or(began)
    }
}

/// What a parent read that nobody saw read it: it writes its pid file last, at its start and at
/// each restart.
fn first(at: Moment, parent: &ParentSighting) -> Loading {
    let started = at.at_uptime(parent.id.started);
    let written = parent.pid_file.map(|stamp| at.at_wall(stamp.written));
    let Some(written) = written else {
        return Loading { number: 0, began: started.after(STARTED_WITHIN) };
    };
    let generation = parent.scoreboard.seen().map(|board| board.global.running_generation);
    let is_first = generation.is_some_and(|generation| generation.number() == 0);
    Loading { number: u64::from(!is_first), began: written }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::fixture::{Story, after, process};

    fn loading(story: &Story) -> (u64, Moment) {
        let loading = story.tracker.loading().unwrap();
        (loading.number, loading.began)
    }

    #[test]
    fn a_parent_that_never_restarted_read_its_files_when_it_started() {
        let story = Story::of_a_running_httpd();
        assert_eq!(loading(&story), (0, after(10)));
    }

    #[test]
    fn a_graceful_restart_reads_when_the_configuration_is_opened() {
        let mut story = Story::of_a_running_httpd();
        story.trace(2500, TraceKind::ConfigOpened);
        story.look(2600);
        assert_eq!(loading(&story), (0, after(10)), "a configtest");
        story.generation = 1;
        story.reads_configuration(3001, 3010);
        story.look(3100);
        assert_eq!(loading(&story), (1, after(3001)));
        story.look(4000);
        assert_eq!(loading(&story), (1, after(3001)));
    }

    #[test]
    fn a_restart_that_was_in_progress_when_it_was_first_seen_has_read_when_it_is_over() {
        // Another parent than the one before.
        let mut story = Story::of_a_running_httpd();
        story.trace(2500, TraceKind::Exited(process(1, 0)));
        story.parent = Some(process(2, 2510));
        story.pid_file = 2520;
        story.catches_crashes = false;
        story.generation = 1;
        story.look(3000);
        assert_eq!(loading(&story).0, 1);
        story.catches_crashes = true;
        story.pid_file = 3500;
        story.look(3600);
        assert_eq!(loading(&story), (2, after(3500)));
        story.look(3700);
        assert_eq!(loading(&story), (2, after(3500)));
    }

    #[test]
    fn a_hard_restart_reads_when_its_children_have_ended() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.scoreboard = None;
        story.catches_crashes = false;
        story.look(3000);
        assert_eq!(loading(&story).0, 0, "in progress");
        story.scoreboard = Some(9011);
        story.catches_crashes = true;
        story.children = vec![(21, 9020, 1)];
        story.reads_configuration(9000, 9010);
        story.look(9100);
        assert_eq!(loading(&story), (1, after(9000)));
    }

    #[test]
    fn what_somebody_opens_while_a_restart_hangs_is_not_its_reading() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.catches_crashes = false;
        story.trace(3001, TraceKind::ConfigOpened);
        story.look(3002);
        story.trace(20_000, TraceKind::ConfigOpened);
        story.look(20_010);
        assert_eq!(loading(&story).0, 0, "it waits for a pass phrase");
        story.catches_crashes = true;
        story.trace(30_000, TraceKind::PidFileWritten);
        story.pid_file = 30_000;
        story.children = vec![(21, 30_010, 1)];
        story.look(30_100);
        assert_eq!(loading(&story), (1, after(3001)));
    }
}
