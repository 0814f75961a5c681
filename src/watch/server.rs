//! One watched server: its observer, its tracker and its counters, and what the log says of it.

use std::time::Duration;

use tracing::{info, warn};

use crate::{
    expose::metrics::ServerView,
    model::{event::Event, snapshot::Trace, source::Why, time::Moment},
    observe::{
        discovery::Found,
        server::{Instruments, ServerObserver, Target},
    },
    track::{server::ServerTracker, tally::Tally},
};

/// One server and what is kept of it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) observer: ServerObserver,
    tracker: ServerTracker,
    tally: Tally,
}

impl Server {
    pub(super) fn new(name: String, number: usize, target: Target, timeout: Duration) -> Self {
        Self {
            name,
            observer: ServerObserver::new(number, target),
            tracker: ServerTracker::new(timeout),
            tally: Tally::default(),
        }
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
        if let Some(doubt) = self.observer.new_doubt(doubt) {
            info!(server = self.name, reason = doubt.reason, "pid file names no httpd");
        }
        for event in self.tracker.observe(&snapshot) {
            self.tally.count(&event);
            self.log(&event);
        }
        for change in self.tracker.witness_changes() {
            let (server, source) = (&self.name, change.source.label());
            if let Some(reason) = change.why.map(Why::label) {
                warn!(server, source, reason, "source gives nothing");
            } else {
                info!(server, source, "source answers again");
            }
        }
    }

    fn log(&self, event: &Event) {
        let server = &self.name;
        match event {
            Event::ParentAppeared { parent, .. } => info!(server, pid = %parent.pid, "up"),
            Event::Restarted { kind, took, interrupted, .. } => {
                let seconds = took.map(seconds);
                info!(server, r#type = kind.label(), seconds, interrupted, "restarted");
            }
            Event::RestartFailed { reason, .. } => {
                warn!(server, reason = reason.label(), "restart failed");
            }
            Event::Stopped { kind, .. } => info!(server, r#type = kind.label(), "stopped"),
            Event::DrainEnded { generation, lasted, children, outcome } => info!(
                server,
                %generation,
                seconds = seconds(*lasted),
                children,
                outcome = outcome.label(),
                "drain ended"
            ),
            Event::Contradicted(what) => warn!(server, what = what.label(), "contradiction"),
            Event::RestartBegan { .. }
            | Event::ServedAgain { .. }
            | Event::DrainBegan { .. }
            | Event::ChildDrained { .. }
            | Event::ChildrenStarted { .. }
            | Event::ChildExited { .. }
            | Event::Overlapped { .. } => {}
        }
    }
}

/// Seconds as people read them: to the microsecond, never with an exponent.
fn seconds(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}
