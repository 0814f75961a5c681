//! Restarts: seen, counted, typed and timed.
//!
//! ```text
//!              signal taken: generation moved, or the parent reads its configuration
//!   Settled ───────────────────────────────────────────────────────────────▶ Restarting
//!      ▲                                                                         │
//!      └─────────────────────────────────────────────────────────────────────────┘
//!        resumed: the configuration was read, and the scoreboard is the old one
//!         (graceful) or a new one (hard)
//! ```
//!
//! The generation moves with the signal, `restart_time` only at the end of a hard restart, up to
//! ten seconds later. So the type is decided when the parent has resumed, not before.

mod remember;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::remember::Absence;
pub(super) use self::remember::RestartMemory;
use super::{
    family::{self, Family},
    look::Look,
    mark::{Mark, serves},
    passage::{Milestones, Passage, completed, kinds, passages},
    unserved::UnservedTracker,
};
use crate::model::{
    event::{Contradiction, Event, RestartType},
    scoreboard::Generation,
    time::Moment,
    waiting::HelperKind,
};

/// Longer than a look may wait for its sources, and than a hard restart has no scoreboard.
const SCOREBOARD_IS_AWAITED: Duration = Duration::from_secs(5);
/// httpd forks its first children at once after it wrote its first pid file.
const STARTS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// The parent is known, and was not yet seen running normally.
    New,
    /// It runs normally.
    Settled(Mark),
    /// It took a signal and has not resumed.
    Restarting(Restarting),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Restarting {
    from: Mark,
    began: Moment,
    /// The scoreboard showed another generation, or another scoreboard.
    moved: bool,
    /// In this restart, in an earlier look, the parent was seen reading its configuration.
    reading_seen: bool,
    /// The pid file is new already: how long until the next look, if this one was too early.
    soon: Option<Moment>,
}

/// Follows the restarts of one parent.
#[derive(Clone, Debug)]
pub struct RestartTracker {
    state: State,
    /// The parent was seen to catch crashes: only then does their absence mean that it reads its
    /// configuration.
    catches_crashes: bool,
    /// And it was seen not to: so when it does, it does not read.
    shows_reading: bool,
    /// What was stamped since the last look at which all restarts were told apart.
    milestones: Milestones,
    /// The last look that saw the scoreboard.
    seen: Option<Moment>,
    /// Tells types while there is no scoreboard.
    family: Family,
    /// The restart in progress began before this parent was first seen.
    joined: bool,
    unserved: UnservedTracker,
    /// Nobody looked for a while: until it is known what happened meanwhile.
    absence: Option<Absence>,
}

impl RestartTracker {
    /// A tracker for a parent that was just identified.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::New,
            catches_crashes: false,
            shows_reading: false,
            milestones: Milestones { opened: Vec::new(), written: Vec::new() },
            seen: None,
            family: Family::new(),
            joined: false,
            unserved: UnservedTracker::new(),
            absence: None,
        }
    }

    /// Since when a restart is in progress.
    #[must_use]
    pub const fn in_progress(&self) -> Option<Moment> {
        match &self.state {
            State::New | State::Settled(_) => None,
            State::Restarting(restarting) => Some(restarting.began),
        }
    }

    /// Since when a restart is in progress for certain. A parent that stops clears its
    /// configuration as one that restarts does; only the latter moves the generation and opens
    /// the configuration.
    #[must_use]
    pub fn proven(&self) -> Option<Moment> {
        match &self.state {
            State::New | State::Settled(_) => None,
            State::Restarting(restarting) => {
                let proven = restarting.moved || !self.milestones.opened.is_empty();
                proven.then_some(restarting.began)
            }
        }
    }

    /// When another look could tell more than this one: shortly after the pid file was written,
    /// since no trace tells of the moment at which the parent has resumed.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Moment> {
        match &self.state {
            State::New | State::Settled(_) => None,
            State::Restarting(restarting) => restarting.soon,
        }
    }

    /// Folds one look at the parent.
    pub fn observe(&mut self, look: &Look<'_>) -> Vec<Event> {
        if let State::New = self.state {
            self.state = self.first_state(look);
            self.count_from_start(look);
        }
        // After that: a parent that is first seen in a restart reads its configuration.
        let reading = self.is_reading(look);
        let shown = self.shows_reading;
        self.milestones.collect(look);
        self.family.observe(look, reading);
        self.notice_blindness(look);
        let mut events = Vec::new();
        if let State::Settled(mark) = self.state {
            let witnessed = reading
                || !self.milestones.opened.is_empty()
                || self.was_rewritten_unseen(&mark, look);
            self.state = leave_settled(mark, look, reading, witnessed, &mut events);
        }
        if let State::Restarting(restarting) = &mut self.state {
            restarting.moved |= look.global().is_some_and(|it| !restarting.from.is_of(&it));
            let from = restarting.from;
            if from.has_fallen(look) {
                events.push(Event::Contradicted(Contradiction::GenerationFell));
                self.state = State::Settled(Mark::of(look));
            } else if !reading && look.global().is_some_and(|global| from.is_of(&global)) {
                // No restart after all: the scoreboard is back, and nothing in it moved.
                self.state = State::Settled(Mark::of(look));
            } else if !reading && from.has_resumed(look, restarting.reading_seen, shown) {
                let began = restarting.began;
                self.resume(&from, began, look, &mut events);
            } else {
                restarting.reading_seen |= reading;
                restarting.soon = from.look_again(look);
            }
        }
        if let State::Settled(mark) = &self.state {
            if mark.generation.is_none() {
                self.family.settle(look);
            } else {
                // What was last known is from before this look.
                self.family.begin_anew();
            }
            if look.scoreboard.is_some() || mark.generation.is_none() {
                self.milestones = Milestones::default();
            }
        }
        if self.unserved.waits() {
            events.extend(self.unserved.observe(&births(look)));
        }
        self.correct_after_absence(look, &mut events);
        events
    }

    /// A scoreboard that stays away is not waited for: from then on the pid file tells restarts,
    /// whose types are unknown.
    fn notice_blindness(&mut self, look: &Look<'_>) {
        if look.scoreboard.is_some() {
            self.seen = Some(look.at);
            match &mut self.state {
                State::New => {}
                State::Settled(mark) => mark.remember_scoreboard(),
                State::Restarting(restarting) => restarting.from.remember_scoreboard(),
            }
        }
        if self.seen.is_some_and(|seen| look.at.since(seen) < SCOREBOARD_IS_AWAITED) {
            return;
        }
        match &mut self.state {
            State::New => {}
            State::Settled(mark) => mark.forget_scoreboard(),
            State::Restarting(restarting) => restarting.from.forget_scoreboard(),
        }
    }

    /// A parent that wrote its pid file some time ago, has no child of the running generation and
    /// does not catch crashes is in the middle of a restart that began before it was seen. Where no
    /// scoreboard tells generations, it has no child at all, or it started a program since that
    /// asks for a pass phrase; in that case the pid file may be of any age.
    fn first_state(&mut self, look: &Look<'_>) -> State {
        let (Some(table), mark) = (look.table, Mark::of(look)) else { return State::New };
        let written = look.pid_file.map(|stamp| look.at.at_wall(stamp.written));
        let started = written.is_some_and(|written| look.at.since(written) > STARTS_WITHIN);
        let asks = written.is_some_and(|written| asks_since(written, look));
        let lives = || family::living(table).next().is_some() && !asks;
        let served = look.global().map_or_else(lives, |global| serves(look, &global));
        if table.catches_crashes || served || !(started || asks) {
            return State::Settled(mark);
        }
        self.catches_crashes = true;
        self.joined = true;
        let mut from = mark;
        // The scoreboard shows the new generation from the signal on.
        from.generation = from.generation.map(|seen| Generation::new(seen.number() - 1));
        State::Restarting(Restarting::new(from, look.at, true))
    }

    /// Nobody saw how the first of the restarts that are over began: how long it took is not told.
    fn is_older_than_seen(&self, kind: RestartType, look: &Look<'_>) -> bool {
        let laddered = look.global().is_none() && kind == RestartType::Unknown;
        self.joined || laddered && self.family.has_dwindled()
    }

    /// Between the clearing of its old configuration and the end of reading the new one, the
    /// parent does not catch crashes.
    fn is_reading(&mut self, look: &Look<'_>) -> bool {
        let Some(table) = look.table else {
            return false;
        };
        self.catches_crashes |= table.catches_crashes;
        let reading = self.catches_crashes && !table.catches_crashes;
        self.shows_reading |= reading;
        reading
    }

    fn resume(&mut self, from: &Mark, began: Moment, look: &Look<'_>, events: &mut Vec<Event>) {
        let milestones = &self.milestones;
        let served = look.global().is_some_and(|global| serves(look, &global));
        let count = completed(from, milestones, look, served);
        let mut passages = passages(from, count, began, milestones, look);
        let kinds = kinds(from, &passages, &self.family, look);
        if let (Some(first), Some(RestartType::Hard)) = (passages.first_mut(), kinds.first())
            && let Some(dismissed) = self.family.dismissed().filter(|_| look.global().is_none())
        {
            first.began = first.began.min(dismissed);
        }
        for (index, (passage, kind)) in (0_u32..).zip(passages.iter().zip(&kinds)) {
            let witnessed = index > 0 || !self.is_older_than_seen(*kind, look);
            let resumed = passage.resumed.filter(|_| witnessed);
            events.push(Event::Restarted {
                kind: *kind,
                began: passage.began,
                took: resumed.map(|resumed| resumed.since(passage.began)),
                left: from.generation.map(|generation| generation.advanced_by(index)),
                coalesced: index > 0,
                interrupted: if *kind == RestartType::Hard { from.busy } else { 0 },
            });
            if let Some(left) = from.generation.filter(|_| witnessed) {
                let Passage { began, resumed } = *passage;
                self.unserved.restarted(*kind, began, resumed, left.advanced_by(index + 1));
            }
        }
        self.joined = false;
        self.family.begin_anew();
        let mark = mark_after(from, count, look);
        let left_over = mark.generation < look.global().map(|it| it.running_generation);
        let last = self.milestones.forget_completed();
        self.state = State::Settled(mark);
        if left_over {
            // One more signal was taken before this look.
            let began = last.unwrap_or(look.at);
            events.push(Event::RestartBegan { at: began });
            self.state = State::Restarting(Restarting::new(mark, began, false));
        }
    }
}

/// The generation and birth of every living child.
fn births(look: &Look<'_>) -> Vec<(Generation, Moment)> {
    let births = look.slots().iter().filter_map(|slot| {
        let child = look.table?.living(slot.pid)?;
        Some((slot.generation, look.at.at_uptime(child.id.started)))
    });
    births.collect()
}

/// A program that asks for a pass phrase was started after that.
fn asks_since(written: Moment, look: &Look<'_>) -> bool {
    let helpers = look.table.map(|table| table.waiting.helpers.as_slice()).unwrap_or_default();
    let mut askers = helpers.iter().filter(|helper| helper.kind == HelperKind::Asker);
    askers.any(|asker| look.at.at_uptime(asker.id.started) > written)
}

impl Restarting {
    const fn new(from: Mark, began: Moment, reading_seen: bool) -> Self {
        Self { from, began, moved: false, reading_seen, soon: None }
    }
}

impl Default for RestartTracker {
    fn default() -> Self {
        Self::new()
    }
}

/// The generation decides; while there is no scoreboard to read, the reading of a configuration.
/// For a parent that does not show its scoreboard it is the pid file, if it was `witnessed` that
/// its configuration was read, a child left, or another file took its place: anybody may touch one.
fn leave_settled(
    from: Mark,
    look: &Look<'_>,
    reading: bool,
    witnessed: bool,
    events: &mut Vec<Event>,
) -> State {
    let rewritten = from.had_pid_file() && from.is_rewritten(look);
    let witnessed = witnessed || look.exits() || from.is_replaced(look);
    let told = from.generation.is_none() && rewritten && witnessed;
    let Some(global) = look.global() else {
        if reading || told {
            return begin(from, look, reading, events);
        }
        if from.generation.is_none() {
            return State::Settled(Mark::unseen_since(&from, 0, look));
        }
        return State::Settled(from.still_true(look.at));
    };
    let Some(generation) = from.generation else {
        // The first scoreboard of this parent: nothing to compare it with.
        return if told {
            begin(from, look, reading, events)
        } else {
            State::Settled(Mark::of(look))
        };
    };
    if from.has_fallen(look) {
        events.push(Event::Contradicted(Contradiction::GenerationFell));
        return State::Settled(Mark::of(look));
    }
    let kept = from.restart_time.is_none_or(|before| before == global.restart_time);
    if kept && global.running_generation <= generation {
        return State::Settled(Mark::of(look));
    }
    begin(from, look, reading, events)
}

fn begin(from: Mark, look: &Look<'_>, reading: bool, events: &mut Vec<Event>) -> State {
    let began = from.first_trace(look);
    events.push(Event::RestartBegan { at: began });
    State::Restarting(Restarting::new(from, began, reading))
}

/// What is true once `count` restarts are behind the parent.
fn mark_after(from: &Mark, count: u32, look: &Look<'_>) -> Mark {
    let seen = Mark::of(look);
    if seen.generation.is_none() {
        return Mark::unseen_since(from, count, look);
    }
    let reached = from.generation.map(|generation| generation.advanced_by(count));
    let generation = reached.min(seen.generation).or(seen.generation);
    let all = generation == seen.generation;
    // A new scoreboard may be the next restart's already: its type will not be told.
    let told = all || from.restart_time == seen.restart_time;
    Mark {
        generation,
        restart_time: seen.restart_time.filter(|_| told),
        pid_file_is_fresh: from.is_rewritten(look),
        ..seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            event::DrainOutcome, process::ExitStatus, snapshot::TraceKind, source::Why,
            waiting::Helper,
        },
        track::{
            fixture::{Story, after, process},
            server::ServerTracker,
        },
    };

    const LEFT: ExitStatus = ExitStatus::Code(0);

    fn restarted(events: &[Event]) -> Vec<(RestartType, Moment, Option<u128>, bool)> {
        let mut restarts = Vec::new();
        for event in events {
            if let Event::Restarted { kind, began, took, coalesced, .. } = event {
                restarts.push((*kind, *began, took.map(|took| took.as_millis()), *coalesced));
            }
        }
        restarts
    }

    #[test]
    fn a_graceful_restart_between_two_looks_is_timed_by_its_traces() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.exit(11, 2502, LEFT);
        story.reads_configuration(2503, 2507);
        story.children.push((13, 2509, 1));
        let events = story.look(2540);
        let graceful = (RestartType::Graceful, after(2502), Some(5), false);
        assert_eq!(restarted(&events), [graceful]);
        let unserved = Duration::from_millis(7);
        assert!(events.contains(&Event::ServedAgain { kind: RestartType::Graceful, unserved }));
        assert_eq!(story.look(3540), [Event::Overlapped { lasted: Duration::from_secs(1) }]);
    }

    #[test]
    fn the_generation_moves_first_and_tells_no_type_yet() {
        let mut story = Story::of_a_running_httpd();
        story.busy = 3;
        story.look(2400);
        story.generation = 1;
        story.exit(11, 2501, LEFT);
        assert_eq!(restarted(&story.look(2502)), []);
        assert_eq!(story.tracker.assessment().restart_since, Some(after(2501)));
        // The ladder: 10 s later the last child is killed, and only then the configuration read.
        story.look(3502);
        story.exit(12, 12_500, ExitStatus::Signal(9));
        story.look(12_500);
        story.reads_configuration(12_502, 12_510);
        story.scoreboard = Some(12_511);
        story.children = vec![(13, 12_511, 1)];
        let hard = (RestartType::Hard, after(2501), Some(10_010), false);
        assert_eq!(restarted(&story.look(12_515)), [hard]);
        assert_eq!(story.tally.interrupted_requests, 6, "three of each child");
        assert_eq!(story.tracker.assessment().restart_since, None);
    }

    #[test]
    fn an_old_scoreboard_beside_a_new_pid_file_is_no_graceful_restart_yet() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.children.clear();
        story.catches_crashes = false;
        story.reads_configuration(2503, 2507);
        assert_eq!(restarted(&story.look(2508)), []);
        let soon = story.tracker.next_deadline().unwrap();
        assert!(soon <= after(2508 + 1000), "nothing else will tell of the resuming");
        story.catches_crashes = true;
        story.scoreboard = Some(2508);
        assert_eq!(restarted(&story.look(2530)).len(), 1);
        assert_eq!(story.tally.restarts[&RestartType::Hard], 1);
    }

    #[test]
    fn of_several_restarts_in_one_look_each_is_counted() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 3;
        for start in [2500, 2520, 2540] {
            story.reads_configuration(start, start + 4);
        }
        story.children.push((13, 2550, 3));
        let events = story.look(2600);
        let graceful = |at, coalesced| (RestartType::Graceful, after(at), Some(4), coalesced);
        let expected = [graceful(2500, false), graceful(2520, true), graceful(2540, true)];
        assert_eq!(restarted(&events), expected);
        assert_eq!(story.tally.coalesced, 2);
        let unserved = &story.tally.unserved[&RestartType::Graceful];
        assert_eq!((unserved.count(), unserved.sum()), (3, Duration::from_millis(90)));
    }

    #[test]
    fn what_a_new_scoreboard_hides_is_unknown() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 3;
        for start in [2500, 2520, 2540] {
            story.reads_configuration(start, start + 4);
        }
        story.scoreboard = Some(2545);
        story.children = vec![(13, 2550, 3)];
        let kinds: Vec<_> = restarted(&story.look(2600)).iter().map(|it| it.0).collect();
        assert_eq!(kinds, [RestartType::Unknown, RestartType::Unknown, RestartType::Hard]);
    }

    #[test]
    fn what_comes_after_the_scoreboard_is_known() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 2;
        story.reads_configuration(2500, 2504);
        story.scoreboard = Some(2505);
        story.reads_configuration(2520, 2524);
        story.children = vec![(13, 2550, 2)];
        let kinds: Vec<_> = restarted(&story.look(2600)).iter().map(|it| it.0).collect();
        assert_eq!(kinds, [RestartType::Hard, RestartType::Graceful]);
    }

    #[test]
    fn a_hang_is_in_progress_until_it_is_hung() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.catches_crashes = false;
        story.trace(2503, TraceKind::ConfigOpened);
        story.look(2503);
        assert_eq!(story.tracker.next_deadline(), Some(after(2803)), "a dialog");
        story.look(62_502);
        assert!(!story.tracker.assessment().restart_hung);
        assert_eq!(story.tracker.next_deadline(), Some(after(62_503)));
        story.look(62_503);
        assert!(story.tracker.assessment().restart_hung);
        story.catches_crashes = true;
        story.trace(70_000, TraceKind::PidFileWritten);
        story.pid_file = 70_000;
        story.children.push((13, 70_001, 1));
        let graceful = (RestartType::Graceful, after(2503), Some(67_497), false);
        assert_eq!(restarted(&story.look(70_010)), [graceful]);
        assert!(!story.tracker.assessment().restart_hung);
    }

    /// A parent that reads its configuration, and is first seen then by an ordinary user.
    fn first_seen_reading() -> Story {
        let mut story = Story::of_a_running_httpd();
        story.tracker = ServerTracker::new(Duration::from_secs(60));
        (story.scoreboard, story.scoreboard_unseen) = (None, Why::Permission);
        story.catches_crashes = false;
        story
    }

    fn resumes(mut story: Story) {
        assert_eq!(story.tracker.assessment().restart_since, Some(after(10_000)));
        story.helpers.clear();
        story.catches_crashes = true;
        story.reads_configuration(10_500, 20_000);
        story.children.push((13, 20_005, 1));
        let events = story.look(20_010);
        let unknown = (RestartType::Unknown, after(10_000), None, false);
        assert_eq!(restarted(&events), [unknown], "nobody saw it begin");
        let served = events.iter().any(|event| matches!(event, Event::ServedAgain { .. }));
        assert!(!served, "nor for how long nobody served");
        assert_eq!(story.tracker.assessment().restart_since, None);
    }

    #[test]
    fn an_ordinary_user_who_comes_while_all_children_are_gone_sees_a_restart() {
        let mut story = first_seen_reading();
        story.children.clear();
        story.look(10_000);
        resumes(story);
    }

    #[test]
    fn an_ordinary_user_who_comes_while_a_pass_phrase_is_asked_for_sees_a_restart() {
        let mut story = first_seen_reading();
        let kind = HelperKind::Asker;
        let dialog =
            |started| Helper { id: process(7, started), kind, command: Vec::new(), ended: false };
        story.helpers.push(dialog(5));
        story.look(9000);
        assert_eq!(story.tracker.assessment().restart_since, None, "older than the pid file");
        story.tracker = ServerTracker::new(Duration::from_secs(60));
        story.helpers = vec![dialog(9500)];
        story.look(10_000);
        resumes(story);
    }

    #[test]
    fn a_scoreboard_that_cannot_be_read_delays_and_invents_nothing() {
        let mut story = Story::of_a_running_httpd();
        story.scoreboard = None;
        story.look(2400);
        story.generation = 1;
        story.reads_configuration(2503, 2507);
        story.children.push((13, 2510, 1));
        assert_eq!(restarted(&story.look(2600)), []);
        story.scoreboard = Some(11);
        assert_eq!(restarted(&story.look(3600)).len(), 1);
        assert_eq!(story.tally.restarts[&RestartType::Graceful], 1);
    }

    #[test]
    fn a_hard_restart_that_hangs_without_a_scoreboard_is_a_hard_one() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.children.clear();
        story.look(2502);
        story.catches_crashes = false;
        story.scoreboard = None;
        for look in 3..20 {
            assert_eq!(restarted(&story.look(look * 1000)), []);
        }
        story.catches_crashes = true;
        story.reads_configuration(2503, 20_000);
        story.scoreboard = Some(20_001);
        story.children = vec![(13, 20_001, 1)];
        story.look(20_100);
        assert_eq!(story.tally.restarts[&RestartType::Hard], 1);
        assert_eq!(story.tally.restarts[&RestartType::Unknown], 0);
    }

    #[test]
    fn a_configtest_is_no_restart() {
        let mut story = Story::of_a_running_httpd();
        story.trace(2503, TraceKind::ConfigOpened);
        assert_eq!(story.look(2504), []);
        assert_eq!(story.tracker.assessment().restart_since, None);
    }

    #[test]
    fn a_generation_that_falls_is_a_contradiction_and_no_restart() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 5;
        story.reads_configuration(2503, 2507);
        story.children.push((13, 2510, 5));
        story.look(2600);
        let counted = story.tally.restarts.clone();
        story.generation = 2;
        let events = story.look(2700);
        assert!(events.contains(&Event::Contradicted(Contradiction::GenerationFell)));
        assert_eq!(story.tally.restarts, counted);
    }

    #[test]
    fn a_hard_restart_interrupts_the_drain_that_it_finds() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.reads_configuration(2503, 2507);
        story.children.push((13, 2510, 1));
        story.look(2600);
        assert_eq!(story.tracker.assessment().drains.as_ref().unwrap().len(), 1);
        story.generation = 2;
        story.exit(11, 4501, LEFT);
        story.exit(12, 4502, LEFT);
        story.look(4502);
        assert_eq!(story.tally.drains[&DrainOutcome::Drained].count(), 0, "not decided yet");
        story.exit(13, 4503, LEFT);
        story.reads_configuration(4520, 4524);
        story.scoreboard = Some(4525);
        story.children = vec![(14, 4526, 2)];
        story.look(4600);
        let interrupted = &story.tally.drains[&DrainOutcome::Interrupted];
        assert_eq!((interrupted.count(), interrupted.sum()), (1, Duration::from_millis(1998)));
        assert_eq!(story.tally.drains[&DrainOutcome::Drained].count(), 0);
    }
}
