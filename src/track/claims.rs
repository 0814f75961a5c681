//! Lifecycle lines of the error log, each confirmed by a better witness or a contradiction.
//!
//! Anything that runs in a child may write a perfect line. So a line never changes what is believed
//! of the server: it is compared with what the other witnesses tell, for two seconds.

use std::{collections::VecDeque, time::Duration};

use crate::model::{
    event::{Contradiction, Event},
    log::{Claim, Lifecycle},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// How far a line may lie from what confirms it.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
/// Claims that wait; of a flood of them the others are decided at once.
const MOST_OPEN: usize = 128;
/// More than happens to a server while a claim waits.
const MOST_HAPPENINGS: usize = 128;

/// What another witness told: a claim that lies about there is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Happening {
    kind: Kind,
    from: Moment,
    until: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The parent restarted, or failed to.
    Restart,
    /// A parent was found, or its pid file was written.
    Start,
    /// The parent ended, or its pid file was removed.
    Stop,
    /// A child left, and nothing else tells of restarts yet: a hard restart may wait for others.
    Dismissal,
}

/// Compares what the log claims with what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimTracker {
    open: Vec<Claim>,
    happened: VecDeque<Happening>,
}

impl ClaimTracker {
    /// When the oldest open claim becomes a contradiction.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.open.iter().map(|claim| claim.before.after(CONFIRMED_WITHIN)).min()
    }

    /// Folds what a look saw happen, whatever the log says.
    pub(super) fn notice(&mut self, at: Moment, traces: &[Trace], events: &[Event]) {
        for trace in traces {
            match trace.kind {
                TraceKind::PidFileWritten => self.happens(Kind::Start, trace.at, trace.at),
                TraceKind::PidFileRemoved => self.happens(Kind::Stop, trace.at, trace.at),
                TraceKind::ConfigOpened
                | TraceKind::Exited(_)
                | TraceKind::Reaped(_)
                | TraceKind::Lingers(_) => {}
            }
        }
        for event in events {
            match event {
                Event::ParentAppeared { started, .. } => self.happens(Kind::Start, *started, at),
                Event::Restarted { began, .. } | Event::RestartFailed { began, .. } => {
                    self.happens(Kind::Restart, *began, at);
                }
                Event::Stopped { at: ended, .. } => self.happens(Kind::Stop, *ended, *ended),
                Event::RestartBegan { .. }
                | Event::RestartHung { .. }
                | Event::PromptBegan { .. }
                | Event::PromptEnded { .. }
                | Event::ChildCrashed { .. }
                | Event::Exhausted { .. }
                | Event::ServedAgain { .. }
                | Event::DrainBegan { .. }
                | Event::DrainEnded { .. }
                | Event::ChildDrained { .. }
                | Event::ChildrenStarted { .. }
                | Event::ChildExited { .. }
                | Event::Overlapped { .. }
                | Event::Owed { .. }
                | Event::Paid { .. }
                | Event::LogRead(_)
                | Event::Contradicted(_) => {}
            }
        }
    }

    /// The parent ended; why may be known later. If its configuration was `opened` just before, it
    /// was perhaps a restart's signal that it took.
    pub(super) fn parent_ended(&mut self, at: Moment, opened: Option<Moment>) {
        self.happens(Kind::Stop, at, at);
        if let Some(opened) = opened {
            self.happens(Kind::Restart, opened, at);
        }
    }

    /// Children left a parent whose scoreboard is closed.
    pub(super) fn children_left(&mut self, traces: &[Trace]) {
        let mut exits = traces.iter().filter(|it| matches!(it.kind, TraceKind::Exited(_)));
        if let Some(first) = exits.next() {
            self.happens(Kind::Dismissal, first.at, first.at);
        }
    }

    /// A restart is in progress at this look.
    pub(super) fn restarting(&mut self, began: Moment, at: Moment) {
        let same = |it: &&mut Happening| it.kind == Kind::Restart && it.from == began;
        match self.happened.iter_mut().find(same) {
            Some(known) => known.until = at,
            None => self.happens(Kind::Restart, began, at),
        }
    }

    /// Takes what the log claims; what nothing confirmed in time is a contradiction.
    pub(super) fn observe(&mut self, at: Moment, claims: &[Claim]) -> Vec<Event> {
        self.open.extend(claims.iter().copied());
        let happened = &self.happened;
        self.open.retain(|claim| !happened.iter().any(|it| it.confirms(claim)));
        let superfluous = self.open.len().saturating_sub(MOST_OPEN);
        let mut false_ones: Vec<Claim> = self.open.drain(..superfluous).collect();
        self.open.retain(|claim| {
            let waits = at < claim.before.after(CONFIRMED_WITHIN);
            if !waits {
                false_ones.push(*claim);
            }
            waits
        });
        let contradiction = Event::Contradicted(Contradiction::UnconfirmedLine);
        vec![contradiction; false_ones.len()]
    }

    /// Nobody can confirm anything now, so that nothing contradicts.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn happens(&mut self, kind: Kind, from: Moment, until: Moment) {
        if self.happened.len() >= MOST_HAPPENINGS {
            self.happened.pop_front();
        }
        self.happened.push_back(Happening { kind, from, until });
    }
}

impl Happening {
    fn confirms(&self, claim: &Claim) -> bool {
        let told = match claim.says {
            Lifecycle::Resumed => matches!(self.kind, Kind::Restart | Kind::Start),
            Lifecycle::Graceful | Lifecycle::Hard => {
                matches!(self.kind, Kind::Restart | Kind::Dismissal)
            }
            Lifecycle::Stopped | Lifecycle::GracefulStop => self.kind == Kind::Stop,
        };
        // The line was written between these two moments.
        let late = self.from > claim.before.after(CONFIRMED_WITHIN);
        let early = self.until.after(CONFIRMED_WITHIN) < claim.after;
        told && !late && !early
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{event::RestartType, log::Lifecycle, process::ExitStatus},
        track::fixture::{Story, after, process},
    };

    fn claim(says: Lifecycle, at: u64) -> Claim {
        Claim { says, pid: None, after: after(at - 10), before: after(at) }
    }

    fn restarted(began: u64) -> Event {
        Event::Restarted {
            kind: RestartType::Unknown,
            began: after(began),
            took: None,
            left: None,
            coalesced: false,
            interrupted: 0,
        }
    }

    /// A restart that ends its parent at once, and what the log says of it.
    fn contradictions_of_a_failed_restart(status: Option<ExitStatus>) -> u64 {
        let mut story = Story::of_a_running_httpd();
        story.look(3000);
        story.trace(5001, TraceKind::ConfigOpened);
        story.ended(process(1, 0), 5002, status);
        story.parent = None;
        story.children.clear();
        story.claims = vec![claim(Lifecycle::Graceful, 5001)];
        for at in [5003, 6000, 7001, 8000, 9000] {
            story.look(at);
        }
        story.tally.contradictions
    }

    #[test]
    fn a_failed_restart_confirms_its_line_though_nobody_tells_how_the_parent_ended() {
        assert_eq!(contradictions_of_a_failed_restart(Some(ExitStatus::Code(1))), 0);
        assert_eq!(contradictions_of_a_failed_restart(None), 0, "before Linux 6.15");
    }

    #[test]
    fn a_line_that_nothing_confirms_is_one_contradiction() {
        let mut claims = ClaimTracker::default();
        assert_eq!(claims.observe(after(5000), &[claim(Lifecycle::Graceful, 5000)]), []);
        assert_eq!(claims.next_deadline(), Some(after(7000)));
        assert_eq!(claims.observe(after(6999), &[]), []);
        let contradiction = Event::Contradicted(Contradiction::UnconfirmedLine);
        assert_eq!(claims.observe(after(7000), &[]), [contradiction]);
        assert_eq!(claims.observe(after(9000), &[]), []);
        assert_eq!(claims.next_deadline(), None);
    }

    #[test]
    fn a_restart_confirms_its_lines_whichever_was_seen_first() {
        let mut claims = ClaimTracker::default();
        claims.observe(after(5000), &[claim(Lifecycle::Hard, 5000)]);
        claims.notice(after(6000), &[], &[restarted(4990)]);
        assert_eq!(claims.observe(after(6000), &[]), []);
        assert_eq!(claims.next_deadline(), None);
        let both = [claim(Lifecycle::Hard, 6100), claim(Lifecycle::Resumed, 6100)];
        assert_eq!(claims.observe(after(7000), &both), []);
        assert_eq!(claims.next_deadline(), None);
        claims.observe(after(9000), &[claim(Lifecycle::Resumed, 9000)]);
        assert_eq!(claims.observe(after(11_000), &[]).len(), 1, "long after it");
    }

    #[test]
    fn a_line_that_was_read_late_is_as_old_as_it_may_be() {
        let mut claims = ClaimTracker::default();
        claims.notice(after(5100), &[], &[restarted(5000)]);
        let late = Claim { after: after(4000), ..claim(Lifecycle::Graceful, 60_000) };
        assert_eq!(claims.observe(after(60_000), &[late]), []);
        assert_eq!(claims.next_deadline(), None);
    }

    #[test]
    fn a_restart_in_progress_confirms_until_it_is_over() {
        let mut claims = ClaimTracker::default();
        for at in 1..20 {
            claims.restarting(after(1000), after(at * 1000));
        }
        assert_eq!(claims.happened.len(), 1);
        claims.observe(after(19_000), &[claim(Lifecycle::Hard, 19_000)]);
        assert_eq!(claims.next_deadline(), None);
    }

    #[test]
    fn a_stop_confirms_no_restart() {
        let mut claims = ClaimTracker::default();
        claims.parent_ended(after(5000), None);
        let both = [claim(Lifecycle::Stopped, 5000), claim(Lifecycle::Graceful, 5000)];
        claims.observe(after(5000), &both);
        assert_eq!(claims.observe(after(7000), &[]).len(), 1);
    }

    #[test]
    fn a_flood_of_claims_is_decided_at_once() {
        let mut claims = ClaimTracker::default();
        let flood = vec![claim(Lifecycle::Graceful, 5000); 1000];
        assert_eq!(claims.observe(after(5000), &flood).len(), 1000 - MOST_OPEN);
        assert_eq!(claims.observe(after(7000), &[]).len(), MOST_OPEN);
    }
}
