//! Witnesses: which source answers, since when one is silent, and why.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::model::{
    drift::DriftSample,
    process::{ChildRole, ProcessState},
    snapshot::{ParentSighting, Part, ServerSnapshot},
    source::{Source, Why},
    time::Moment,
    tls::ServedCertificates,
};

/// A parent this young may not have made its scoreboard yet.
const STARTING: Duration = Duration::from_secs(2);

/// One source of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessState {
    /// It answered in the last look; `None` while it does not apply.
    pub up: Option<bool>,
    /// Why it did not, the last time it did not.
    pub why: Option<Why>,
    /// When it last answered.
    pub last_success: Option<Moment>,
    /// How often it failed, by reason.
    pub errors: BTreeMap<Why, u64>,
}

/// Follows every source of one server.
#[derive(Clone, Debug, Default)]
pub struct WitnessTracker {
    states: BTreeMap<Source, WitnessState>,
    /// Why changes of files are looked for, while they are.
    polled: Option<Why>,
    /// When the last handshake was heard of.
    probed: Option<Moment>,
}

/// A source that began or ceased to answer: worth one log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessChange {
    /// Which.
    pub source: Source,
    /// `None`: it answers.
    pub why: Option<Why>,
}

impl WitnessTracker {
    /// Every source that was ever wanted.
    #[must_use]
    pub const fn states(&self) -> &BTreeMap<Source, WitnessState> {
        &self.states
    }

    /// Whether an operator wants this source; one that he does not want has neither state nor
    /// errors.
    pub fn want(&mut self, source: Source, wanted: bool) {
        if wanted {
            self.states.entry(source).or_default();
        } else {
            self.states.remove(&source);
        }
    }

    /// Folds one look at a living parent, or at none. Returns what began or ceased to answer.
    ///
    /// A hard restart has no scoreboard while it reads its configuration, a starting httpd has
    /// none yet: that is no fault.
    pub fn observe(
        &mut self,
        snapshot: &ServerSnapshot,
        parent: Option<&ParentSighting>,
        restarting: bool,
    ) -> Vec<WitnessChange> {
        let mut changes = self.observe_optional(snapshot, parent.is_some());
        let at = snapshot.at;
        let Some(parent) = parent else {
            self.states.entry(Source::Scoreboard).or_default().up = None;
            let table = snapshot.hidden.map_or(Part::Seen(()), Part::Unseen);
            changes.extend(self.fold(Source::ProcessTable, at, &table, false));
            return changes;
        };
        let age = at.since(at.at_uptime(parent.id.started));
        let excused = restarting || age < STARTING;
        // A parent that is missing from a table that can be read has just ended.
        let table = self.fold(Source::ProcessTable, at, &parent.processes, true);
        let board = match &parent.scoreboard {
            // Found, but no layout could be proven although children live.
            Part::Seen(board) if board.slots.is_none() && has_children(parent) => {
                Part::Unseen(Why::Invalid)
            }
            Part::Seen(_) => Part::Seen(()),
            Part::Unseen(why) => Part::Unseen(*why),
        };
        let board = self.fold(Source::Scoreboard, at, &board, excused);
        changes.extend(table.into_iter().chain(board));
        changes
    }

    /// What an operator may have switched off, and what needs a parent that answers.
    fn observe_optional(&mut self, snapshot: &ServerSnapshot, lives: bool) -> Vec<WitnessChange> {
        let at = snapshot.at;
        let mut changes = Vec::new();
        match &snapshot.log {
            Some(log) => changes.extend(self.fold(Source::ErrorLog, at, log, false)),
            None => self.rests(Source::ErrorLog),
        }
        if let Some(status) = snapshot.status.as_ref().filter(|_| lives) {
            let part = status.result.as_ref().map_or_else(|why| Part::Unseen(*why), Part::Seen);
            changes.extend(self.fold(Source::ServerStatus, at, &part, false));
        } else if !lives {
            self.rests(Source::ServerStatus);
        }
        let (resources, drift) = (&snapshot.resources, &snapshot.drift);
        match &drift.served {
            Some(served) => changes.extend(self.fold_handshakes(at, served, drift)),
            None => self.rests(Source::TlsProbe),
        }
        self.notice_polling(drift);
        let hidden = drift.hidden.map(Part::Unseen);
        let files = drift.files.as_ref().map(|files| hidden.unwrap_or_else(|| files.answered()));
        for (source, part) in [
            (Source::MemoryMaps, resources.memory.as_ref().map(Part::answered)),
            (Source::FdLinks, resources.links.as_ref().map(Part::answered)),
            (Source::Sockets, resources.sockets.as_ref().map(Part::answered)),
            (Source::Files, files),
            (Source::Cgroup, resources.cgroup.as_ref().map(Part::answered)),
        ] {
            match part {
                Some(part) => changes.extend(self.fold(source, at, &part, false)),
                // Always wanted, and at rest without a parent.
                None => self.states.entry(source).or_default().up = None,
            }
        }
        changes
    }

    /// What handshakes showed is told in every look: only one that was made since is a success, or
    /// an error.
    fn fold_handshakes(
        &mut self,
        at: Moment,
        served: &Part<Arc<ServedCertificates>>,
        drift: &DriftSample,
    ) -> Option<WitnessChange> {
        let state = self.states.entry(Source::TlsProbe).or_default();
        let (last_success, errors) = (state.last_success, state.errors.clone());
        let change = self.fold(Source::TlsProbe, at, served, false);
        let latest = drift.handshakes.map(|it| it.latest);
        let is_new = latest.is_some() && latest != self.probed;
        self.probed = latest;
        let state = self.states.entry(Source::TlsProbe).or_default();
        state.last_success = drift.handshakes.and_then(|it| it.succeeded).or(last_success);
        if !is_new {
            state.errors = errors;
        }
        change
    }

    /// That the kernel does not tell of changes is an error of a source that answers: once.
    fn notice_polling(&mut self, drift: &DriftSample) {
        let files = drift.files.as_ref().and_then(Part::seen);
        let polled = files.and_then(|files| files.polled);
        if let Some(why) = polled.filter(|_| self.polled != polled) {
            let state = self.states.entry(Source::Files).or_default();
            *state.errors.entry(why).or_default() += 1;
        }
        self.polled = polled;
    }

    /// Nothing is wanted of it now.
    fn rests(&mut self, source: Source) {
        if let Some(state) = self.states.get_mut(&source) {
            state.up = None;
        }
    }

    fn fold<T>(
        &mut self,
        source: Source,
        at: Moment,
        part: &Part<T>,
        excused: bool,
    ) -> Option<WitnessChange> {
        let state = self.states.entry(source).or_default();
        let before = (state.up, state.why);
        match part {
            Part::Seen(_) => {
                state.up = Some(true);
                state.why = None;
                state.last_success = Some(at);
            }
            Part::Unseen(Why::Missing | Why::Invalid) if excused => {}
            Part::Unseen(why) => {
                state.up = Some(false);
                state.why = Some(*why);
                *state.errors.entry(*why).or_default() += 1;
            }
        }
        let answers_as_expected = before.0.is_none() && state.up == Some(true);
        let changed = before != (state.up, state.why) && !answers_as_expected;
        changed.then_some(WitnessChange { source, why: state.why })
    }
}

fn has_children(parent: &ParentSighting) -> bool {
    let children = parent.processes.seen().map(|table| table.children.values());
    children
        .into_iter()
        .flatten()
        .any(|child| child.role == ChildRole::Httpd && child.state != ProcessState::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::tls::Handshakes,
        track::fixture::{Story, after},
    };

    fn probe(story: &Story) -> WitnessState {
        story.tracker.assessment().sources[&Source::TlsProbe].clone()
    }

    #[test]
    fn what_a_handshake_showed_is_no_success_of_the_looks_after_it() {
        let mut story = Story::of_a_running_httpd();
        story.drift.served = Some(Part::Seen(Arc::default()));
        story.drift.handshakes =
            Some(Handshakes { latest: after(2500), succeeded: Some(after(2500)) });
        for at in [3000, 4000, 5000] {
            story.look(at);
            let state = probe(&story);
            assert_eq!((state.up, state.last_success), (Some(true), Some(after(2500))));
        }
        story.drift.served = Some(Part::Unseen(Why::Timeout));
        for (latest, count) in [(5500, 1), (5500, 1), (6500, 2), (6500, 2)] {
            let succeeded = Some(after(2500));
            story.drift.handshakes = Some(Handshakes { latest: after(latest), succeeded });
            story.look(7000);
            let state = probe(&story);
            assert_eq!((state.up, state.last_success), (Some(false), Some(after(2500))));
            assert_eq!(state.errors, [(Why::Timeout, count)].into());
        }
    }
}
