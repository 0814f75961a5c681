//! Lines of the journal that wait for what is not known yet: who could have caused a restart, and
//! what a parent that has just started is made of.

use std::{collections::VecDeque, time::Duration};

use super::journal::{Suspicion, Whom, began_of_ended};
use crate::model::{
    build::HttpdBuild,
    event::Event,
    journal::{Entry, What},
    process::ProcessId,
    time::{Moment, Timestamp},
};

/// Who looks for suspects needs some milliseconds, and on a busy machine more.
const FOR_SUSPECTS: Duration = Duration::from_millis(300);
/// A start is told within two seconds, with or without httpd's release.
const FOR_BUILD: Duration = Duration::from_millis(1500);
/// What happened while nobody looked is found in the first looks, or is a restart that they join.
const RETURNS_FOR: Duration = Duration::from_secs(1);
/// Who is asked later would answer too late.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// What one server's lines wait for.
#[derive(Debug, Default)]
pub(super) struct Desk {
    suspicion: Suspicion,
    held: VecDeque<Held>,
    /// Nobody looked before the first look.
    after_absence: bool,
    /// When that was.
    returned: Option<Moment>,
    /// When the last look was.
    looked: Option<Moment>,
}

/// Who started, and may yet tell what he is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starter {
    pub(super) parent: ProcessId,
    /// When he is asked.
    pub(super) asked: Moment,
}

/// Lines of one look.
#[derive(Debug)]
struct Held {
    entries: Vec<Entry>,
    /// When the look was at which they were over.
    over: Moment,
    /// When a restart began whose suspects are to be told.
    restart: Option<Moment>,
    start: Option<Starter>,
    /// They wait no longer.
    until: Moment,
}

/// Lines that wait for nothing.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) entries: Vec<Entry>,
    /// Suspects of the restarts among them, by when these began.
    pub(super) suspects: Vec<(Timestamp, Vec<String>)>,
}

impl Desk {
    /// Of a server that an earlier run knew: who is there now did not do what happened since.
    pub(super) fn after_absence() -> Self {
        Self { after_absence: true, ..Self::default() }
    }

    /// A configuration was opened: has somebody look who is there.
    pub(super) fn glance(&mut self, whom: &mut Whom<'_>, at: Moment) {
        self.suspicion.glance(whom, at);
    }

    /// Takes the lines of a look, of which `start` tells the build.
    pub(super) fn put(
        &mut self,
        whom: &mut Whom<'_>,
        at: Moment,
        events: &[Event],
        entries: Vec<Entry>,
        start: Option<Starter>,
    ) {
        let returned = *self.returned.get_or_insert(at);
        let absent = self.after_absence && at.since(returned) < RETURNS_FOR;
        if !absent {
            self.suspicion.follow(whom, at, events);
        }
        if entries.is_empty() {
            return;
        }
        let restart = began_of_ended(events).filter(|_| !absent);
        let is_start = |entry: &Entry| matches!(entry.what, What::Start(_));
        let soon = |start: &Starter| start.asked <= at.after(ASKED_WITHIN);
        let start = start.filter(soon).filter(|_| entries.iter().any(is_start));
        let patience = match (start, restart) {
            (Some(_), _) => FOR_BUILD,
            (None, Some(_)) => FOR_SUSPECTS,
            (None, None) => Duration::ZERO,
        };
        let until = at.after(patience);
        self.held.push_back(Held { entries, over: at, restart, start, until });
    }

    /// Gives the lines that wait for nothing any more, in their order. `build` tells what a parent
    /// is made of.
    pub(super) fn release<'a>(
        &mut self,
        whom: &mut Whom<'_>,
        at: Moment,
        build: impl Fn(ProcessId) -> Option<&'a HttpdBuild>,
    ) -> Released {
        self.looked = Some(at);
        self.suspicion.take_answers(whom);
        let mut released = Released::default();
        while let Some(mut held) = self.held.pop_front() {
            let asks = held.restart.is_some()
                && whom.onlooker.as_mut().is_some_and(|it| it.is_asked(whom.server, held.over));
            let build = held.start.map(|start| build(start.parent));
            if at < held.until && (asks || build == Some(None)) {
                self.held.push_front(held);
                break;
            }
            if let Some(began) = held.restart {
                let names = self.suspicion.of(began);
                self.suspicion.forget(held.over);
                released.suspects.extend(suspect(&mut held.entries, &names));
            }
            if let Some(build) = build.flatten() {
                tell_build(&mut held.entries, build);
            }
            released.entries.append(&mut held.entries);
        }
        released
    }

    /// Something waits.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// When somebody is to be asked, or it waits no longer.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let held = self.held.front()?;
        let asked = held.start.map(|start| start.asked);
        let asked = asked.filter(|asked| self.looked.is_none_or(|looked| looked < *asked));
        Some(asked.unwrap_or(held.until))
    }

    /// Everything, as nobody will look again.
    pub(super) fn clear(&mut self) -> Vec<Entry> {
        self.held.drain(..).flat_map(|held| held.entries).collect()
    }
}

/// Names suspects of all restarts among these.
fn suspect(entries: &mut [Entry], names: &[String]) -> Vec<(Timestamp, Vec<String>)> {
    let mut told = Vec::new();
    for entry in entries {
        if let What::Restart(restart) = &mut entry.what {
            restart.suspects = names.to_vec();
            told.push((entry.at, names.to_vec()));
        }
    }
    told
}

fn tell_build(entries: &mut [Entry], build: &HttpdBuild) {
    for entry in entries {
        if let What::Start(start) = &mut entry.what {
            start.version = start.version.take().or_else(|| build.version.clone());
            start.mpm = start.mpm.take().or_else(|| build.mpm.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock,
        model::{
            event::{FailureReason, RestartType},
            journal::{Outcome, Restart, Start},
            process::Pid,
        },
        observe::{onlooker::Onlooker, process_table::ProcessTable, wake::Wake},
    };

    fn entry(at: Moment, what: What) -> Entry {
        Entry { at: at.wall, server: "main".to_owned(), what, evidence: Vec::new() }
    }

    fn failed(began: Moment) -> (Event, Entry) {
        let (kind, reason) = (RestartType::Unknown, FailureReason::Unknown);
        let restart = Restart {
            kind,
            outcome: Outcome::Failed,
            reason: Some(reason),
            duration_seconds: None,
            origin: None,
            suspects: Vec::new(),
            detail: None,
        };
        let event = Event::RestartFailed { kind, began, reason, detail: None };
        (event, entry(began, What::Restart(restart)))
    }

    fn nobody() -> Whom<'static> {
        Whom { server: 0, parent: None, onlooker: None }
    }

    #[test]
    fn a_restart_waits_for_its_suspects_and_what_follows_waits_behind_it() {
        let (ear, pipe) = rustix::pipe::pipe().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let table = ProcessTable::new(directory.path().to_owned());
        let mut onlooker = Onlooker::start(table, Wake::new(pipe)).unwrap();
        let mut whom = Whom { server: 0, parent: None, onlooker: Some(&mut onlooker) };
        let (at, mut desk) = (clock::now(), Desk::default());
        let (event, restart) = failed(at);
        desk.put(&mut whom, at.after(Duration::from_millis(1)), &[event], vec![restart], None);
        assert!(desk.holds());
        let stop = What::Stop { kind: crate::model::event::StopType::Stop };
        desk.put(&mut whom, at, &[], vec![entry(at, stop)], None);
        std::io::Read::read_exact(&mut std::fs::File::from(ear), &mut [0]).unwrap();
        let released = desk.release(&mut whom, at, |_| None);
        assert_eq!(released.entries.len(), 2, "whoever looked has answered");
        assert_eq!(released.suspects, [(at.wall, Vec::new())]);
        assert!(!desk.holds() && desk.deadline().is_none());
    }

    #[test]
    fn a_start_waits_until_its_parent_has_told_what_it_is_made_of_but_not_for_ever() {
        let (at, mut desk) = (clock::now(), Desk::default());
        let parent = ProcessId { pid: Pid::new(7).unwrap(), started: at.uptime };
        let asked = at.after(Duration::from_millis(200));
        let start = || vec![entry(at, What::Start(Start::default()))];
        let starter = Some(Starter { parent, asked });
        desk.put(&mut nobody(), at, &[], start(), starter);
        assert!(desk.release(&mut nobody(), at, |_| None).entries.is_empty());
        assert_eq!(desk.deadline(), Some(asked));
        assert!(desk.release(&mut nobody(), asked, |_| None).entries.is_empty());
        assert_eq!(desk.deadline(), Some(at.after(FOR_BUILD)));
        let build = HttpdBuild { version: Some("2.4.71".to_owned()), ..HttpdBuild::default() };
        let told = desk.release(&mut nobody(), asked, |it| (it == parent).then_some(&build));
        let version = build.version.clone();
        let expected = What::Start(Start { version, ..Start::default() });
        assert_eq!(told.entries, [entry(at, expected)]);
        desk.put(&mut nobody(), at, &[], start(), starter);
        assert_eq!(desk.release(&mut nobody(), at.after(FOR_BUILD), |_| None).entries, start());
        let late = Some(Starter { parent, asked: at.after(FOR_BUILD) });
        desk.put(&mut nobody(), at, &[], start(), late);
        assert_eq!(desk.release(&mut nobody(), at, |_| None).entries, start(), "too late to wait");
    }

    #[test]
    fn who_is_there_after_an_absence_did_not_do_what_happened_in_it() {
        let (_ear, pipe) = rustix::pipe::pipe().unwrap();
        let table = ProcessTable::new("/proc".into());
        let mut onlooker = Onlooker::start(table, Wake::new(pipe)).unwrap();
        let mut whom = Whom { server: 0, parent: None, onlooker: Some(&mut onlooker) };
        let (at, mut desk) = (clock::now(), Desk::after_absence());
        let (event, restart) = failed(at);
        let now = at.after(Duration::from_millis(1));
        desk.put(&mut whom, now, &[event], vec![restart.clone()], None);
        let released = desk.release(&mut whom, now, |_| None);
        assert_eq!((released.entries, released.suspects), (vec![restart], Vec::new()));
        assert!(!onlooker.is_asked(0, now), "nobody is asked");
    }
}
