//! Snapshots for the machines' tests, told in milliseconds of an httpd's life.

use std::time::Duration;

use super::{server::ServerTracker, tally::Tally};
use crate::model::{
    drift::DriftSample,
    event::{Event, FailureReason},
    log::{Claim, LogReport, Saying},
    process::{Child, ChildRole, ExitStatus, Pid, ProcessId, ProcessState, ProcessTable},
    resources::Resources,
    scoreboard::{
        Generation, Global, GracefulWorkers, Scoreboard, Slot, SlotRecord, WaitingConnections,
        WorkerStatus,
    },
    snapshot::{ParentSighting, Part, PidFileStamp, ServerSnapshot, Trace, TraceKind},
    source::Why,
    time::{Moment, Timestamp, Uptime},
    waiting::{Helper, Waiting},
};

/// When the httpd of a test was started.
const BIRTH: Moment = Moment {
    uptime: Uptime::from_micros(1_000_000_000),
    wall: Timestamp::from_micros(1_800_000_000_000_000),
};

/// A moment, in milliseconds after the httpd was started.
pub(super) fn after(milliseconds: u64) -> Moment {
    BIRTH.after(Duration::from_millis(milliseconds))
}

/// A process by its number, started then.
pub(super) fn process(pid: i32, started: u64) -> ProcessId {
    ProcessId { pid: Pid::new(pid).unwrap(), started: after(started).uptime }
}

/// The first slot, which a child of this number and generation has.
pub(super) fn slot(pid: i32, generation: i32, workers: &[(WorkerStatus, u32)]) -> SlotRecord {
    SlotRecord {
        slot: Slot::new(0),
        pid: Pid::new(pid).unwrap(),
        generation: Generation::new(generation),
        quiescing: false,
        connections: 0,
        waiting: WaitingConnections::default(),
        workers: workers.to_vec(),
        graceful: GracefulWorkers::default(),
        begun: Vec::new(),
        untimed: Vec::new(),
        workers_left: Vec::new(),
        request: None,
        activity: None,
        predecessors: Vec::new(),
    }
}

/// An httpd as it may be seen, and a tracker that sees it.
pub(super) struct Story {
    pub(super) tracker: ServerTracker,
    pub(super) tally: Tally,
    pub(super) parent: Option<ProcessId>,
    /// Number, start, generation.
    pub(super) children: Vec<(i32, u64, i32)>,
    pub(super) orphans: Vec<(i32, u64)>,
    pub(super) generation: i32,
    /// When the scoreboard was made; `None`: there is none to be read.
    pub(super) scoreboard: Option<u64>,
    /// Why there is none.
    pub(super) scoreboard_unseen: Why,
    /// The programs that the parent has started, and for which it may wait.
    pub(super) helpers: Vec<Helper>,
    pub(super) catches_crashes: bool,
    /// When the pid file was written.
    pub(super) pid_file: u64,
    pub(super) busy: u32,
    /// What the error log will claim in the next look.
    pub(super) claims: Vec<Claim>,
    /// What it will say.
    pub(super) sayings: Vec<Saying>,
    /// Why it cannot be read, if it cannot.
    pub(super) log_unseen: Option<Why>,
    /// Why the process table cannot be read, if it cannot.
    pub(super) table_unseen: Option<Why>,
    /// The next look finds the pid file as a parent left it that has ended.
    pub(super) pid_file_left: bool,
    pub(super) resources: Resources,
    pub(super) drift: DriftSample,
    /// Who is stopped, or frozen under a deadly signal.
    pub(super) halted: Vec<ProcessId>,
    traces: Vec<Trace>,
    statuses: Vec<(ProcessId, Option<ExitStatus>)>,
}

impl Story {
    /// A parent of number 1 with the children 11 and 12, seen twice while nothing happens.
    pub(super) fn of_a_running_httpd() -> Self {
        let mut story = Self {
            tracker: ServerTracker::new(Duration::from_secs(60)),
            tally: Tally::default(),
            parent: Some(process(1, 0)),
            children: vec![(11, 20, 0), (12, 20, 0)],
            orphans: Vec::new(),
            generation: 0,
            scoreboard: Some(11),
            scoreboard_unseen: Why::Missing,
            helpers: Vec::new(),
            catches_crashes: true,
            pid_file: 10,
            busy: 0,
            claims: Vec::new(),
            sayings: Vec::new(),
            log_unseen: None,
            table_unseen: None,
            pid_file_left: false,
            resources: Resources::default(),
            drift: DriftSample::default(),
            halted: Vec::new(),
            traces: Vec::new(),
            statuses: Vec::new(),
        };
        story.look(1000);
        story.look(2000);
        story
    }

    pub(super) fn trace(&mut self, at: u64, kind: TraceKind) {
        self.traces.push(Trace { at: after(at), kind });
    }

    /// The configuration is opened and the pid file written.
    pub(super) fn reads_configuration(&mut self, opened: u64, written: u64) {
        self.trace(opened, TraceKind::ConfigOpened);
        self.trace(written, TraceKind::PidFileWritten);
        self.pid_file = written;
    }

    /// A child leaves, and it is known how.
    pub(super) fn exit(&mut self, pid: i32, at: u64, status: ExitStatus) {
        let place = self.children.iter().position(|child| child.0 == pid).unwrap();
        let (pid, started, _) = self.children.remove(place);
        self.ended(process(pid, started), at, Some(status));
    }

    /// A line that the next look reads: by the process of this number, or raw.
    pub(super) fn says(&mut self, at: u64, pid: Option<i32>, reason: FailureReason, text: &str) {
        let (after, before) = (after(at), after(at + 1));
        let pid = pid.and_then(Pid::new);
        let text = text.to_owned();
        self.sayings.push(Saying { reason: Some(reason), text, pid, after, before });
    }

    pub(super) fn ended(&mut self, id: ProcessId, at: u64, status: Option<ExitStatus>) {
        self.trace(at, TraceKind::Exited(id));
        self.statuses.push((id, status));
    }

    pub(super) fn look(&mut self, at: u64) -> Vec<Event> {
        let snapshot = self.snapshot(at);
        let events = self.tracker.observe(&snapshot);
        for event in &events {
            self.tally.count(event);
        }
        events
    }

    fn snapshot(&mut self, at: u64) -> ServerSnapshot {
        let row = |pid, started| Child {
            id: process(pid, started),
            role: ChildRole::Httpd,
            state: ProcessState::Alive,
        };
        let rows = self.children.iter().map(|(pid, started, _)| row(*pid, *started));
        let workers = [(WorkerStatus::Ready, 5), (WorkerStatus::Sending, self.busy)];
        let slots = self.children.iter().zip(0..).map(|((pid, _, generation), number)| {
            SlotRecord { slot: Slot::new(number), ..slot(*pid, *generation, &workers) }
        });
        let scoreboard = self.scoreboard.map(|made| Scoreboard {
            global: Global {
                server_limit: 8,
                thread_limit: 5,
                running_generation: Generation::new(self.generation),
                restart_time: after(made).wall,
            },
            slots: Some(slots.collect()),
        });
        let processes = ProcessTable {
            state: ProcessState::Alive,
            catches_crashes: self.catches_crashes,
            children: rows.map(|child| (child.id.pid, child)).collect(),
            well: Vec::new(),
            halted: self.halted.clone(),
            threaded: true,
            waiting: Waiting { helpers: self.helpers.clone(), ..Waiting::default() },
        };
        let processes = self.table_unseen.map_or(Part::Seen(processes), Part::Unseen);
        let inode = self.pid_file;
        let pid_file = Some(PidFileStamp { written: after(self.pid_file).wall, inode });
        let log = LogReport {
            claims: std::mem::take(&mut self.claims),
            sayings: std::mem::take(&mut self.sayings),
            ..LogReport::default()
        };
        let scoreboard = scoreboard.map_or(Part::Unseen(self.scoreboard_unseen), Part::Seen);
        ServerSnapshot {
            at: after(at),
            traces: std::mem::take(&mut self.traces),
            parent: self.parent.map(|id| ParentSighting { id, processes, scoreboard, pid_file }),
            hidden: None,
            starting: None,
            log: Some(self.log_unseen.map_or(Part::Seen(log), Part::Unseen)),
            status: None,
            orphans: self.orphans.iter().map(|(pid, started)| row(*pid, *started)).collect(),
            statuses: std::mem::take(&mut self.statuses),
            pid_file_left: std::mem::take(&mut self.pid_file_left),
            resources: self.resources.clone(),
            drift: self.drift.clone(),
        }
    }
}
