//! One watched server: its observer, its tracker and its counters, and what the log says of it.

mod aside;
mod drift;

use std::{collections::VecDeque, time::Duration};

use tracing::{info, warn};

use self::{aside::living, drift::DriftObserver};
use super::{
    desk::{Desk, Released, Starter},
    journal::Whom,
    orders::Choices,
    side::SideInstruments,
    tell::{tell, tell_source},
};
use crate::{
    clock,
    expose::{
        api::StatusView,
        journal::{Circumstances, Scribe},
        metrics::ServerView,
    },
    model::{
        event::Event,
        journal::Entry,
        process::Pid,
        server_status::StatusSighting,
        snapshot::{Part, ServerSnapshot, Trace},
        source::Source,
        time::Moment,
        told::Said,
    },
    observe::{
        asked::Asked,
        discovery::Found,
        inquiry::Inquiry,
        log_source::{LogChoice, LogSource},
        onlooker::Onlooker,
        process_table::ProcessTable,
        resources::ResourceObserver,
        server::{Doubt, Instruments, Past, ServerObserver, Target},
        status_source::StatusSource,
    },
    track::{
        memory::{LifeMemory, ServerMemory},
        server::ServerTracker,
        tally::Tally,
    },
};

/// Parents whose lines may still be in a log.
const MOST_PARENTS: usize = 8;
/// Whoever forges lines would fill our log too.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The first part of a look: what must be seen first.
#[derive(Debug)]
pub(super) struct Looked {
    snapshot: ServerSnapshot,
    doubt: Option<Doubt>,
}

/// One server and what is kept of it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) observer: ServerObserver,
    tracker: ServerTracker,
    tally: Tally,
    orphans: u32,
    number: usize,
    choices: Choices,
    log: LogSource,
    status: StatusSource,
    inquiry: Inquiry,
    /// The numbers of its parents, the last one last.
    parents: VecDeque<Pid>,
    /// That no httpd is in its unit was said.
    unit_is_empty: bool,
    /// When a contradiction was last written into the log: all are counted.
    contradicted: Option<Moment>,
    scribe: Scribe,
    desk: Desk,
    resources: ResourceObserver,
    drift: DriftObserver,
}

impl Server {
    pub(super) fn new(
        name: String,
        number: usize,
        target: Target,
        choices: &Choices,
        timeout: Duration,
    ) -> Self {
        let mut server = Self {
            name,
            observer: ServerObserver::new(number, target),
            tracker: ServerTracker::new(timeout),
            tally: Tally::default(),
            orphans: 0,
            number,
            choices: choices.clone(),
            log: LogSource::new(number, choices.error_log.clone()),
            status: StatusSource::new(number, choices.status_url.clone()),
            inquiry: Inquiry::new(number, choices.calling.clone()),
            parents: VecDeque::new(),
            unit_is_empty: false,
            contradicted: None,
            scribe: Scribe::new(clock::now()),
            desk: Desk::default(),
            resources: ResourceObserver::default(),
            drift: DriftObserver::new(number),
        };
        server.want();
        server
    }

    fn want(&mut self) {
        let Choices { error_log, status_url, .. } = &self.choices;
        self.tracker.want(Source::ErrorLog, *error_log != LogChoice::None);
        self.tracker.want(Source::ServerStatus, status_url.is_some());
    }

    /// What the operator wants of it now.
    pub(super) fn choose(&mut self, choices: &Choices) {
        self.log.choose(&choices.error_log);
        self.status.choose(choices.status_url.as_ref());
        self.inquiry.choose(&choices.calling);
        self.choices.clone_from(choices);
        self.want();
    }

    /// The numbers of its parents, as far as lines of them may still be in a log.
    pub(super) fn parents(&self) -> impl Iterator<Item = (Pid, usize)> {
        self.parents.iter().map(|pid| (*pid, self.number))
    }

    /// Takes what its httpd says of itself.
    pub(super) fn hear(&mut self, said: Asked) {
        match self.inquiry.hear(said) {
            Ok(pid_file) => self.observer.learn_pid_file(pid_file),
            Err(Some(error)) => {
                warn!(server = self.name, %error, "httpd does not tell of its configuration");
            }
            Err(None) => {}
        }
        match self.inquiry.verdict_news() {
            Some(Err(said)) => {
                warn!(
                    server = self.name,
                    said, "configuration is invalid: a restart would end httpd"
                );
            }
            Some(Ok(())) => info!(server = self.name, "configuration is valid again"),
            None => {}
        }
    }

    /// A server that an earlier run knew.
    pub(super) fn taken_up(
        mut self,
        past: Past,
        memory: &ServerMemory,
        timeout: Duration,
        now: Moment,
        instruments: &mut Instruments<'_>,
    ) -> Self {
        self.observer.take_up(past, now.uptime, instruments);
        self.tracker = ServerTracker::restored(timeout, memory, now);
        self.tally = Tally::restored(&memory.last);
        self.desk = Desk::after_absence();
        self.scribe = Scribe::new(memory.life.as_ref().map_or(now, LifeMemory::at));
        self.want();
        let (server, up) = (&self.name, self.observer.parent().is_some());
        let pid = self.observer.parent().map(|parent| parent.pid.as_raw());
        info!(server, up, pid, "known from an earlier run");
        self
    }

    /// What the next run will know.
    pub(super) fn remember(&self, at: Moment) -> ServerMemory {
        self.tracker.remember(at, &self.tally)
    }

    /// It lives, or may.
    pub(super) fn may_be_up(&self) -> bool {
        self.tracker.assessment().up != Some(false)
    }

    /// A restart that takes longer than this is hung.
    pub(super) const fn set_restart_timeout(&mut self, timeout: Duration) {
        self.tracker.set_restart_timeout(timeout);
    }

    /// What is shown of it.
    pub(super) fn view(&self) -> ServerView<'_> {
        let assessment = self.tracker.assessment();
        let parent = assessment.parent.map(|(parent, _)| parent);
        let build = parent.and_then(|parent| self.inquiry.build(parent));
        ServerView { name: &self.name, assessment, tally: &self.tally, build }
    }

    /// What its living parent said of its configuration.
    pub(super) fn said(&self) -> Option<&Said> {
        let (parent, _) = self.tracker.assessment().parent?;
        self.inquiry.said(parent)
    }

    /// What the API tells of it.
    pub(super) fn status(&self) -> StatusView<'_> {
        let sources = self.tracker.assessment().sources.iter();
        let mends = sources.filter_map(|(source, state)| {
            let why = state.why.filter(|_| state.up == Some(false))?;
            Some((*source, self.mend(*source, why)?))
        });
        StatusView {
            server: self.view(),
            last: self.scribe.last(),
            hang: self.scribe.hang(),
            dialog: self.scribe.dialog(),
            mends: mends.collect(),
        }
    }

    /// Takes up what an earlier run wrote into the journal.
    pub(super) fn read_journal<'a>(&mut self, entries: impl DoubleEndedIterator<Item = &'a Entry>) {
        self.scribe.read(entries);
    }

    /// Its configuration was opened: what may be over before the next look.
    pub(super) fn glance(&mut self, table: &ProcessTable, onlooker: Option<&mut Onlooker>) {
        self.observer.glance(table);
        let parent = self.observer.parent().map(|parent| parent.pid);
        let mut whom = Whom { server: self.number, parent, onlooker };
        self.desk.glance(&mut whom, clock::now());
    }

    pub(super) fn next_deadlines(&self) -> impl Iterator<Item = Moment> {
        let own = self.tracker.next_deadline().into_iter().chain(self.observer.next_deadline());
        own.chain(self.desk.deadline())
    }

    /// Lines for the journal wait for what is not known yet.
    pub(super) fn holds_entries(&self) -> bool {
        self.desk.holds()
    }

    /// All that waits to be written into the journal, as nobody will look again.
    pub(super) fn last_entries(&mut self) -> Vec<Entry> {
        self.desk.clear()
    }

    pub(super) fn look(
        &mut self,
        at: Moment,
        traces: Vec<Trace>,
        found: &[Found],
        status: Option<StatusSighting>,
        instruments: &mut Instruments<'_>,
    ) -> Looked {
        let old = self.tracker.assessment().stragglers.iter().flatten().map(|old| old.id);
        self.observer.attend_to(old);
        let (snapshot, doubt) = self.observer.look(at, traces, found, instruments);
        // What was asked before an operator changed his mind is answered after it.
        let status = status.filter(|_| self.choices.status_url.is_some());
        let told = status.as_ref().and_then(|status| status.result.as_ref().ok());
        if let Some(tokens) = told.and_then(|told| told.version.as_ref()) {
            self.inquiry.hear_tokens(tokens);
        }
        Looked { snapshot: ServerSnapshot { status, ..snapshot }, doubt }
    }

    /// The rest of a look: what may be switched off, and what follows from it all. Returns what is
    /// to be written into the journal.
    pub(super) fn conclude(
        &mut self,
        looked: Looked,
        side: &mut SideInstruments<'_>,
    ) -> Vec<Entry> {
        let Looked { mut snapshot, doubt } = looked;
        let at = snapshot.at;
        snapshot.log = self.look_aside(at, side);
        let living = living(&snapshot);
        snapshot.resources = self.look_at_resources(&snapshot, &living, side);
        snapshot.drift = self.look_at_drift(&snapshot, &living, side);
        let pid_file = self.observer.target().pid_file.clone().unwrap_or_default();
        if let Some(Doubt { reason, .. }) = self.observer.new_doubt(doubt) {
            let pid_file = pid_file.display();
            warn!(server = self.name, %pid_file, reason, "pid file names no httpd");
        }
        self.doubt_unit();
        let numbered = self.tracker.assessment().generation.is_some();
        self.tracker.rule_out_pipe_dialogs(self.inquiry.has_no_pipe_dialog());
        let events = self.tracker.observe(&snapshot);
        for event in &events {
            self.tally.count(event);
            self.tell(at, event);
        }
        let entries = self.journal(&snapshot, numbered, &events, side);
        for change in self.tracker.witness_changes() {
            let mend = change.why.and_then(|why| self.mend(change.source, why));
            tell_source(&self.name, *change, mend);
        }
        let orphans = self.tracker.assessment().orphans.unwrap_or(0);
        if self.tracker.assessment().parent.is_none() && orphans > self.orphans {
            warn!(server = self.name, children = orphans, "orphans go on without a parent");
        }
        self.orphans = orphans;
        entries
    }

    /// What of a look is to be written down; `numbered`: generations had httpd's own numbers before.
    fn journal(
        &mut self,
        snapshot: &ServerSnapshot,
        numbered: bool,
        events: &[Event],
        side: &mut SideInstruments<'_>,
    ) -> Vec<Entry> {
        let parent = snapshot.parent.as_ref();
        let id = parent.map(|parent| parent.id);
        let now = Circumstances {
            server: &self.name,
            at: snapshot.at,
            numbered: numbered || self.tracker.assessment().generation.is_some(),
            drains: self.tracker.assessment().drains.as_ref(),
            stragglers: self.tracker.assessment().stragglers.as_deref().unwrap_or_default(),
            table: match parent {
                Some(parent) => parent.processes.seen().is_some(),
                None => snapshot.hidden.is_none(),
            },
            scoreboard: parent.is_some_and(|parent| parent.scoreboard.seen().is_some()),
            log: snapshot.log.as_ref().and_then(Part::seen),
            awaits_full_restart: self.tracker.awaits_full_restart(),
            build: parent.and_then(|parent| self.inquiry.build(parent.id)),
        };
        let entries = self.scribe.write(&now, events);
        // A parent that is asked soon will tell what it is made of.
        let start = id.filter(|id| side.asker.is_some() && self.inquiry.may_tell(*id));
        let start = start.map(|parent| {
            let asked = self.inquiry.asks_from(snapshot.at, parent);
            Starter { parent, asked }
        });
        let onlooker = side.onlooker.as_deref_mut();
        let mut whom = Whom { server: self.number, parent: id.map(|id| id.pid), onlooker };
        self.desk.put(&mut whom, clock::now(), events, entries, start);
        let build = |parent| self.inquiry.build(parent);
        let Released { entries, suspects } = self.desk.release(&mut whom, snapshot.at, build);
        for (began, names) in suspects {
            self.scribe.suspect(began, names);
        }
        entries
    }

    fn tell(&mut self, at: Moment, event: &Event) {
        if let Event::Contradicted(what) = event {
            let recent = self.contradicted.is_some_and(|last| at.since(last) < SAID_AGAIN_AFTER);
            if !recent {
                self.contradicted = Some(at);
                warn!(server = self.name, what = what.label(), "contradiction");
            }
            return;
        }
        // Generations that are counted have numbers of our own.
        let numbered = self.tracker.assessment().generation.is_some();
        tell(&self.name, numbered, at, event);
    }
}
