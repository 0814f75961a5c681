//! One server across its parents: feeds each snapshot to the machines and sums up what is true.
//!
//! ```text
//!   no parent ──parent sighted──▶ up ──its pidfd fires──▶ no parent
//!                                  │ first child serves, and another parent served before: full
//! ```

mod assess;
mod compare;
mod drift;
mod ends;
mod full;
mod infer;
mod remember;
mod resources;
mod straggle;
mod survivors;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    assessment::ServerAssessment,
    children::{ChildrenTracker, Departure, Descent, Nursery},
    claims::ClaimTracker,
    drain::{Census, DrainTracker},
    drift::{DriftTracker, LoadingTracker},
    exhaustion::ExhaustionTracker,
    failure::{FailedRestart, Words},
    full_restart::{FullRestart, Unserved},
    hang::HangTracker,
    headroom::HeadroomTracker,
    inferred::InferredGenerations,
    loaded::LoadedSettings,
    look::Look,
    prompt::PromptTracker,
    restart::RestartTracker,
    serving::ServingTracker,
    status::StatusTracker,
    stop::{End, StopTracker},
    stragglers::StragglerTracker,
    unserved::UnservedTracker,
    witness::{WitnessChange, WitnessTracker},
};
use crate::model::{
    drift::Reason,
    event::Event,
    process::{Child, ProcessId},
    scoreboard::{Generation, Scoreboard},
    snapshot::{Part, ServerSnapshot, TraceKind},
    source::Source,
    time::Moment,
};

/// A living parent.
#[derive(Clone, Debug)]
struct Up {
    id: ProcessId,
    started: Moment,
    restart: RestartTracker,
    /// What this parent's first child ends, if another parent served before.
    full: Option<FullRestart>,
}

/// Follows one server.
#[derive(Clone, Debug)]
pub struct ServerTracker {
    restart_timeout: Duration,
    up: Option<Up>,
    /// How many parents this server had.
    parents: u32,
    /// The running generation; of the last parent, while there is none.
    running: Option<Generation>,
    /// Generations by their restarts, while the scoreboard is closed.
    inferred: Option<InferredGenerations>,
    first_children: UnservedTracker,
    /// What the next parent to serve makes good.
    unserved: Option<Unserved>,
    /// The last parent did not close its listeners when it ended, as far as is known.
    left_listening: bool,
    /// Workers with a request, as long as no child was leaving.
    busy: u32,
    children: ChildrenTracker,
    drains: DrainTracker,
    stragglers: StragglerTracker,
    stops: StopTracker,
    prompts: PromptTracker,
    hangs: HangTracker,
    /// When a pid file was last written.
    written: Option<Moment>,
    words: Words,
    /// Children that were seen stopped, or frozen under a deadly signal.
    halted: BTreeSet<ProcessId>,
    /// The last look that saw no restart in progress.
    normal: Option<Moment>,
    /// The configuration was opened, and no look since has seen the parent run normally.
    opened: Option<Moment>,
    exhaustion: ExhaustionTracker,
    headroom: HeadroomTracker,
    loading: LoadingTracker,
    loaded: LoadedSettings,
    drift: DriftTracker,
    /// What was told to be owed, and not yet to be paid.
    owed: BTreeSet<Reason>,
    serving: ServingTracker,
    claims: ClaimTracker,
    status: StatusTracker,
    witnesses: WitnessTracker,
    changes: Vec<WitnessChange>,
    /// Nobody looked since then: until a look tells what happened meanwhile.
    absent_since: Option<Moment>,
    latest: ServerAssessment,
}

impl ServerTracker {
    /// A tracker for a server that was never seen; a restart that takes longer than
    /// `restart_timeout` is hung.
    #[must_use]
    pub fn new(restart_timeout: Duration) -> Self {
        Self {
            restart_timeout,
            up: None,
            parents: 0,
            running: None,
            inferred: None,
            first_children: UnservedTracker::new(),
            unserved: None,
            left_listening: true,
            busy: 0,
            children: ChildrenTracker::default(),
            drains: DrainTracker::default(),
            stragglers: StragglerTracker::default(),
            stops: StopTracker::default(),
            prompts: PromptTracker::default(),
            hangs: HangTracker::default(),
            written: None,
            words: Words::default(),
            halted: BTreeSet::new(),
            normal: None,
            opened: None,
            exhaustion: ExhaustionTracker::default(),
            headroom: HeadroomTracker::default(),
            loading: LoadingTracker::default(),
            loaded: LoadedSettings::default(),
            drift: DriftTracker::default(),
            owed: BTreeSet::new(),
            serving: ServingTracker::default(),
            claims: ClaimTracker::default(),
            status: StatusTracker::default(),
            witnesses: WitnessTracker::default(),
            changes: Vec::new(),
            absent_since: None,
            latest: ServerAssessment::default(),
        }
    }

    /// A restart that takes longer than this is hung.
    pub const fn set_restart_timeout(&mut self, timeout: Duration) {
        self.restart_timeout = timeout;
    }

    /// Whether an operator wants this source.
    pub fn want(&mut self, source: Source, wanted: bool) {
        self.witnesses.want(source, wanted);
    }

    /// What is believed since the last look.
    #[must_use]
    pub const fn assessment(&self) -> &ServerAssessment {
        &self.latest
    }

    /// Sources that began or ceased to answer in the last look.
    #[must_use]
    pub fn witness_changes(&self) -> &[WitnessChange] {
        &self.changes
    }

    /// The next moment at which a look could tell more, or time alone changes what is true.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let restart = self.up.as_ref().map(|up| &up.restart);
        let hangs = restart.and_then(RestartTracker::in_progress);
        let hangs = hangs.map(|began| self.restarting_since(began).after(self.restart_timeout));
        let hangs = hangs.filter(|_| !self.latest.restart_hung);
        let soon = restart.and_then(RestartTracker::next_deadline);
        let serving = self.serving.next_deadline();
        let (stuck, prompts) = (self.stragglers.next_deadline(), self.prompts.next_deadline());
        let (claims, stops) = (self.claims.next_deadline(), self.stops.next_deadline());
        let exhausted = self.exhaustion.next_deadline();
        let stalled = self.headroom.next_deadline();
        let all = [hangs, soon, serving, stuck, prompts, claims, stops, exhausted, stalled];
        all.into_iter().flatten().min()
    }

    /// Folds one look at the server.
    pub fn observe(&mut self, snapshot: &ServerSnapshot) -> Vec<Event> {
        let mut events = Vec::new();
        if self.is_still_absent(snapshot) {
            self.assess(snapshot);
            return events;
        }
        self.words.hear(snapshot.log.as_ref().and_then(Part::seen));
        let names_parent = snapshot.parent.as_ref().is_some_and(|it| it.pid_file.is_some());
        self.stops.observe(&snapshot.traces, names_parent);
        self.notice_end(snapshot, &mut events);
        self.notice_parent(snapshot, &mut events);
        let restarts = self.observe_restarts(snapshot);
        self.observe_loading(snapshot, &restarts);
        events.extend(restarts.iter().cloned());
        self.observe_children(snapshot, &restarts, &mut events);
        // Before it is made good.
        self.explain_stops(snapshot, &mut events);
        events.extend(self.children.explain(snapshot.at, self.restart_since().is_some()));
        self.notice_full_restart(snapshot, &mut events);
        self.notice_stop(&events);
        self.observe_waits(snapshot, &mut events);
        self.compare(snapshot, &mut events);
        self.return_from_absence(snapshot, &mut events);
        self.assess(snapshot);
        self.remember_opening(snapshot);
        self.notice_halted(snapshot);
        self.notice_exhaustion(snapshot, &mut events);
        self.observe_headroom(snapshot, &events);
        self.observe_drift(snapshot, &mut events);
        events
    }

    fn notice_end(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let Some(up) = &self.up else { return };
        let stamped = snapshot.traces.iter().find(|trace| trace.kind == TraceKind::Exited(up.id));
        let replaced = snapshot.parent.as_ref().is_none_or(|parent| parent.id != up.id);
        let at = match stamped {
            Some(trace) => trace.at,
            None if replaced && self.absent_since.is_some() => {
                self.end_unseen(snapshot, events);
                return;
            }
            None if replaced => snapshot.at,
            None => return,
        };
        let opened = ends::stamped_last(snapshot, TraceKind::ConfigOpened, at);
        let opened = opened.or(self.opened);
        let restart = up.restart.proven().map(|began| FailedRestart {
            began,
            hung: at.since(self.restarting_since(began)) >= self.restart_timeout,
            prompting: self.prompts.is_certain(),
        });
        self.stops.ended(End {
            parent: up.id,
            at,
            restart,
            opened,
            since: self.normal,
            written: ends::stamped_last(snapshot, TraceKind::PidFileWritten, at),
            pid_file_left: snapshot.pid_file_left,
            survived: opened.is_some_and(|opened| self.has_survivor(snapshot, opened)),
        });
        let served = up.full.is_none();
        self.end_drains(snapshot, at, events);
        self.children.parent_ended(self.parents, at);
        self.claims.parent_ended(at, opened);
        self.status = StatusTracker::default();
        // A parent that never served leaves the server as its predecessor did.
        if served {
            self.unserved = Some(Unserved { since: Some(at), interrupted: self.busy });
        }
        self.up = None;
    }

    fn notice_parent(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let Some(parent) = &snapshot.parent else {
            return;
        };
        if self.up.is_some() || snapshot.has_exited(parent.id) {
            return;
        }
        let started = snapshot.at.at_uptime(parent.id.started);
        let full = self.unserved_until_now().map(FullRestart::new);
        self.up = Some(Up { id: parent.id, started, restart: self.restarts_of(started), full });
        self.parents += 1;
        self.running = None;
        self.inferred = None;
        self.first_children = UnservedTracker::new();
        self.exhaustion = ExhaustionTracker::default();
        self.normal = Some(started);
        self.drains = DrainTracker::default();
        events.push(Event::ParentAppeared { parent: parent.id, started });
    }

    fn observe_restarts(&mut self, snapshot: &ServerSnapshot) -> Vec<Event> {
        let (Some(up), Some(parent)) = (&mut self.up, &snapshot.parent) else {
            return Vec::new();
        };
        let look = Look::at_parent(snapshot, parent);
        let mut events = up.restart.observe(&look);
        if let Some(global) = look.global() {
            self.running = Some(global.running_generation);
        }
        if let Some(full) = &mut up.full {
            full.observe(up.started, &look);
        }
        self.infer(parent, &look, &mut events);
        events
    }

    fn observe_children(
        &mut self,
        snapshot: &ServerSnapshot,
        restarts: &[Event],
        events: &mut Vec<Event>,
    ) {
        let present = self.present(snapshot);
        let placements = self.placements(snapshot);
        let (changes, departures) = self.children.observe(&Nursery {
            at: snapshot.at,
            present: present.as_deref(),
            placements: &placements,
            running: self.running_descent(),
            traces: &snapshot.traces,
            statuses: &snapshot.statuses,
        });
        events.extend(changes);
        self.explain_exits(restarts);
        let undecided = self.restart_since().is_some();
        self.observe_drains(snapshot, &departures, restarts, undecided, events);
    }

    fn observe_drains(
        &mut self,
        snapshot: &ServerSnapshot,
        departures: &[Departure],
        restarts: &[Event],
        undecided: bool,
        events: &mut Vec<Event>,
    ) {
        if self.up.is_none() {
            return;
        }
        let mut living = BTreeMap::new();
        let own = |descent: &Descent| descent.parent == self.parents;
        for descent in self.children.workers().values().filter(|descent| own(descent)) {
            *living.entry(descent.generation).or_insert(0) += 1;
        }
        let departures: Vec<(Generation, Moment)> = departures
            .iter()
            .filter(|left| own(&left.descent))
            .map(|left| (left.descent.generation, left.at))
            .collect();
        // A stop, which ends the old children too, begins with the others.
        let undecided = undecided || self.running.is_some_and(|it| !living.contains_key(&it));
        let placements = self.placements(snapshot);
        let named: Vec<Generation> = placements.values().map(|place| place.generation).collect();
        events.extend(self.drains.observe(&Census {
            at: snapshot.at,
            living: &living,
            named: &named,
            departures: &departures,
            restarts,
            undecided,
        }));
    }

    fn running_descent(&self) -> Option<Descent> {
        self.running.map(|generation| Descent { parent: self.parents, generation })
    }

    fn restart_since(&self) -> Option<Moment> {
        self.up.as_ref().and_then(|up| up.restart.in_progress())
    }

    fn scoreboard<'a>(&self, snapshot: &'a ServerSnapshot) -> Option<&'a Scoreboard> {
        self.up.as_ref()?;
        snapshot.parent.as_ref().and_then(|parent| parent.scoreboard.seen())
    }

    /// Every process that is or was a child; `None` while the table cannot be read.
    fn present(&self, snapshot: &ServerSnapshot) -> Option<Vec<Child>> {
        let mut present = snapshot.orphans.clone();
        if self.up.is_some()
            && let Some(parent) = &snapshot.parent
        {
            present.extend(parent.processes.seen()?.children.values().copied());
        }
        Some(present)
    }
}
