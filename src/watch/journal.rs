//! What happened, on its way into the journal and onto the page of events; who could have done it.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::{
    expose::api,
    model::{
        event::{Event, RestartType},
        journal::Entry,
        process::Pid,
        time::Moment,
    },
    observe::onlooker::{Glance, Onlooker},
};

/// The page shows as many.
pub(super) const MOST_SHOWN: usize = 1000;
/// Anybody may open a configuration as often as he likes.
const GLANCES_APART: Duration = Duration::from_millis(250);
/// Who was seen as shortly after a restart began may have caused it.
const AFTER: Duration = Duration::from_secs(1);
/// A control program, `apache2 -k graceful`, opens the configuration itself before it signals, and
/// is gone as soon as it has: who was seen together with one as long as this before may have too.
const BEFORE: Duration = Duration::from_secs(5);
/// What control programs are called.
const CONTROLS: [&str; 2] = ["apache2", "httpd"];
/// Of glances at the process table, as many are remembered.
const MOST_GLANCES: usize = 16;
/// Who is seen as long after a restart, by the first who looks at all, had nothing to do with it.
const LONG_AFTER: Duration = Duration::from_secs(2);
/// A restart's suspects.
const MOST_SUSPECTS: usize = 8;

/// The newest lines of all servers.
#[derive(Debug, Default)]
pub(super) struct Shown {
    lines: VecDeque<(Entry, String)>,
    page: Option<Bytes>,
}

impl Shown {
    /// Takes one entry; returns its line.
    pub(super) fn take(&mut self, entry: Entry) -> Option<String> {
        let line = serde_json::to_string(&entry).ok()?;
        if self.lines.len() >= MOST_SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back((entry, line.clone()));
        self.page = None;
        Some(line)
    }

    /// `/api/v1/events`, made anew if there is news.
    pub(super) fn page(&mut self) -> Bytes {
        let lines = &self.lines;
        let make = || {
            // They come in the order in which things ended.
            let mut sorted: Vec<_> = lines.iter().collect();
            sorted.sort_by_key(|(entry, _)| entry.at);
            Bytes::from(api::events(sorted.into_iter().map(|(_, line)| line.as_str())))
        };
        self.page.get_or_insert_with(make).clone()
    }

    /// What is shown of one server, the oldest first.
    pub(super) fn of(&self, server: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        self.lines.iter().map(|(entry, _)| entry).filter(move |entry| entry.server == server)
    }
}

/// Whose suspects are looked for, and who looks.
#[derive(Debug)]
pub(super) struct Whom<'a> {
    pub(super) server: usize,
    pub(super) parent: Option<Pid>,
    /// `None`: there is no thread for it.
    pub(super) onlooker: Option<&'a mut Onlooker>,
}

/// Programs that were seen alive around the moments at which a server may have been restarted.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Since the last restart that is over: whoever was seen then is not suspected again.
    glances: VecDeque<Glance>,
    /// When somebody was last asked to look.
    asked: Option<Moment>,
    /// The user whose processes may signal the parent.
    owner: Option<u32>,
}

impl Suspicion {
    /// Has somebody look who is there, if nobody did just now.
    pub(super) fn glance(&mut self, whom: &mut Whom<'_>, at: Moment) {
        let recent = self.asked.is_some_and(|asked| at.since(asked) < GLANCES_APART);
        // Anybody may open a configuration, and a process table may be large.
        let rests = whom.onlooker.as_mut().is_some_and(|it| it.rests(at));
        if !recent && !rests {
            self.ask(whom, at);
        }
    }

    /// Has somebody look who is there if a restart began just now that nobody looked after.
    pub(super) fn follow(&mut self, whom: &mut Whom<'_>, at: Moment, events: &[Event]) {
        let asked = self.asked;
        let unseen = |began: Moment| {
            at.since(began) <= LONG_AFTER && asked.is_none_or(|asked| asked < began)
        };
        if events.iter().filter_map(began).any(unseen) {
            self.ask(whom, at);
        }
    }

    /// Takes what was seen since it was asked last.
    pub(super) fn take_answers(&mut self, whom: &mut Whom<'_>) {
        let answers = whom.onlooker.as_mut().map(|it| it.answers(whom.server));
        for glance in answers.into_iter().flatten() {
            self.owner = glance.owner.or(self.owner);
            if self.glances.len() >= MOST_GLANCES {
                self.glances.pop_front();
            }
            self.glances.push_back(glance);
        }
    }

    /// Who could have caused a restart that began then, and who was seen since.
    pub(super) fn of(&self, began: Moment) -> Vec<String> {
        let is_near = |glance: &&Glance| {
            let (at, names) = (glance.at, &glance.names);
            let controlled = names.iter().any(|name| CONTROLS.contains(&name.as_str()));
            let after = at >= began && at <= began.after(AFTER);
            after || controlled && at < began && at.after(BEFORE) >= began
        };
        let near = self.glances.iter().filter(is_near);
        // Of a restart whose beginning nobody noticed.
        let next = self.glances.iter().find(|glance| glance.at >= began);
        let next = next.filter(|glance| glance.at <= began.after(LONG_AFTER));
        let mut names: Vec<String> = Vec::new();
        for name in near.chain(next).flat_map(|glance| &glance.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.truncate(MOST_SUSPECTS);
        names
    }

    /// What was asked until then is no other restart's.
    pub(super) fn forget(&mut self, until: Moment) {
        self.glances.retain(|glance| glance.asked > until);
    }

    fn ask(&mut self, whom: &mut Whom<'_>, at: Moment) {
        self.asked = Some(at);
        if let Some(onlooker) = &mut whom.onlooker {
            onlooker.ask(whom.server, at, whom.parent, self.owner);
        }
    }
}

/// When the first restart began that is over, of those that these events tell of.
pub(super) fn began_of_ended(events: &[Event]) -> Option<Moment> {
    is_over(events).then(|| events.iter().filter_map(began).min()).flatten()
}

/// A restart is over, of those that these events tell of.
fn is_over(events: &[Event]) -> bool {
    let in_progress = |event: &Event| matches!(event, Event::RestartBegan { .. });
    events.iter().any(|event| !in_progress(event) && began(event).is_some())
}

/// When a restart began that an event tells of.
fn began(event: &Event) -> Option<Moment> {
    match event {
        Event::RestartBegan { at } => Some(*at),
        Event::Restarted { kind, began, .. } => (*kind != RestartType::Full).then_some(*began),
        Event::RestartFailed { began, .. } => Some(*began),
        Event::ParentAppeared { .. }
        | Event::ServedAgain { .. }
        | Event::RestartHung { .. }
        | Event::PromptBegan { .. }
        | Event::PromptEnded { .. }
        | Event::ChildCrashed { .. }
        | Event::Exhausted { .. }
        | Event::Stopped { .. }
        | Event::DrainBegan { .. }
        | Event::DrainEnded { .. }
        | Event::ChildDrained { .. }
        | Event::ChildrenStarted { .. }
        | Event::ChildExited { .. }
        | Event::Overlapped { .. }
        | Event::Owed { .. }
        | Event::Paid { .. }
        | Event::LogRead(_)
        | Event::Contradicted(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        event::{FailureReason, StopType},
        journal::What,
        time::{Timestamp, Uptime},
    };

    fn after(milliseconds: u64) -> Moment {
        let zero = Moment { uptime: Uptime::from_micros(0), wall: Timestamp::from_micros(1 << 50) };
        zero.after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn the_page_has_the_newest_lines_the_oldest_first() {
        let mut shown = Shown::default();
        assert_eq!(shown.page(), "{\"events\":[]}\n");
        for number in 0..1003 {
            let entry = Entry {
                at: Timestamp::from_micros(number),
                server: format!("s{}", number % 2),
                what: What::Stop { kind: StopType::Stop },
                evidence: Vec::new(),
            };
            let _ = shown.page();
            shown.take(entry).unwrap();
        }
        let page: serde_json::Value = serde_json::from_slice(&shown.page()).unwrap();
        let events = page["events"].as_array().unwrap();
        assert_eq!(events.len(), MOST_SHOWN);
        assert_eq!(events[0]["at"], "1970-01-01T00:00:00.000003Z");
        assert_eq!(events[999]["at"], "1970-01-01T00:00:00.001002Z");
        assert_eq!(shown.of("s1").count(), 500);
    }

    #[test]
    fn what_began_first_is_shown_first_though_it_ended_last() {
        let mut shown = Shown::default();
        for at in [5, 3, 5, 4] {
            let (at, evidence) = (Timestamp::from_micros(at), Vec::new());
            let what = What::Stop { kind: StopType::Stop };
            shown.take(Entry { at, server: shown.lines.len().to_string(), what, evidence });
        }
        let page: serde_json::Value = serde_json::from_slice(&shown.page()).unwrap();
        let order = page["events"].as_array().unwrap().iter().map(|it| it["server"].clone());
        assert_eq!(order.collect::<Vec<_>>(), ["1", "3", "0", "2"]);
    }

    fn seen(at: u64, names: &[&str]) -> Glance {
        Glance {
            asked: after(at),
            at: after(at),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            owner: None,
            cost: Duration::ZERO,
        }
    }

    #[test]
    fn suspects_are_those_seen_around_the_beginning() {
        let glances = [
            seen(1000, &["a"]),
            seen(4500, &["apache2", "b"]),
            seen(4700, &["x"]),
            seen(5010, &["c"]),
            seen(9000, &["d"]),
        ];
        let mut suspicion = Suspicion { glances: glances.into(), ..Suspicion::default() };
        let of = |suspicion: &Suspicion, began| suspicion.of(after(began));
        assert_eq!(of(&suspicion, 5000), ["apache2", "b", "c"], "x may be gone by then");
        assert_eq!(of(&suspicion, 7000), ["apache2", "b", "d"], "and the first after it");
        assert_eq!(of(&suspicion, 1000), ["a"]);
        assert_eq!(of(&suspicion, 6990), ["apache2", "b"], "d came more than two seconds later");
        assert_eq!(of(&suspicion, 99_000), Vec::<String>::new());
        assert_eq!(of(&suspicion, 4000), ["apache2", "b", "x"]);
        suspicion.forget(after(5010));
        assert_eq!(of(&suspicion, 4600), Vec::<String>::new(), "what was seen of the one before");
        assert_eq!(of(&suspicion, 8000), ["d"], "and who was asked for after it");
    }

    #[test]
    fn only_restarts_that_are_over_wait_for_their_suspects() {
        let began = Event::RestartBegan { at: after(4000) };
        assert_eq!(began_of_ended(std::slice::from_ref(&began)), None);
        let failed = Event::RestartFailed {
            kind: RestartType::Unknown,
            began: after(4100),
            reason: FailureReason::Unknown,
            detail: None,
        };
        assert_eq!(began_of_ended(&[began, failed]), Some(after(4000)));
    }
}
