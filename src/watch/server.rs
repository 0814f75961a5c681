//! One watched server: its observer, its tracker and its counters, and what the log says of it.

use std::time::Duration;

use tracing::{info, warn};

use super::mend::mend;

use crate::{
    expose::metrics::ServerView,
    model::{event::Event, snapshot::Trace, time::Moment},
    observe::{
        discovery::Found,
        server::{Doubt, Instruments, Past, ServerObserver, Target},
    },
    track::{memory::ServerMemory, server::ServerTracker, tally::Tally},
};

/// One server and what is kept of it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) observer: ServerObserver,
    tracker: ServerTracker,
    tally: Tally,
    orphans: u32,
}

impl Server {
    pub(super) fn new(name: String, number: usize, target: Target, timeout: Duration) -> Self {
        Self {
            name,
            observer: ServerObserver::new(number, target),
            tracker: ServerTracker::new(timeout),
            tally: Tally::default(),
            orphans: 0,
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
        ServerView { name: &self.name, assessment: self.tracker.assessment(), tally: &self.tally }
    }

    pub(super) fn next_deadlines(&self) -> impl Iterator<Item = Moment> {
        self.tracker.next_deadline().into_iter().chain(self.observer.next_deadline())
    }

    pub(super) fn look(
        &mut self,
        at: Moment,
        traces: Vec<Trace>,
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) {
        let (snapshot, doubt) = self.observer.look(at, traces, found, instruments);
        let pid_file = self.observer.target().pid_file.clone().unwrap_or_default();
        if let Some(Doubt { reason, .. }) = self.observer.new_doubt(doubt) {
            let pid_file = pid_file.display();
            warn!(server = self.name, %pid_file, reason, "pid file names no httpd");
        }
        for event in self.tracker.observe(&snapshot) {
            self.tally.count(&event);
            self.log(&event);
        }
        for change in self.tracker.witness_changes() {
            let (server, source) = (&self.name, change.source.label());
            match change.why {
                None => info!(server, source, "source answers again"),
                Some(why) => {
                    let (reason, mend) = (why.label(), mend(change.source, why));
                    warn!(server, source, reason, mend, "source gives nothing");
                }
            }
        }
        let orphans = self.tracker.assessment().orphans.unwrap_or(0);
        if self.tracker.assessment().parent.is_none() && orphans > self.orphans {
            warn!(server = self.name, children = orphans, "orphans go on without a parent");
        }
        self.orphans = orphans;
    }

    fn log(&self, event: &Event) {
        let server = &self.name;
        match event {
            Event::ParentAppeared { parent, .. } => info!(server, pid = %parent.pid, "up"),
            Event::Restarted { kind, took, interrupted, .. } => {
                let seconds = took.map(|took| took.as_secs_f64());
                info!(server, r#type = kind.label(), seconds, interrupted, "restarted");
            }
            Event::ServedAgain { kind, unserved } => {
                info!(
                    server,
                    r#type = kind.label(),
                    seconds = unserved.as_secs_f64(),
                    "served again"
                );
            }
            Event::RestartFailed { reason, .. } => {
                warn!(server, reason = reason.label(), "restart failed");
            }
            Event::Stopped { kind, .. } => info!(server, r#type = kind.label(), "stopped"),
            Event::DrainEnded { generation, lasted, children, outcome } => info!(
                server,
                %generation,
                seconds = lasted.as_secs_f64(),
                children,
                outcome = outcome.label(),
                "drain ended"
            ),
            Event::Contradicted(what) => warn!(server, what = what.label(), "contradiction"),
            Event::RestartBegan { .. }
            | Event::DrainBegan { .. }
            | Event::ChildDrained { .. }
            | Event::ChildrenStarted { .. }
            | Event::ChildExited { .. }
            | Event::Overlapped { .. }
            | Event::LogRead(_) => {}
        }
    }
}
