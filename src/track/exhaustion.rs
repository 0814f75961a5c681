//! Limits that httpd ran into: told once, until there was room again.
//!
//! ```text
//!              the slots show it, for three seconds; or httpd says so
//!   enough ───────────────────────────────────────────────────────────▶ reached
//!      ▲                                                                   │
//!      └───────────────────────────────────────────────────────────────────┘
//!        the slots have shown room for five seconds; what they do not tell: no line for a minute
//! ```
//!
//! A line alone is enough to tell of it, which changes nothing that is believed: httpd says "server
//! reached `MaxRequestWorkers`" once in a parent's life, of whatever comes later only slots tell.

use std::{collections::BTreeMap, time::Duration};

use super::{
    assessment::Age,
    board::{Board, SlotUse, WorkerState},
};
use crate::model::{
    event::Event,
    exhaustion::{Exhaustion, SILENT_FOR},
    log::{LogCode, LogReport},
    time::Moment,
};

/// httpd looks after its children once a second, and then has new ones within another.
const SHORT_FOR: Duration = Duration::from_secs(3);
/// Who is at its limit gets there again and again: that is one time.
const ROOM_FOR: Duration = Duration::from_secs(5);

/// What one look tells of limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// When.
    pub at: Moment,
    /// What the slots tell, while the parent runs normally.
    pub board: Option<&'a Board>,
    /// What came into the log.
    pub report: Option<&'a LogReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The slots have shown it since then.
    Suspected(Moment),
    /// It was told; when there was evidence last.
    Reached(Moment),
}

/// Follows the limits of one parent.
#[derive(Clone, Debug, Default)]
pub struct ExhaustionTracker {
    states: BTreeMap<Exhaustion, State>,
    /// How many workers there were when httpd said that it may have no more.
    most_workers: Option<u32>,
}

impl ExhaustionTracker {
    /// Folds one look.
    pub fn observe(&mut self, limits: &Limits<'_>) -> Vec<Event> {
        let said = limits.report.map(said).unwrap_or_default();
        if let Some(board) = limits.board.filter(|_| said.contains(&Exhaustion::MaxRequestWorkers))
        {
            self.most_workers = Some(current_workers(board)).filter(|count| *count > 0);
        }
        let short = limits.board.and_then(|board| shortage(board, self.most_workers));
        let mut events = Vec::new();
        for what in Exhaustion::ALL {
            // prefork has the same words for slots that old children hold.
            let other =
                *what == Exhaustion::MaxRequestWorkers && short == Some(Exhaustion::Scoreboard);
            let told = said.contains(what) && !other;
            let state = self.states.get(what).copied();
            let next = next(*what, state, limits, told, short == Some(*what));
            if let Some(State::Reached(_)) = next
                && !matches!(state, Some(State::Reached(_)))
            {
                let since = state.map_or(limits.at, State::moment);
                events.push(Event::Exhausted { at: since, what: *what });
            }
            match next {
                Some(next) => self.states.insert(*what, next),
                None => self.states.remove(what),
            };
        }
        events
    }

    /// When what the slots show has lasted long enough.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let due = self.states.values().filter_map(|state| match state {
            State::Suspected(since) => Some(since.after(SHORT_FOR)),
            State::Reached(_) => None,
        });
        due.min()
    }
}

impl State {
    const fn moment(self) -> Moment {
        match self {
            Self::Suspected(moment) | Self::Reached(moment) => moment,
        }
    }
}

fn next(
    what: Exhaustion,
    state: Option<State>,
    limits: &Limits<'_>,
    told: bool,
    short: bool,
) -> Option<State> {
    let at = limits.at;
    let by_slots = limits.board.is_some() && is_told_by_slots(what);
    let patience = if by_slots { ROOM_FOR } else { SILENT_FOR };
    match state {
        _ if told => Some(State::Reached(at)),
        None if short => Some(State::Suspected(at)),
        Some(State::Suspected(since)) if short && at.since(since) >= SHORT_FOR => {
            Some(State::Reached(at))
        }
        Some(State::Suspected(since)) if short => Some(State::Suspected(since)),
        Some(State::Reached(_)) if short => Some(State::Reached(at)),
        Some(State::Reached(last)) if at.since(last) < patience => Some(State::Reached(last)),
        None | Some(State::Suspected(_) | State::Reached(_)) => None,
    }
}

/// Room for workers says nothing of room for anything else.
const fn is_told_by_slots(what: Exhaustion) -> bool {
    match what {
        Exhaustion::MaxRequestWorkers | Exhaustion::Scoreboard => true,
        Exhaustion::Fork | Exhaustion::Fds | Exhaustion::Semaphores | Exhaustion::Address => false,
    }
}

/// What httpd says that it ran into.
fn said(report: &LogReport) -> Vec<Exhaustion> {
    let by_code = report.events.iter().filter_map(|(code, _)| of_code(*code));
    let by_words = report.sayings.iter().filter_map(|saying| of_words(&saying.text));
    by_code.chain(by_words).collect()
}

// event, worker, prefork.
#[expect(clippy::wildcard_enum_match_arm, reason = "most codes tell of no limit")]
const fn of_code(code: LogCode) -> Option<Exhaustion> {
    Some(match code {
        LogCode::Ah00484 | LogCode::Ah00286 | LogCode::Ah00161 => Exhaustion::MaxRequestWorkers,
        LogCode::Ah03490 | LogCode::Ah00288 => Exhaustion::Scoreboard,
        LogCode::Ah00481 | LogCode::Ah00283 | LogCode::Ah00159 => Exhaustion::Fork,
        LogCode::Ah02179 => Exhaustion::Fds,
        LogCode::Ah00072 => Exhaustion::Address,
        _ => return None,
    })
}

/// The system's error, before the code or, of a module that cannot be loaded, in the words.
fn of_words(text: &str) -> Option<Exhaustion> {
    if text.contains("AH00023") && text.starts_with("(28)") {
        return Some(Exhaustion::Semaphores);
    }
    let fds = text.starts_with("(24)") || text.contains(": Too many open files");
    fds.then_some(Exhaustion::Fds)
}

/// What there is not enough of, if no worker of the running generation is free.
fn shortage(board: &Board, most_workers: Option<u32>) -> Option<Exhaustion> {
    let of = |state| board.workers.get(&(Age::Current, state)).copied().unwrap_or(0);
    if of(WorkerState::Ready) + of(WorkerState::Starting) > 0 {
        return None;
    }
    let SlotUse { current, old, free, dead } = board.slots;
    let full = free + dead == 0;
    if full && old > 0 {
        return Some(Exhaustion::Scoreboard);
    }
    let most = most_workers.is_some_and(|most| current_workers(board) >= most);
    (current > 0 && (full || most)).then_some(Exhaustion::MaxRequestWorkers)
}

fn current_workers(board: &Board) -> u32 {
    let current = board.workers.iter().filter(|((age, _), _)| *age == Age::Current);
    current.map(|(_, count)| *count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::fixture::after;

    fn board(ready: u32, sending: u32, slots: SlotUse) -> Board {
        let workers = [(WorkerState::Ready, ready), (WorkerState::Sending, sending)];
        let workers = workers.into_iter().filter(|(_, count)| *count > 0);
        let workers = workers.map(|(state, count)| ((Age::Current, state), count)).collect();
        Board { workers, slots, ..Board::default() }
    }

    fn says(code: LogCode) -> LogReport {
        LogReport { events: vec![(code, 1)], ..LogReport::default() }
    }

    /// What is told of looks in seconds: each shows a board, or says something.
    struct Told(ExhaustionTracker);

    impl Told {
        fn look(
            &mut self,
            second: u64,
            board: Option<&Board>,
            report: Option<&LogReport>,
        ) -> Vec<(u64, Exhaustion)> {
            let at = after(second * 1000);
            let events = self.0.observe(&Limits { at, board, report });
            let told = events.into_iter().map(|event| {
                let Event::Exhausted { at, what } = event else { panic!("{event:?}") };
                (at.since(after(0)).as_secs(), what)
            });
            told.collect()
        }
    }

    const FULL: SlotUse = SlotUse { current: 4, old: 0, free: 0, dead: 0 };
    const ROOMY: SlotUse = SlotUse { current: 4, old: 0, free: 4, dead: 0 };

    #[test]
    fn slots_tell_of_a_limit_that_lasts_once_until_there_was_room() {
        let mut told = Told(ExhaustionTracker::default());
        let (busy, idle) = (board(0, 20, FULL), board(1, 19, FULL));
        assert_eq!(told.look(1, Some(&busy), None), []);
        assert_eq!(told.0.next_deadline(), Some(after(4000)));
        assert_eq!(told.look(2, Some(&idle), None), [], "a moment is none");
        assert_eq!(told.look(3, Some(&busy), None), []);
        let reached = Exhaustion::MaxRequestWorkers;
        assert_eq!(told.look(6, Some(&busy), None), [(3, reached)]);
        assert_eq!(told.look(7, Some(&idle), None), []);
        assert_eq!(told.look(8, Some(&busy), None), [], "it was gone for a moment only");
        assert_eq!(told.look(14, Some(&idle), None), [], "and now for good");
        assert_eq!(told.look(15, Some(&busy), None), []);
        assert_eq!(told.look(18, Some(&busy), None), [(15, reached)]);
    }

    #[test]
    fn what_httpd_says_once_in_its_life_teaches_its_limit() {
        let mut told = Told(ExhaustionTracker::default());
        let (busy, idle) = (board(0, 20, ROOMY), board(1, 19, ROOMY));
        assert_eq!(told.look(1, Some(&busy), None), [], "it may have more");
        assert_eq!(told.look(5, Some(&busy), None), []);
        let (line, reached) = (says(LogCode::Ah00484), Exhaustion::MaxRequestWorkers);
        assert_eq!(told.look(6, Some(&busy), Some(&line)), [(6, reached)]);
        assert_eq!(told.look(20, Some(&idle), None), []);
        assert_eq!(told.look(30, Some(&busy), None), []);
        assert_eq!(told.look(33, Some(&busy), None), [(30, reached)]);
    }

    #[test]
    fn slots_that_old_children_hold_are_the_scoreboard_whatever_prefork_calls_it() {
        let mut told = Told(ExhaustionTracker::default());
        let held = board(0, 0, SlotUse { current: 0, old: 8, free: 0, dead: 0 });
        let line = says(LogCode::Ah00161);
        assert_eq!(told.look(1, Some(&held), Some(&line)), []);
        assert_eq!(told.look(4, Some(&held), None), [(1, Exhaustion::Scoreboard)]);
    }

    #[test]
    fn without_slots_a_minute_of_silence_ends_it() {
        let mut told = Told(ExhaustionTracker::default());
        let line = says(LogCode::Ah00481);
        assert_eq!(told.look(1, None, Some(&line)), [(1, Exhaustion::Fork)]);
        for second in [11, 21, 31, 41, 90] {
            assert_eq!(told.look(second, None, Some(&line)), []);
        }
        assert_eq!(told.look(151, None, None), []);
        assert_eq!(told.look(152, None, Some(&line)), [(152, Exhaustion::Fork)]);
    }

    #[test]
    fn a_fork_that_goes_on_failing_is_told_once_where_slots_are_read_too() {
        let mut told = Told(ExhaustionTracker::default());
        let (line, idle) = (says(LogCode::Ah00481), board(5, 15, ROOMY));
        assert_eq!(told.look(1, Some(&idle), Some(&line)), [(1, Exhaustion::Fork)]);
        for second in 2..62 {
            let report = (second % 10 == 1).then_some(&line);
            assert_eq!(told.look(second, Some(&idle), report), []);
        }
    }

    #[test]
    fn words_tell_of_descriptors_and_semaphores() {
        for (text, what) in [
            (
                "(28)No space left on device: AH00023: Couldn't create the mutex",
                Exhaustion::Semaphores,
            ),
            (
                "apache2: Syntax error on line 8: Cannot load x.so: Too many open files",
                Exhaustion::Fds,
            ),
        ] {
            assert_eq!(of_words(text), Some(what));
        }
        assert_eq!(of_words("(13)Permission denied: AH00023: Couldn't create"), None);
    }
}
