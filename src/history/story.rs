//! Lines of one server, in the order of time, to what happened to it.
//!
//! Parents are told apart by their pids, so that one that stops gracefully may write beside the
//! next. Where a format leaves the pid out, there is one parent at a time.
//!
//! What ends without a line is concluded: a restart from the start of another parent, or from the
//! end of the log after words that httpd does not go on after; a parent that was killed from the
//! start of the next one, which is then unclean.

use std::{collections::BTreeMap, time::Duration};

use super::{
    calendar::Instant,
    note::{Matter, Note},
    parent::{Parent, Restarting},
};
use crate::model::{
    event::{RestartType, StopType},
    exhaustion::{Exhaustion, SILENT_FOR},
    hang::{Dialog, HangCause},
    journal::{Entry, Outcome, Restart, Start, What},
    process::Pid,
    source::Source,
    time::Timestamp,
};

/// Parents that stop gracefully, and those that were never heard of again.
const MOST_PARENTS: usize = 16;
/// What is held back for the sake of the order: a restart may never end.
const MOST_HELD: usize = 100_000;
/// Event's hard restarts are told when they begin from this release on.
const PROMPT_SINCE: [u32; 3] = [2, 4, 54];

/// The story of one server.
#[derive(Debug)]
pub struct Story {
    server: String,
    parents: BTreeMap<Option<Pid>, Parent>,
    /// A parent was heard of.
    is_known: bool,
    /// A pid file was found that nobody had removed.
    is_unclean: bool,
    /// A pass phrase was asked for since the last lifecycle line.
    is_asked: bool,
    /// The release that it said last that it is of.
    release: Vec<u32>,
    limits: Vec<(Exhaustion, Timestamp)>,
    last: Timestamp,
    told: Vec<Entry>,
}

impl Story {
    /// The story of a server of this name.
    #[must_use]
    pub fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            parents: BTreeMap::new(),
            is_known: false,
            is_unclean: false,
            is_asked: false,
            release: Vec::new(),
            limits: Vec::new(),
            last: Timestamp::default(),
            told: Vec::new(),
        }
    }

    /// Takes the next line that matters.
    pub fn take(&mut self, at: Instant, note: Note) {
        self.last = self.last.max(at.at);
        if let Some(what) = note.exhausted {
            self.exhausted(at.at, what);
        }
        let pid = note.pid;
        if let Some(parent) = self.parents.get_mut(&pid) {
            parent.hear(at.at);
        }
        match note.matter {
            Matter::Resumed { version, mpm } => self.resumed(at, pid, version, mpm),
            Matter::Graceful => self.restarts(pid, |_| Restarting::graceful(at)),
            Matter::Hard { mpm } => {
                let is_old =
                    !self.release.is_empty() && self.release.as_slice() < PROMPT_SINCE.as_slice();
                let is_first = mpm == "event" && !is_old;
                self.restarts(pid, |parent| Restarting::hard(at, parent.ladder, is_first));
            }
            Matter::Stopped => self.stops(at.at, pid, false),
            Matter::GracefulStop => self.stops(at.at, pid, true),
            Matter::ChildStays => self.child_stays(at, pid),
            Matter::Unclean => self.is_unclean = true,
            Matter::FatalChild => self.parent(pid).exits = Some(at.at),
            Matter::FatalChildIgnored => self.parent(pid).exits = None,
            Matter::ParentCrashed => self.crashes(at.at, pid),
            Matter::ChildCrash { signal } => self.tell(at.at, What::ChildCrash { signal }),
            Matter::Prompt(dialog) => self.asks(at.at, pid, dialog),
            Matter::Saying { reason, text, is_last } => {
                self.is_asked &= !is_last;
                if let Some(restarting) = self.restarting(pid) {
                    restarting.hear(reason, text, is_last);
                }
            }
            Matter::Limit => {}
        }
    }

    /// What happened so far and cannot be preceded by anything any more, oldest first.
    pub fn ready(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let until = self.parents.values().filter_map(|parent| parent.open_since(self.last)).min();
        let until = until.filter(|_| self.told.len() < MOST_HELD);
        self.told.sort_by_key(|entry| entry.at);
        let count = until
            .map_or(self.told.len(), |until| self.told.partition_point(|entry| entry.at < until));
        self.told.drain(..count).collect::<Vec<_>>().into_iter()
    }

    /// The logs end here; what is left, oldest first.
    pub fn end(mut self) -> impl Iterator<Item = Entry> {
        for parent in std::mem::take(&mut self.parents).into_values() {
            self.leaves(parent, false);
        }
        self.told.sort_by_key(|entry| entry.at);
        self.told.into_iter()
    }

    fn resumed(&mut self, at: Instant, pid: Option<Pid>, version: Option<String>, mpm: &str) {
        self.is_asked = false;
        if let Some(version) = &version {
            self.release = version.split('.').filter_map(|part| part.parse().ok()).collect();
        }
        let is_unclean = std::mem::take(&mut self.is_unclean);
        let known = self.parents.get_mut(&pid);
        if let Some(parent) = known.filter(|parent| !is_unclean && parent.may_resume()) {
            let restarting = parent.restarting.take();
            (parent.exits, parent.ladder, parent.is_doubtful) = (None, None, false);
            match restarting {
                Some(restarting) => {
                    for (at, what) in restarting.resumed(at) {
                        self.tell(at, what);
                    }
                }
                None => self.tell(at.at, What::Restart(unknown())),
            }
            return;
        }
        let mut is_unclean = is_unclean;
        for (its, parent) in std::mem::take(&mut self.parents) {
            let is_other = its != pid && pid.is_some();
            let is_open = parent.restarting.as_ref().is_some_and(|open| !open.seems_failed());
            if is_other && parent.is_leaving {
                self.parents.insert(its, parent);
            } else if is_other && is_open && !is_unclean {
                // Logs that servers share have lines of both.
                self.parents.insert(its, Parent { is_doubtful: true, ..parent });
            } else {
                // One that failed or crashed is told of; of one that was killed nothing is.
                is_unclean |= parent.is_active() && parent.restarting.is_none();
                self.leaves(parent, true);
            }
        }
        let start = Start {
            version,
            mpm: Some(mpm.to_owned()),
            full_restart: self.is_known.then_some(true),
            unclean: is_unclean.then_some(true),
        };
        self.tell(at.at, What::Start(start));
        self.limits.clear();
        self.parent(pid);
    }

    fn restarts(&mut self, pid: Option<Pid>, restarting: impl FnOnce(&Parent) -> Restarting) {
        self.is_asked = false;
        let parent = self.parent(pid);
        let restarting = restarting(parent);
        // Words without a pid that come next are this one's, if several parents write.
        let before = parent.restarting.replace(restarting);
        (parent.exits, parent.ladder) = (None, None);
        (parent.is_leaving, parent.is_doubtful) = (false, false);
        if let Some(before) = before {
            let last = self.last;
            for (at, what) in before.left(false, last) {
                self.tell(at, what);
            }
        }
    }

    fn stops(&mut self, at: Timestamp, pid: Option<Pid>, is_graceful: bool) {
        self.is_asked = false;
        let parent = self.parent(pid);
        if parent.is_leaving {
            return;
        }
        let before = parent.restarting.take();
        (parent.exits, parent.ladder) = (None, None);
        parent.is_leaving = is_graceful;
        if !is_graceful {
            self.parents.remove(&pid);
        }
        if let Some(before) = before {
            for (at, what) in before.left(false, at) {
                self.tell(at, what);
            }
        }
        let kind = if is_graceful { StopType::GracefulStop } else { StopType::Stop };
        self.tell(at, What::Stop { kind });
    }

    fn child_stays(&mut self, at: Instant, pid: Option<Pid>) {
        let parent = self.parent(pid);
        match parent.restarting.as_mut() {
            Some(restarting) => restarting.waits(HangCause::Children),
            None => parent.ladder = parent.ladder.or(Some(at)),
        }
    }

    fn crashes(&mut self, at: Timestamp, pid: Option<Pid>) {
        let mut parent = self.parents.remove(&pid).unwrap_or_default();
        match parent.restarting.as_mut() {
            Some(restarting) => restarting.crash(),
            None => parent.exits = Some(at),
        }
        self.leaves(parent, true);
    }

    fn asks(&mut self, at: Timestamp, pid: Option<Pid>, dialog: Dialog) {
        if let Some(restarting) = self.restarting(pid) {
            restarting.waits(HangCause::Passphrase);
        }
        if !std::mem::replace(&mut self.is_asked, true) {
            self.tell(at, What::PassphrasePrompt { dialog: Some(dialog) });
        }
    }

    /// What is left to tell of a parent that will not be heard of again.
    fn leaves(&mut self, parent: Parent, is_gone: bool) {
        let is_gone = is_gone || parent.is_doubtful;
        if let Some(restarting) = parent.restarting {
            let last = self.last;
            for (at, what) in restarting.left(is_gone, last) {
                self.tell(at, what);
            }
        } else if let (Some(at), false) = (parent.exits, parent.is_leaving) {
            self.tell(at, What::Stop { kind: StopType::Crash });
        }
    }

    /// A limit is told once, until no line has told of it for a while.
    fn exhausted(&mut self, at: Timestamp, what: Exhaustion) {
        let known = self.limits.iter_mut().find(|(known, _)| *known == what);
        let before = known.map(|(_, last)| std::mem::replace(last, at));
        let Some(before) = before else {
            self.limits.push((what, at));
            return self.tell(at, What::Exhausted { what });
        };
        let silent = at.as_micros().saturating_sub(before.as_micros());
        if Duration::from_micros(u64::try_from(silent).unwrap_or(0)) > SILENT_FOR {
            self.tell(at, What::Exhausted { what });
        }
    }

    /// The restart that a line may be about: its own parent's, or, of a raw line, the last one.
    fn restarting(&mut self, pid: Option<Pid>) -> Option<&mut Restarting> {
        let may_be = |its: &Option<Pid>| pid.is_none() || its.is_none() || *its == pid;
        let parents = self.parents.iter_mut().filter(|(its, _)| may_be(its));
        let restarts = parents.filter_map(|(_, parent)| parent.restarting.as_mut());
        restarts.max_by_key(|restarting| restarting.began())
    }

    /// The parent of this pid, from now on at the latest.
    fn parent(&mut self, pid: Option<Pid>) -> &mut Parent {
        self.is_known = true;
        if self.parents.len() >= MOST_PARENTS && !self.parents.contains_key(&pid) {
            let leaving = self.parents.iter().find(|(_, parent)| parent.is_leaving);
            let oldest = leaving.or(self.parents.iter().next()).map(|(pid, _)| *pid);
            if let Some(parent) = oldest.and_then(|pid| self.parents.remove(&pid)) {
                self.leaves(parent, false);
            }
        }
        self.parents.entry(pid).or_default()
    }

    fn tell(&mut self, at: Timestamp, what: What) {
        let (server, evidence) = (self.server.clone(), vec![Source::ErrorLog]);
        self.told.push(Entry { at, server, what, evidence });
    }
}

/// A resuming line of a parent that told of no restart: one was lost, and with it what it was.
const fn unknown() -> Restart {
    Restart {
        kind: RestartType::Unknown,
        outcome: Outcome::Resumed,
        reason: None,
        duration_seconds: None,
        origin: None,
        suspects: Vec::new(),
        detail: None,
    }
}
