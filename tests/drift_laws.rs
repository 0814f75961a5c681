//! A small model of httpd, its files and the tracker side by side: whatever is changed and restarted
//! in whatever order, what is owed is what httpd has not read.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use gracekeeper::{
    model::{
        drift::{DriftSample, Reason},
        event::Event,
        files::{Content, Digest, FileList, FileSighting, FileSightings, KeyFile, Listing},
        process::{Child, ChildRole, ExitStatus, Pid, ProcessId, ProcessState, ProcessTable},
        resources::Resources,
        scoreboard::{
            Generation, Global, GracefulWorkers, Scoreboard, Slot, SlotRecord, WaitingConnections,
            WorkerStatus,
        },
        snapshot::{ParentSighting, Part, PidFileStamp, ServerSnapshot, Trace, TraceKind},
        source::Why,
        time::{Moment, Timestamp, Uptime},
        tls::{Certificate, KeyAlgorithm, Served, ServedCertificates},
        waiting::Waiting,
    },
    track::{drift::Owed, memory::ServerMemory, server::ServerTracker, tally::Tally},
};
use proptest::prelude::*;

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Edit(File, u8),
    Touch(File),
    TakeBack(File),
    /// The included file gets its other name.
    Rename,
    /// Its directory is moved away, and another one to its place, whose file is an old one.
    Swap(u8),
    RestartGraceful,
    RestartHard,
    RestartFull,
    /// A restart begins, and waits.
    Hang,
    /// It goes on.
    Resume,
    LoseSource(bool),
    Repeat,
    /// gracekeeper is killed, and another one takes up, with what it left or without.
    StartGracekeeperAnew(bool),
    /// A handshake with a listener.
    Probe,
    Configtest,
    Look,
    Wait(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Main,
    Included,
    Certificate,
    Key,
}

const FILES: [File; 4] = [File::Main, File::Included, File::Certificate, File::Key];
/// What debounces changes waits so long for more of them, in microseconds.
const QUIET: u64 = 150_000;

fn file() -> impl Strategy<Value = File> {
    prop::sample::select(&FILES[..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (file(), 0_u8..4).prop_map(|(file, content)| Step::Edit(file, content)),
        2 => file().prop_map(Step::Touch),
        4 => file().prop_map(Step::TakeBack),
        2 => Just(Step::Rename),
        2 => (0_u8..4).prop_map(Step::Swap),
        4 => Just(Step::RestartGraceful),
        2 => Just(Step::RestartHard),
        1 => Just(Step::RestartFull),
        1 => Just(Step::Hang),
        2 => Just(Step::Resume),
        1 => any::<bool>().prop_map(Step::LoseSource),
        2 => Just(Step::Repeat),
        1 => any::<bool>().prop_map(Step::StartGracekeeperAnew),
        2 => Just(Step::Probe),
        1 => Just(Step::Configtest),
        3 => Just(Step::Look),
        4 => (1_u16..2000).prop_map(Step::Wait),
    ]
}

/// One file on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    content: u8,
    changed: u64,
}

/// Everything that httpd reads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    entries: BTreeMap<File, Entry>,
    /// The included file has its other name.
    renamed: bool,
    listed: u64,
}

#[derive(Debug)]
struct Model {
    now: u64,
    next_pid: i32,
    parent: ProcessId,
    generation: i32,
    restart_time: u64,
    stamp: PidFileStamp,
    disk: Disk,
    /// What the running generation read.
    loaded: Disk,
    /// What a restart that hangs has read.
    reading: Option<Disk>,
    /// When the last restart began to read, and when it had.
    opened: Timestamp,
    written: Timestamp,
    /// Since when changes were not sighted.
    unsighted: Option<u64>,
    /// When the first of them was heard of.
    heard: Option<u64>,
    sightings: Arc<FileSightings>,
    served: Option<Arc<ServedCertificates>>,
    loses: bool,
    has_swapped: bool,
    traces: Vec<Trace>,
    statuses: Vec<(ProcessId, Option<ExitStatus>)>,
}

fn wall(now: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(now).unwrap())
}

/// Files are stamped by the kernel's last tick.
fn stamp(now: u64) -> Timestamp {
    wall(now / 4000 * 4000)
}

fn moment(now: u64) -> Moment {
    Moment { uptime: Uptime::from_micros(now), wall: wall(now) }
}

fn certificate(content: u8) -> Certificate {
    Certificate {
        begins: wall(0),
        ends: wall(1 << 50),
        fingerprint: Digest([content; 16]),
        algorithm: KeyAlgorithm::Rsa,
    }
}

/// A slot with one worker that is ready.
fn slot(pid: Pid, generation: i32) -> SlotRecord {
    SlotRecord {
        slot: Slot::new(0),
        pid,
        generation: Generation::new(generation),
        quiescing: false,
        connections: 0,
        waiting: WaitingConnections::default(),
        workers: vec![(WorkerStatus::Ready, 1)],
        graceful: GracefulWorkers::default(),
        begun: Vec::new(),
        untimed: Vec::new(),
        workers_left: Vec::new(),
        request: None,
        activity: None,
        predecessors: Vec::new(),
    }
}

impl Disk {
    fn path(&self, file: File) -> PathBuf {
        PathBuf::from(match file {
            File::Main => "/etc/httpd.conf",
            File::Included if self.renamed => "/etc/conf.d/b.conf",
            File::Included => "/etc/conf.d/a.conf",
            File::Certificate => "/etc/tls/cert.pem",
            File::Key => "/etc/tls/key.pem",
        })
    }

    /// What differs, by the reason.
    fn differs(&self, other: &Self, reason: Reason) -> bool {
        let content = |file: File| self.entries[&file].content != other.entries[&file].content;
        if reason == Reason::Config {
            return self.renamed != other.renamed || content(File::Main) || content(File::Included);
        }
        content(File::Certificate) || content(File::Key)
    }

    fn sightings(&self) -> FileSightings {
        let list = FileList {
            configuration: vec![self.path(File::Main), self.path(File::Included)],
            patterns: vec![PathBuf::from("/etc/conf.d/*.conf")],
            certificates: vec![self.path(File::Certificate)],
            keys: vec![self.path(File::Key)],
            ..FileList::default()
        };
        let sighting = |entry: &Entry| FileSighting {
            content: Content::Bytes(Digest([entry.content; 16])),
            changed: Some(stamp(entry.changed)),
            modified: Some(stamp(entry.changed)),
        };
        let files = self.entries.iter();
        let files = files.map(|(file, entry)| (self.path(*file), sighting(entry)));
        let names = Content::Bytes(Digest([u8::from(self.renamed); 16]));
        let listing = Listing { content: names, changed: Some(stamp(self.listed)) };
        let leaf = certificate(self.entries[&File::Certificate].content);
        FileSightings {
            files: files.collect(),
            listings: BTreeMap::from([(list.patterns[0].clone(), listing)]),
            certificates: BTreeMap::from([(self.path(File::Certificate), leaf)]),
            keys: BTreeMap::from([(self.path(File::Key), KeyFile { is_encrypted: true })]),
            list: Arc::new(list),
            ..FileSightings::default()
        }
    }
}

impl Model {
    fn new() -> Self {
        let now = 10_000_000_000;
        let entry = Entry { content: 0, changed: now - 1_000_000 };
        let entries = FILES.map(|file| (file, entry)).into();
        let disk = Disk { entries, renamed: false, listed: now - 1_000_000 };
        let parent = ProcessId { pid: Pid::new(100).unwrap(), started: Uptime::from_micros(now) };
        let mut model = Self {
            now,
            next_pid: 101,
            parent,
            generation: 0,
            restart_time: now,
            stamp: PidFileStamp { written: stamp(now), inode: 1 },
            loaded: disk.clone(),
            reading: None,
            opened: wall(now),
            written: wall(now),
            unsighted: None,
            heard: None,
            sightings: Arc::new(disk.sightings()),
            disk,
            served: None,
            loses: false,
            has_swapped: false,
            traces: Vec::new(),
            statuses: Vec::new(),
        };
        model.now += 3_000_000;
        model
    }

    fn trace(&mut self, kind: TraceKind) {
        self.now += 300;
        self.traces.push(Trace { at: moment(self.now), kind });
    }

    /// Changes that are over are sighted before another one is made.
    fn is_quiet(&self) -> bool {
        self.unsighted.is_some_and(|since| self.now - since >= QUIET)
    }

    fn sight(&mut self) {
        self.unsighted = None;
        let unchanged_until = self.heard.take().map(moment);
        self.sightings = Arc::new(FileSightings { unchanged_until, ..self.disk.sightings() });
    }

    fn change(&mut self, file: File, content: u8) {
        // Two ticks: what changes in the tick of its reading cannot be told from what changed before.
        self.now += 9000;
        self.unsighted = Some(self.now);
        self.heard.get_or_insert(self.now);
        self.disk.entries.insert(file, Entry { content, changed: self.now });
    }

    /// Of a parent that nobody watched only the end of its reading is known, by its pid file.
    fn was_changed_while_read(&self) -> bool {
        let changes = self.disk.entries.values().map(|entry| entry.changed);
        let mut changes = changes.chain([self.disk.listed]).map(wall);
        changes.any(|changed| changed > self.opened && changed < self.written)
    }

    fn rename(&mut self) {
        self.now += 9000;
        self.unsighted = Some(self.now);
        self.heard.get_or_insert(self.now);
        self.disk.renamed = !self.disk.renamed;
        self.disk.listed = self.now;
        let entry = self.disk.entries.get_mut(&File::Included).unwrap();
        entry.changed = self.now;
    }

    /// What lies there differs, and is older than the load.
    fn hides_a_swap(&self) -> bool {
        let (disk, loaded) =
            (self.disk.entries[&File::Included], self.loaded.entries[&File::Included]);
        disk.content != loaded.content && wall(disk.changed) < self.opened
    }

    fn swap(&mut self, content: u8) {
        self.has_swapped = true;
        let changed = self.now - 5_000_000;
        self.change(File::Included, content);
        self.disk.entries.insert(File::Included, Entry { content, changed });
    }

    fn hang(&mut self) {
        if self.reading.is_none() {
            self.now += 9000;
            self.generation += 1;
            self.trace(TraceKind::ConfigOpened);
            self.opened = wall(self.now);
            self.reading = Some(self.disk.clone());
        }
    }

    fn resume(&mut self) {
        if let Some(read) = self.reading.take() {
            self.trace(TraceKind::PidFileWritten);
            self.written = wall(self.now);
            self.stamp = PidFileStamp { written: stamp(self.now), inode: self.stamp.inode + 1 };
            self.loaded = read;
            self.now += 9000;
        }
    }

    fn restart(&mut self, hard: bool) {
        self.resume();
        self.hang();
        self.resume();
        if hard {
            self.restart_time = self.now;
        }
    }

    fn restart_full(&mut self) {
        self.reading = None;
        self.served = None;
        let old = self.parent;
        self.trace(TraceKind::Exited(old));
        self.statuses.push((old, Some(ExitStatus::Code(0))));
        self.now += 40_000;
        let pid = Pid::new(self.next_pid).unwrap();
        self.next_pid += 1;
        self.parent = ProcessId { pid, started: Uptime::from_micros(self.now) };
        self.loaded = self.disk.clone();
        self.opened = wall(self.now);
        self.generation = 0;
        // A start is told in ticks, so that what follows at once may have been read.
        self.now += 25_000;
        self.restart_time = self.now;
        self.written = wall(self.now);
        self.stamp = PidFileStamp { written: stamp(self.now), inode: self.stamp.inode + 1 };
        self.now += 9000;
    }

    /// Asked under this load, as far as anybody knows.
    fn probe(&mut self, load: u64) {
        let leaf = certificate(self.loaded.entries[&File::Certificate].content);
        let path = self.disk.path(File::Certificate);
        self.served = Some(Arc::new(BTreeMap::from([(path, Served { result: Ok(leaf), load })])));
    }

    fn snapshot(&mut self) -> ServerSnapshot {
        self.now += 1000;
        let child = ProcessId {
            pid: Pid::new(
                self.parent.pid.as_raw()
                    + 10_000
                    + (self.generation - i32::from(self.reading.is_some())) * 7,
            )
            .unwrap(),
            started: self.parent.started,
        };
        let row = Child { id: child, role: ChildRole::Httpd, state: ProcessState::Alive };
        let table = ProcessTable {
            state: ProcessState::Alive,
            catches_crashes: self.reading.is_none(),
            children: [(child.pid, row)].into(),
            well: Vec::new(),
            halted: Vec::new(),
            threaded: true,
            waiting: Waiting::default(),
        };
        let global = Global {
            server_limit: 16,
            thread_limit: 64,
            running_generation: Generation::new(self.generation),
            restart_time: wall(self.restart_time),
        };
        let slot = slot(child.pid, self.generation - i32::from(self.reading.is_some()));
        let files = if self.loses {
            Part::Unseen(Why::Other)
        } else {
            Part::Seen(Arc::clone(&self.sightings))
        };
        ServerSnapshot {
            at: moment(self.now),
            traces: std::mem::take(&mut self.traces),
            parent: Some(ParentSighting {
                id: self.parent,
                processes: Part::Seen(table),
                scoreboard: Part::Seen(Scoreboard { global, slots: Some(vec![slot]) }),
                pid_file: Some(self.stamp),
            }),
            hidden: None,
            starting: None,
            orphans: Vec::new(),
            log: None,
            status: None,
            statuses: std::mem::take(&mut self.statuses),
            pid_file_left: false,
            resources: Resources::default(),
            drift: DriftSample {
                files: Some(files),
                served: self.served.clone().map(Part::Seen),
                ..DriftSample::default()
            },
        }
    }
}

/// The tracker and what it told.
struct Watched {
    tracker: ServerTracker,
    told: BTreeMap<Reason, bool>,
    last: Option<ServerSnapshot>,
    anew: Option<ServerMemory>,
    /// Nothing was missed since the tracker began.
    saw_all: bool,
}

const WATCHED: [Reason; 2] = [Reason::Config, Reason::Certificate];

impl Watched {
    fn new() -> Self {
        Self {
            tracker: ServerTracker::new(Duration::from_secs(60)),
            told: BTreeMap::new(),
            last: None,
            anew: None,
            saw_all: true,
        }
    }

    fn knows(&self, parent: ProcessId) -> bool {
        let last = self.last.as_ref().and_then(|last| last.parent.as_ref());
        last.is_some_and(|last| last.id == parent)
    }

    fn start_anew(&mut self, keeps: bool) {
        let Some(last) = &self.last else { return };
        let memory = self.tracker.remember(last.at, &Tally::default());
        let text = serde_json::to_string(&memory).unwrap();
        let kept = keeps.then(|| serde_json::from_str(&text).unwrap());
        self.anew = Some(kept.unwrap_or_default());
    }

    fn look(&mut self, model: &mut Model) {
        let mut snapshot = model.snapshot();
        if let Some(memory) = self.anew.take() {
            let timeout = Duration::from_secs(60);
            self.tracker = ServerTracker::restored(timeout, &memory, snapshot.at);
            self.told.clear();
            self.saw_all = false;
            snapshot.traces.clear();
        }
        let events = self.tracker.observe(&snapshot);
        self.hear(&events);
        if model.loses {
            self.saw_all = false;
            assert!(!events.iter().any(is_of_drift), "{events:?}");
        }
        for reason in WATCHED {
            let owed = self.tracker.assessment().drift.owed.get(&reason);
            assert_eq!(owed.is_none(), model.loses, "{reason:?}");
            let owed = owed.map(|owed| *owed != Owed::Nothing);
            assert!(
                owed.is_none_or(|owed| owed == self.told.get(&reason).copied().unwrap_or(false))
            );
            // Of several restarts in one look nothing is decided until the last one is over.
            let decided = self.tracker.assessment().restart_since.is_none();
            let sighted = decided && model.unsighted.is_none();
            if let Some(owed) = owed.filter(|_| sighted) {
                let differs = model.disk.differs(&model.loaded, reason);
                assert!(owed || !differs, "{reason:?} is not loaded");
            }
        }
        self.last = Some(ServerSnapshot { traces: Vec::new(), statuses: Vec::new(), ..snapshot });
    }

    /// Each thing is told once.
    fn hear(&mut self, events: &[Event]) {
        for event in events {
            let (reason, owed) = if let Event::Owed { reason, .. } = event {
                (*reason, true)
            } else if let Event::Paid { reason } = event {
                (*reason, false)
            } else {
                continue;
            };
            assert_eq!(self.told.insert(reason, owed).unwrap_or(false), !owed, "{event:?}");
        }
    }

    fn repeat(&mut self) {
        if let Some(last) = self.last.clone().filter(|_| self.anew.is_none()) {
            let events = self.tracker.observe(&last);
            assert!(!events.iter().any(is_of_drift), "{events:?}");
        }
    }
}

fn is_of_drift(event: &Event) -> bool {
    matches!(event, Event::Owed { .. } | Event::Paid { .. })
}

fn do_step(step: Step, model: &mut Model, watched: &mut Watched) {
    if model.is_quiet() {
        model.sight();
        watched.look(model);
    }
    match step {
        Step::Edit(file, content) => model.change(file, content),
        Step::Touch(file) => model.change(file, model.disk.entries[&file].content),
        Step::TakeBack(file) => model.change(file, model.loaded.entries[&file].content),
        Step::Rename => model.rename(),
        Step::Swap(_) if model.loses || watched.anew.is_some() => {}
        Step::Swap(content) => {
            if model.unsighted.is_some() {
                model.sight();
            }
            watched.look(model);
            model.swap(content);
            model.sight();
            watched.look(model);
        }
        Step::RestartGraceful => model.restart(false),
        Step::RestartHard => model.restart(true),
        Step::RestartFull => model.restart_full(),
        // When a restart began that is found in progress, nobody can tell.
        Step::Hang if watched.anew.is_some() || !watched.knows(model.parent) => {}
        Step::Hang => model.hang(),
        Step::Resume => model.resume(),
        Step::LoseSource(loses) => model.loses = loses,
        Step::Repeat => watched.repeat(),
        Step::StartGracekeeperAnew(_) if model.reading.is_some() => {}
        Step::StartGracekeeperAnew(_) if model.was_changed_while_read() => {}
        // What happens while nobody looks is told by stamps alone, which say nothing of a swap.
        Step::StartGracekeeperAnew(keeps)
            if !keeps || model.has_swapped || model.unsighted.is_some() || model.loses => {}
        Step::StartGracekeeperAnew(_) if !model.traces.is_empty() => {}
        // A stamp from before the load says nothing to who did not see it come.
        Step::StartGracekeeperAnew(keeps)
            if model.hides_a_swap() && (!keeps || model.loses || watched.anew.is_some()) => {}
        Step::StartGracekeeperAnew(keeps) => {
            watched.start_anew(keeps);
            model.served = None;
        }
        Step::Probe => {
            if let Some(loading) = watched.tracker.loading().filter(|_| watched.knows(model.parent))
            {
                model.probe(loading.number);
            }
        }
        Step::Configtest => {
            if model.reading.is_none() {
                model.trace(TraceKind::ConfigOpened);
            }
        }
        Step::Look => watched.look(model),
        Step::Wait(milliseconds) => model.now += u64::from(milliseconds) * 1000,
    }
}

fn settle(model: &mut Model, watched: &mut Watched) {
    model.now += 1_000_000;
    if model.unsighted.is_some() {
        model.sight();
    }
    watched.look(model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each look asserts that what differs is owed, and each telling that it is the first.
    #[test]
    fn what_is_not_loaded_is_owed_and_told_once(steps in prop::collection::vec(step(), 1..60)) {
        let (mut model, mut watched) = (Model::new(), Watched::new());
        watched.look(&mut model);
        for step in steps {
            do_step(step, &mut model, &mut watched);
        }
        model.loses = false;
        model.resume();
        settle(&mut model, &mut watched);
        model.restart(false);
        settle(&mut model, &mut watched);
        for reason in WATCHED {
            let owed = watched.tracker.assessment().drift.owed[&reason];
            prop_assert_eq!(owed, Owed::Nothing, "a restart pays");
        }
    }

    #[test]
    fn what_is_loaded_is_not_owed_where_all_was_seen(steps in prop::collection::vec(step(), 1..60)) {
        let (mut model, mut watched) = (Model::new(), Watched::new());
        watched.look(&mut model);
        for step in steps {
            do_step(step, &mut model, &mut watched);
            settle(&mut model, &mut watched);
            for reason in WATCHED {
                let owed = watched.tracker.assessment().drift.owed.get(&reason);
                if let Some(owed) = owed.filter(|_| watched.saw_all) {
                    let differs = model.disk.differs(&model.loaded, reason);
                    prop_assert_eq!(*owed != Owed::Nothing, differs, "{:?}", reason);
                }
            }
        }
    }

    #[test]
    fn the_configuration_has_one_number_wherever_it_was_loaded(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut model, mut watched) = (Model::new(), Watched::new());
        watched.look(&mut model);
        for step in steps {
            do_step(step, &mut model, &mut watched);
        }
        model.loses = false;
        model.restart(false);
        settle(&mut model, &mut watched);
        model.restart(false);
        settle(&mut model, &mut watched);
        let mut other = Watched::new();
        settle(&mut model, &mut other);
        let hash = |watched: &Watched| watched.tracker.assessment().drift.config_hash;
        prop_assert!(hash(&watched).is_some_and(|hash| hash < 1 << 52));
        prop_assert_eq!(hash(&watched), hash(&other));
    }
}
