//! A small model of httpd and the tracker side by side: whatever happens in whatever order, what
//! was counted is what the model went through.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use gracekeeper::{
    model::{
        event::{DrainOutcome, Event, RestartType},
        process::{Child, ChildRole, ExitStatus, Pid, ProcessId, ProcessState, ProcessTable},
        resources::Resources,
        scoreboard::{
            Generation, Global, GracefulWorkers, Scoreboard, Slot, SlotRecord, WaitingConnections,
            WorkerStatus,
        },
        snapshot::{ParentSighting, Part, PidFileStamp, ServerSnapshot, Trace, TraceKind},
        source::Why,
        time::{Moment, Timestamp, Uptime},
        waiting::Waiting,
    },
    track::{histogram::Histogram, memory::ServerMemory, server::ServerTracker, tally::Tally},
};
use proptest::prelude::*;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Fork,
    Exit(prop::sample::Index),
    /// In order, as a child that has served enough.
    Retire(prop::sample::Index),
    Hold(prop::sample::Index),
    Release,
    Graceful,
    Hard,
    Advance,
    Reap,
    Configtest,
    LoseReaping(bool),
    LoseOpening(bool),
    Kill,
    Start,
    Look,
    TornLook,
    Repeat,
    LoseScoreboard(bool),
    LoseTable(bool),
    SetClock(i32),
    /// gracekeeper is killed, and another one takes up at the next look.
    Relieve,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1_u16..3000).prop_map(Step::Wait),
        3 => Just(Step::Fork),
        2 => any::<prop::sample::Index>().prop_map(Step::Exit),
        2 => any::<prop::sample::Index>().prop_map(Step::Retire),
        3 => any::<prop::sample::Index>().prop_map(Step::Hold),
        2 => Just(Step::Release),
        4 => Just(Step::Graceful),
        3 => Just(Step::Hard),
        12 => Just(Step::Advance),
        2 => Just(Step::Reap),
        1 => Just(Step::Configtest),
        1 => any::<bool>().prop_map(Step::LoseReaping),
        1 => any::<bool>().prop_map(Step::LoseOpening),
        1 => Just(Step::Kill),
        1 => Just(Step::Start),
        8 => Just(Step::Look),
        6 => Just(Step::TornLook),
        1 => Just(Step::Repeat),
        1 => any::<bool>().prop_map(Step::LoseScoreboard),
        1 => any::<bool>().prop_map(Step::LoseTable),
        1 => (-100_000_i32..100_000).prop_map(Step::SetClock),
        2 => Just(Step::Relieve),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Clone, Copy, Debug)]
struct ModelChild {
    id: ProcessId,
    generation: i32,
    held: bool,
}

/// What the model went through, to compare with what was counted.
#[derive(Debug, Default)]
struct Truth {
    graceful: u64,
    hard: u64,
    kills: u64,
    /// Graceful restarts whose left generation had a child in the last look before.
    drains: u64,
    /// More than one restart, or a restart and a new parent, lay between two looks that could tell.
    crowded: bool,
    since_look: u32,
}

/// What can be read of the scoreboard, from the first look to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readable {
    Whole,
    /// No layout is proven.
    NoSlots,
    Nothing,
}

/// What a restart does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Move,
    Dismiss,
    Reclaim,
    Clear,
    Open,
    WritePidFile,
    MakeScoreboard,
    FillScoreboard,
    CatchSignals,
    Fork,
}

const GRACEFUL: [Phase; 7] = [
    Phase::Move,
    Phase::Dismiss,
    Phase::Clear,
    Phase::Open,
    Phase::WritePidFile,
    Phase::CatchSignals,
    Phase::Fork,
];
const HARD: [Phase; 10] = [
    Phase::Move,
    Phase::Dismiss,
    Phase::Reclaim,
    Phase::Clear,
    Phase::Open,
    Phase::WritePidFile,
    Phase::MakeScoreboard,
    Phase::FillScoreboard,
    Phase::CatchSignals,
    Phase::Fork,
];

/// httpd as seen from outside, in microseconds of its own.
#[expect(clippy::struct_excessive_bools, reason = "what may be lost or on, each by itself")]
#[derive(Debug)]
struct Model {
    now: u64,
    wall: i64,
    next_pid: i32,
    parent: Option<ProcessId>,
    generation: i32,
    /// What the scoreboard says, which lags behind for a moment.
    shown_generation: i32,
    restart_time: i64,
    catches_crashes: bool,
    pending: VecDeque<Phase>,
    pending_is_hard: bool,
    stamp: PidFileStamp,
    children: Vec<ModelChild>,
    orphans: Vec<ModelChild>,
    /// Ended, and the parent has not taken note of it.
    zombies: Vec<(ModelChild, ExitStatus)>,
    traces: Vec<Trace>,
    statuses: Vec<(ProcessId, Option<ExitStatus>)>,
    readable: Readable,
    sees_scoreboard: bool,
    sees_table: bool,
    /// The order of a child's reaping among the traces is certain.
    tells_reaping: bool,
    /// The configuration's opening is reported.
    tells_opening: bool,
    /// Generations of which the last look saw a child.
    seen: BTreeSet<i32>,
    /// The generation that the restart in progress left is one of these.
    leaves_a_seen_one: bool,
    truth: Truth,
}

impl Model {
    fn new(readable: Readable) -> Self {
        let mut model = Self {
            now: 10_000_000_000,
            wall: 1_700_000_000_000_000,
            next_pid: 100,
            parent: None,
            generation: 0,
            shown_generation: 0,
            restart_time: 0,
            catches_crashes: true,
            pending: VecDeque::new(),
            pending_is_hard: false,
            stamp: PidFileStamp { written: Timestamp::from_micros(0), inode: 0 },
            children: Vec::new(),
            orphans: Vec::new(),
            zombies: Vec::new(),
            traces: Vec::new(),
            statuses: Vec::new(),
            readable,
            sees_scoreboard: true,
            sees_table: true,
            tells_reaping: true,
            tells_opening: true,
            seen: BTreeSet::new(),
            leaves_a_seen_one: false,
            truth: Truth::default(),
        };
        model.start();
        model
    }

    fn at(&self) -> Moment {
        let now = i64::try_from(self.now).unwrap();
        let wall = Timestamp::from_micros(self.wall + now);
        Moment { uptime: Uptime::from_micros(self.now), wall }
    }

    fn process(&mut self) -> ProcessId {
        self.now += 500;
        self.next_pid += 1;
        let pid = Pid::new(self.next_pid).unwrap();
        ProcessId { pid, started: Uptime::from_micros(self.now) }
    }

    fn trace(&mut self, kind: TraceKind) {
        self.now += 300;
        self.traces.push(Trace { at: self.at(), kind });
    }

    fn end(&mut self, id: ProcessId, status: ExitStatus) {
        self.trace(TraceKind::Exited(id));
        self.statuses.push((id, Some(status)));
    }

    /// Ends a child, which its parent will reap some time.
    fn end_child(&mut self, child: ModelChild, status: ExitStatus) {
        self.trace(TraceKind::Exited(child.id));
        self.zombies.push((child, status));
    }

    /// The parent takes note of who has ended; then the kernel tells how.
    fn reap(&mut self) {
        for (child, status) in std::mem::take(&mut self.zombies) {
            self.statuses.push((child.id, Some(status)));
            if self.tells_reaping {
                self.trace(TraceKind::Reaped(child.id));
            }
        }
    }

    fn open_configuration(&mut self) {
        if !self.tells_opening {
            return;
        }
        self.trace(TraceKind::ConfigOpened);
        for (child, _) in self.zombies.clone() {
            self.traces.push(Trace { at: self.at(), kind: TraceKind::Lingers(child.id) });
        }
    }

    fn fork(&mut self) {
        if self.parent.is_some() && self.pending.is_empty() && self.children.len() < 8 {
            let id = self.process();
            self.children.push(ModelChild { id, generation: self.generation, held: false });
        }
    }

    fn write_pid_file(&mut self) {
        self.trace(TraceKind::PidFileWritten);
        self.stamp = PidFileStamp { written: self.at().wall, inode: self.stamp.inode + 1 };
    }

    fn start(&mut self) {
        if self.parent.is_some() {
            return;
        }
        self.parent = Some(self.process());
        self.generation = 0;
        self.shown_generation = 0;
        self.write_pid_file();
        self.now += 100;
        self.restart_time = self.at().wall.as_micros();
        self.fork();
        self.fork();
        self.truth.since_look += 1;
    }

    fn restart(&mut self, hard: bool) {
        if self.parent.is_none() {
            return;
        }
        self.finish();
        self.now += 2000;
        self.pending = if hard { HARD.into() } else { GRACEFUL.into() };
        self.pending_is_hard = hard;
        self.truth.since_look += 1;
    }

    /// A signal that comes in the middle of a restart is remembered until it has resumed.
    fn finish(&mut self) {
        while !self.pending.is_empty() {
            self.advance();
        }
    }

    fn advance(&mut self) {
        let Some(phase) = self.pending.pop_front() else { return };
        self.now += 100;
        match phase {
            Phase::Move => {
                self.leaves_a_seen_one = self.seen.contains(&self.generation);
                self.generation += 1;
                self.shown_generation = self.generation;
            }
            Phase::Dismiss => self.dismiss(),
            Phase::Clear => self.catches_crashes = false,
            Phase::Reclaim => self.reap(),
            Phase::Open => self.open_configuration(),
            Phase::WritePidFile => self.write_pid_file(),
            Phase::MakeScoreboard => {
                self.restart_time = self.at().wall.as_micros();
                self.shown_generation = 0;
            }
            Phase::FillScoreboard => self.shown_generation = self.generation,
            Phase::CatchSignals => {
                self.catches_crashes = true;
                let counter = if self.pending_is_hard {
                    &mut self.truth.hard
                } else {
                    &mut self.truth.graceful
                };
                *counter += 1;
                self.truth.drains += u64::from(self.leaves_a_seen_one && !self.pending_is_hard);
            }
            Phase::Fork => {
                self.reap();
                self.now += 400;
                let id = self.process();
                self.children.push(ModelChild { id, generation: self.generation, held: false });
            }
        }
    }

    fn dismiss(&mut self) {
        let hard = self.pending_is_hard;
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.children).into_iter().partition(|child| child.held && !hard);
        self.children = stay;
        for child in leave {
            self.end_child(child, ExitStatus::Code(0));
        }
    }

    fn kill(&mut self) {
        if let Some(parent) = self.parent.take() {
            self.pending.clear();
            self.catches_crashes = true;
            self.end(parent, ExitStatus::Signal(9));
            // Somebody else reaps them.
            self.reap();
            self.orphans.append(&mut self.children);
            self.truth.kills += 1;
            self.truth.since_look += 1;
        }
    }

    fn release(&mut self) {
        let generation = self.generation;
        let alone = self.parent.is_none();
        for child in &mut self.children {
            child.held = false;
        }
        let old = |child: &ModelChild| child.generation < generation || alone;
        let (leave, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.children).into_iter().partition(old);
        self.children = stay;
        for child in leave {
            self.end_child(child, ExitStatus::Code(0));
        }
        for child in std::mem::take(&mut self.orphans) {
            self.end(child.id, ExitStatus::Code(0));
        }
    }

    fn exit(&mut self, which: prop::sample::Index, status: ExitStatus) {
        if !self.children.is_empty() {
            let child = self.children.remove(which.index(self.children.len()));
            self.end_child(child, status);
        }
    }

    /// One look, in the order in which the sources are read. `torn`: httpd goes on meanwhile.
    fn snapshot(&mut self, torn: bool) -> ServerSnapshot {
        self.now += 1000;
        let at = self.at();
        let traces = std::mem::take(&mut self.traces);
        let statuses = std::mem::take(&mut self.statuses);
        let pid_file = Some(self.stamp);
        if torn {
            self.advance();
        }
        let table = self.table();
        if torn {
            self.advance();
        }
        let scoreboard = self.scoreboard();
        let seen = self.children.iter().filter(|it| table.children.contains_key(&it.id.pid));
        self.seen = seen.map(|child| child.generation).collect();
        let hidden = |seen: bool, why| if seen { None } else { Some(why) };
        let parent = self.parent.map(|id| ParentSighting {
            id,
            processes: hidden(self.sees_table, Why::Other).map_or(Part::Seen(table), Part::Unseen),
            scoreboard: match self.readable {
                Readable::Nothing => Part::Unseen(Why::Permission),
                Readable::Whole | Readable::NoSlots => hidden(self.sees_scoreboard, Why::Timeout)
                    .map_or(Part::Seen(scoreboard), Part::Unseen),
            },
            pid_file,
        });
        let orphans = self.orphans.iter().map(|it| it.seen(ProcessState::Alive)).collect();
        ServerSnapshot {
            at,
            traces,
            parent,
            hidden: None,
            starting: None,
            orphans,
            log: None,
            status: None,
            statuses,
            pid_file_left: false,
            resources: Resources::default(),
            drift: gracekeeper::model::drift::DriftSample::default(),
        }
    }

    fn table(&self) -> ProcessTable {
        let living = self.children.iter().map(|it| (it.id.pid, it.seen(ProcessState::Alive)));
        let ended = self.zombies.iter().map(|(it, _)| (it.id.pid, it.seen(ProcessState::Ended)));
        ProcessTable {
            state: ProcessState::Alive,
            catches_crashes: self.catches_crashes,
            children: living.chain(ended).collect(),
            well: self.children.iter().map(|child| child.id).collect(),
            halted: Vec::new(),
            threaded: true,
            waiting: Waiting::default(),
        }
    }

    fn scoreboard(&self) -> Scoreboard {
        let slots = self.children.iter().zip(0..).map(|(it, slot)| SlotRecord {
            slot: Slot::new(slot),
            pid: it.id.pid,
            generation: Generation::new(it.generation),
            quiescing: it.generation < self.generation,
            connections: 0,
            waiting: WaitingConnections::default(),
            graceful: GracefulWorkers::default(),
            begun: Vec::new(),
            untimed: Vec::new(),
            request: None,
            activity: None,
            predecessors: Vec::new(),
            workers: vec![(WorkerStatus::Sending, u32::from(it.held))],
            workers_left: Vec::new(),
        });
        Scoreboard {
            global: Global {
                server_limit: 8,
                thread_limit: 1,
                running_generation: Generation::new(self.shown_generation),
                restart_time: Timestamp::from_micros(self.restart_time),
            },
            slots: (self.readable == Readable::Whole).then(|| slots.collect()),
        }
    }
}

impl ModelChild {
    fn seen(&self, state: ProcessState) -> Child {
        Child { id: self.id, role: ChildRole::Httpd, state }
    }
}

/// The tracker and what it said.
struct Watched {
    tracker: ServerTracker,
    tally: Tally,
    last: Option<ServerSnapshot>,
    drained: BTreeMap<Generation, u32>,
    /// What the last one left behind, until the next one looks.
    memory: Option<ServerMemory>,
}

/// What another gracekeeper reads in the state directory.
fn through_a_file(memory: &ServerMemory) -> ServerMemory {
    serde_json::from_str(&serde_json::to_string(memory).unwrap()).unwrap()
}

/// Of what nobody saw, there are no traces, and nobody is told how a process ended.
fn unseen(snapshot: ServerSnapshot) -> ServerSnapshot {
    let statuses = snapshot.statuses.iter().map(|(id, _)| (*id, None)).collect();
    ServerSnapshot { traces: Vec::new(), statuses, ..snapshot }
}

impl Watched {
    /// The tracker is lost, but for what it had left in a file.
    fn relieve(&mut self) {
        let Some(last) = &self.last else { return };
        let memory = self.tracker.remember(last.at, &self.tally);
        self.memory = self.memory.take().or(Some(through_a_file(&memory)));
    }

    fn take_up(&mut self, snapshot: ServerSnapshot) -> ServerSnapshot {
        let Some(memory) = self.memory.take() else { return snapshot };
        let timeout = Duration::from_secs(60);
        self.tracker = ServerTracker::restored(timeout, &memory, snapshot.at);
        assert_eq!(Tally::restored(&memory.last).remember(), self.tally.remember());
        unseen(snapshot)
    }

    fn look(&mut self, model: &mut Model, torn: bool) {
        model.truth.crowded |= model.truth.since_look > 1;
        let snapshot = model.snapshot(torn);
        let snapshot = self.take_up(snapshot);
        let before = self.tally.clone();
        for event in self.tracker.observe(&snapshot) {
            self.tally.count(&event);
            if let Event::DrainEnded {
                generation, outcome: DrainOutcome::Drained, lasted, ..
            } = event
            {
                *self.drained.entry(generation).or_default() += 1;
                assert!(lasted < Duration::from_secs(3600), "{lasted:?}");
            }
        }
        assert_nothing_fell(&before, &self.tally);
        self.assert_laws_of_a_look(&snapshot, model.readable);
        let decided = self.tracker.assessment().restart_since.is_none();
        if model.sees_table && model.sees_scoreboard && model.pending.is_empty() && decided {
            model.truth.since_look = 0;
        }
        self.last = Some(ServerSnapshot { traces: Vec::new(), statuses: Vec::new(), ..snapshot });
    }

    fn assert_laws_of_a_look(&self, snapshot: &ServerSnapshot, readable: Readable) {
        // Who is asked to look again at once, at a moment that is over, never rests.
        let deadline = self.tracker.next_deadline();
        assert!(deadline.is_none_or(|deadline| deadline > snapshot.at), "{deadline:?}");
        let assessment = self.tracker.assessment();
        let stragglers = assessment.stragglers.as_ref().map(Vec::len);
        let old = assessment.children.map(|children| children.old as usize);
        assert_eq!(stragglers, old, "each old child has one cause");
        let Some(parent) = snapshot.parent.as_ref().filter(|_| assessment.parent.is_some()) else {
            return;
        };
        if readable == Readable::Nothing {
            assert_eq!(assessment.generation, None, "a counted number is not httpd's");
        }
        let settled = parent.processes.seen().is_some() && assessment.restart_since.is_none();
        if readable == Readable::NoSlots && settled {
            assert_eq!(assessment.serving, None);
        }
    }

    /// The same again tells nothing new, but that time has passed over an overlap.
    fn repeat(&mut self) {
        let Some(last) = self.last.as_ref().filter(|_| self.memory.is_none()) else { return };
        let events = self.tracker.observe(last);
        let news: Vec<_> = events
            .iter()
            .filter(|event| !matches!(event, Event::Overlapped { .. } | Event::ChildExited { .. }))
            .collect();
        assert!(news.is_empty(), "a repeated snapshot gave {news:?}");
        for event in &events {
            self.tally.count(event);
        }
    }
}

fn assert_nothing_fell(before: &Tally, after: &Tally) {
    for kind in RestartType::ALL {
        assert!(after.restarts[kind] >= before.restarts[kind]);
    }
    assert!(after.overlap >= before.overlap);
    assert!(after.child_starts >= before.child_starts);
    for outcome in DrainOutcome::ALL {
        assert!(after.drains[outcome].count() >= before.drains[outcome].count());
    }
}

fn run(steps: &[Step]) -> (Model, Watched) {
    run_with(Readable::Whole, steps)
}

fn run_with(readable: Readable, steps: &[Step]) -> (Model, Watched) {
    let mut model = Model::new(readable);
    let tracker = ServerTracker::new(Duration::from_secs(60));
    let mut watched = Watched {
        tracker,
        tally: Tally::default(),
        last: None,
        drained: BTreeMap::new(),
        memory: None,
    };
    watched.look(&mut model, false);
    for step in steps {
        do_step(step, &mut model, &mut watched);
    }
    (model, watched)
}

fn do_step(step: &Step, model: &mut Model, watched: &mut Watched) {
    match step {
        Step::Wait(milliseconds) => model.now += u64::from(*milliseconds) * 1000,
        Step::Fork => model.fork(),
        Step::Exit(which) => model.exit(*which, ExitStatus::Signal(11)),
        Step::Retire(which) => model.exit(*which, ExitStatus::Code(0)),
        Step::Hold(which) => {
            let count = model.children.len();
            if count > 0 {
                model.children[which.index(count)].held = true;
            }
        }
        Step::Release => model.release(),
        Step::Graceful => model.restart(false),
        Step::Hard => model.restart(true),
        Step::Kill => model.kill(),
        Step::Start => {
            if model.parent.is_none() {
                model.start();
            }
        }
        Step::Look => watched.look(model, false),
        Step::TornLook => watched.look(model, true),
        Step::Relieve => watched.relieve(),
        Step::Reap => {
            if model.pending.is_empty() {
                model.reap();
            }
        }
        Step::Configtest => model.open_configuration(),
        Step::LoseReaping(lost) => model.tells_reaping = !lost,
        Step::LoseOpening(lost) => model.tells_opening = !lost,
        Step::Advance => model.advance(),
        Step::Repeat => watched.repeat(),
        Step::LoseScoreboard(lost) => model.sees_scoreboard = !lost,
        Step::LoseTable(lost) => model.sees_table = !lost,
        // Not in the half millisecond between the pid file and the scoreboard of one restart,
        // whose order tells a hard restart from a graceful one after it.
        Step::SetClock(milliseconds) => {
            model.finish();
            model.wall += i64::from(*milliseconds) * 1000;
        }
    }
}

/// The same with everything visible, no parent's end, and looks between the restarts.
fn spaced(steps: Vec<Step>) -> Vec<Step> {
    let mut spaced = Vec::new();
    for step in steps {
        if matches!(step, Step::Kill | Step::LoseScoreboard(_) | Step::LoseTable(_) | Step::Relieve)
        {
            continue;
        }
        if matches!(step, Step::Graceful | Step::Hard) {
            spaced.extend(std::iter::repeat_n(Step::Advance, HARD.len()));
            spaced.extend([Step::Wait(50), Step::Look]);
        }
        spaced.push(step);
    }
    spaced
}

/// Two looks before each restart, for a child that one look saw may be younger than it seems; and
/// no pause in the middle, but a look at once.
fn twice_looked_at(steps: Vec<Step>) -> Vec<Step> {
    let mut looked = Vec::new();
    for step in steps {
        if matches!(step, Step::Graceful | Step::Hard) {
            // One child alone may have ended by itself.
            looked.extend([Step::Reap, Step::Fork, Step::Fork, Step::Wait(300), Step::Look]);
            looked.extend([Step::Wait(300), Step::Look, step]);
            looked.extend(std::iter::repeat_n(Step::Advance, HARD.len()));
            looked.extend([Step::Wait(50), Step::Look]);
            continue;
        }
        looked.push(step);
    }
    looked
}

/// Everything is let go and everything can be read again.
fn calm_down(model: &mut Model, watched: &mut Watched) {
    model.finish();
    model.sees_scoreboard = true;
    model.sees_table = true;
    // Longer than the clock may have been set back.
    for _ in 0..40 {
        model.release();
        model.fork();
        watched.look(model, false);
        model.now += 3_000_000;
    }
}

/// The parent is first seen while it reads its configuration again.
#[test]
fn a_restart_that_is_joined_is_counted_when_it_is_over() {
    for readable in [Readable::Whole, Readable::NoSlots] {
        let steps = [
            Step::Kill,
            Step::Start,
            Step::Wait(2100),
            Step::Hard,
            Step::Advance,
            Step::Advance,
            Step::Advance,
            Step::Look,
        ];
        let (mut model, mut watched) = run_with(readable, &steps);
        assert_eq!(watched.tally.restarts.values().sum::<u64>(), 0, "{readable:?}");
        calm_down(&mut model, &mut watched);
        let counted = |kind| watched.tally.restarts[&kind];
        assert_eq!((counted(RestartType::Graceful), counted(RestartType::Hard)), (0, 1));
    }
}

/// The last children of an old generation leave in order and are reaped together, just when the
/// first one of the running generation is forked, which no look has seen.
#[test]
fn children_that_no_look_saw_make_no_hard_restart() {
    let steps = [Step::Look, Step::Wait(1000), Step::Look];
    let (mut model, mut watched) = run_with(Readable::Nothing, &steps);
    for child in &mut model.children {
        child.held = true;
    }
    model.restart(false);
    while model.pending.len() > 1 {
        model.advance();
    }
    model.now += 50_000;
    watched.look(&mut model, false);
    model.release();
    watched.look(&mut model, false);
    model.now += 1_000_000;
    model.advance();
    model.restart(false);
    model.finish();
    watched.look(&mut model, false);
    calm_down(&mut model, &mut watched);
    assert_eq!((model.truth.graceful, model.truth.hard), (2, 0));
    assert_eq!(watched.tally.restarts[&RestartType::Hard], 0, "{:?}", watched.tally.restarts);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_restart_is_counted_once(steps in steps()) {
        let without_parents_end: Vec<Step> =
            steps.into_iter().filter(|step| !matches!(step, Step::Kill)).collect();
        let (mut model, mut watched) = run(&without_parents_end);
        calm_down(&mut model, &mut watched);
        let counted: u64 = watched.tally.restarts.values().sum();
        let truth = model.truth.graceful + model.truth.hard;
        prop_assert_eq!(counted, truth);
        prop_assert_eq!(watched.tally.contradictions, 0);
    }

    #[test]
    fn no_type_is_ever_wrong(steps in steps()) {
        let (mut model, mut watched) = run(&steps);
        calm_down(&mut model, &mut watched);
        let counted = |kind| watched.tally.restarts[&kind];
        prop_assert!(counted(RestartType::Graceful) <= model.truth.graceful);
        prop_assert!(counted(RestartType::Hard) <= model.truth.hard);
        prop_assert!(counted(RestartType::Full) <= model.truth.kills);
        let blind = steps.iter().any(|step| matches!(step, Step::LoseScoreboard(true)));
        if !model.truth.crowded && !blind {
            prop_assert_eq!(counted(RestartType::Unknown), 0);
        }
    }

    #[test]
    fn every_drain_ends_once(steps in steps()) {
        let (mut model, mut watched) = run(&steps);
        calm_down(&mut model, &mut watched);
        prop_assert_eq!(watched.tracker.assessment().drains.as_ref().map(BTreeMap::len), Some(0));
        if model.truth.kills == 0 {
            prop_assert!(watched.drained.values().all(|times| *times == 1), "{:?}", watched.drained);
        }
    }

    #[test]
    fn every_generation_that_was_seen_and_left_drains(steps in steps()) {
        let (mut model, mut watched) = run(&spaced(steps));
        calm_down(&mut model, &mut watched);
        let ended: u64 = watched.tally.drains.values().map(Histogram::count).sum();
        if !model.truth.crowded {
            prop_assert!(ended >= model.truth.drains, "{ended} of {}", model.truth.drains);
        }
    }

    #[test]
    fn without_a_scoreboard_no_type_is_ever_wrong(steps in steps()) {
        let (mut model, mut watched) = run_with(Readable::Nothing, &steps);
        calm_down(&mut model, &mut watched);
        let counted = |kind| watched.tally.restarts[&kind];
        let all = counted(RestartType::Graceful)
            + counted(RestartType::Hard)
            + counted(RestartType::Unknown);
        prop_assert!(all <= model.truth.graceful + model.truth.hard);
        prop_assert!(counted(RestartType::Graceful) <= model.truth.graceful);
        prop_assert!(counted(RestartType::Hard) <= model.truth.hard);
        prop_assert!(counted(RestartType::Full) <= model.truth.kills);
        prop_assert_eq!(watched.tracker.assessment().drains.as_ref().map(BTreeMap::len), Some(0));
        if model.truth.kills == 0 {
            prop_assert!(watched.drained.values().all(|times| *times == 1), "{:?}", watched.drained);
        }
    }

    #[test]
    fn without_a_scoreboard_what_was_watched_closely_has_a_type(steps in steps()) {
        let steps = steps.into_iter().filter(|step| {
            // What a single child does may be its own doing; what is not told cannot be known.
            let lost = matches!(step, Step::LoseReaping(_) | Step::LoseOpening(_));
            let left = matches!(step, Step::Exit(_) | Step::Retire(_));
            !lost && !left && !matches!(step, Step::TornLook | Step::SetClock(_))
        });
        let steps = twice_looked_at(spaced(steps.collect()));
        let (mut model, mut watched) = run_with(Readable::Nothing, &steps);
        calm_down(&mut model, &mut watched);
        let counted = |kind| watched.tally.restarts[&kind];
        if !model.truth.crowded {
            prop_assert_eq!(counted(RestartType::Graceful), model.truth.graceful);
            prop_assert_eq!(counted(RestartType::Hard), model.truth.hard);
        }
    }

    #[test]
    fn a_scoreboard_of_an_unknown_layout_still_tells_restarts(steps in steps()) {
        let (mut model, mut watched) = run_with(Readable::NoSlots, &steps);
        calm_down(&mut model, &mut watched);
        let counted = |kind| watched.tally.restarts[&kind];
        let all = counted(RestartType::Graceful)
            + counted(RestartType::Hard)
            + counted(RestartType::Unknown);
        prop_assert!(all <= model.truth.graceful + model.truth.hard);
        prop_assert!(counted(RestartType::Graceful) <= model.truth.graceful);
        prop_assert!(counted(RestartType::Hard) <= model.truth.hard);
        prop_assert!(counted(RestartType::Full) <= model.truth.kills);
    }

    #[test]
    fn those_who_live_are_counted(steps in steps()) {
        let (mut model, mut watched) = run(&steps);
        model.finish();
        model.sees_scoreboard = true;
        model.sees_table = true;
        watched.look(&mut model, false);
        let assessment = watched.tracker.assessment();
        prop_assert_eq!(assessment.up, Some(model.parent.is_some()));
        let children = assessment.children.unwrap_or_default();
        let living: BTreeSet<_> = model.children.iter().map(|child| child.id).collect();
        // An orphan that nobody ever saw in a slot is nobody's child.
        prop_assert!((children.current + children.old) as usize >= living.len());
        prop_assert!(
            (children.current + children.old) as usize <= living.len() + model.orphans.len()
        );
        let current = model.children.iter().filter(|it| it.generation == model.generation).count();
        if model.parent.is_some() {
            prop_assert_eq!(children.current as usize, current);
        }
    }

    /// Nothing happens from the memory's last look to the first of who takes up: from then on both
    /// tell the same.
    #[test]
    fn who_takes_up_goes_on_as_if_nothing_had_been(before in steps(), after in steps()) {
        let (mut model, mut first) = run(&before);
        model.sees_scoreboard = true;
        model.sees_table = true;
        first.look(&mut model, false);
        let last = first.last.clone().unwrap();
        let memory = first.tracker.remember(last.at, &first.tally);
        let mut second = ServerTracker::restored(Duration::from_secs(60), &memory, last.at);
        for tracker in [&mut first.tracker, &mut second] {
            let events = tracker.observe(&last);
            prop_assert_eq!(told(&events), []);
        }
        for step in after {
            let torn = matches!(step, Step::TornLook);
            if torn || matches!(step, Step::Look) {
                let snapshot = model.snapshot(torn);
                let events = first.tracker.observe(&snapshot);
                prop_assert_eq!(told(&events), told(&second.observe(&snapshot)));
            } else if !matches!(step, Step::Repeat | Step::Relieve) {
                do_step(&step, &mut model, &mut first);
            }
        }
    }

    #[test]
    fn what_happened_while_nobody_looked_is_told_with_its_type(
        before in steps(), hard in any::<bool>(), minutes in 0_u64..600
    ) {
        let (mut model, mut watched) = run(&before);
        prop_assume!(model.parent.is_some());
        calm_down(&mut model, &mut watched);
        let counted = watched.tally.restarts.clone();
        watched.relieve();
        model.restart(hard);
        model.finish();
        let ended = model.at();
        model.now += minutes * 60_000_000;
        watched.look(&mut model, false);
        let kind = if hard { RestartType::Hard } else { RestartType::Graceful };
        for other in RestartType::ALL {
            let expected = counted[other] + u64::from(*other == kind);
            prop_assert_eq!(watched.tally.restarts[other], expected, "{:?}", other);
        }
        let told = watched.tally.last_restart[&kind].as_micros();
        prop_assert!(told.abs_diff(ended.wall.as_micros()) < 20_000, "{told} {ended:?}");
        let timed = watched.tally.durations[&kind].sum();
        prop_assert!(timed < Duration::from_secs(3600));
    }
}

/// What is told of restarts, drains and stops. Busy workers are counted anew by who takes up, and
/// why a child left that left before is not known to him.
fn told(events: &[Event]) -> Vec<Event> {
    let silent = |event: &&Event| {
        let of_children = matches!(event, Event::ChildExited { .. } | Event::ChildCrashed { .. });
        !of_children && !matches!(event, Event::Overlapped { .. })
    };
    events.iter().filter(silent).cloned().collect()
}
