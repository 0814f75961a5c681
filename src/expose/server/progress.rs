//! How far a connection is: what its deadline and its place in the queue of the dropped follow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::model::time::{Moment, Uptime};

use super::limits::Limits;

/// Where a connection stands between its client and the server.
///
/// ```text
///            bytes          complete request       body handed over
///  Silent ─────────▶ Reading ─────────▶ Answering ─────────▶ Flushing
///                       ▲                   ▲   next, pipelined  │ │
///                       │ bytes             └────────────────────┘ │ all in the kernel
///                       └──────────────── Idle ◀───────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Silent,
    /// A handshake or a part of a request has come.
    Reading,
    /// The request is complete; its answer is made or sent.
    Answering,
    /// The whole answer is handed over, but not all of it is sent.
    Flushing,
    /// At least one request is answered and no byte of the next has come.
    Idle,
}

/// The phase of one connection and since when it lasts.
///
/// Written by the connection's own task only and read by the accepting one, so that two plain
/// atomics do what a lock would.
#[derive(Debug)]
pub(super) struct Progress {
    /// Microseconds since boot, then three bits of phase.
    cell: AtomicU64,
    unread_body: AtomicBool,
}

impl Progress {
    /// A connection that was accepted at `now`.
    pub(super) fn new(now: Moment) -> Self {
        let cell = AtomicU64::new(encode(Phase::Silent, now.uptime));
        Self { cell, unread_body: AtomicBool::new(false) }
    }

    /// The phase and its beginning.
    pub(super) fn get(&self) -> (Phase, Uptime) {
        decode(self.cell.load(Ordering::Relaxed))
    }

    fn set(&self, phase: Phase, since: Uptime) {
        self.cell.store(encode(phase, since), Ordering::Relaxed);
    }

    /// Bytes have come.
    pub(super) fn received(&self, now: Moment) {
        match self.get() {
            // The time to send the first request runs from the connection, not from its first byte.
            (Phase::Silent, since) => self.set(Phase::Reading, since),
            (Phase::Idle, _) => self.set(Phase::Reading, now.uptime),
            (Phase::Reading | Phase::Answering | Phase::Flushing, _) => {}
        }
    }

    /// A request is complete.
    pub(super) fn request_complete(&self, now: Moment) {
        match self.get() {
            // A client that pipelines requests and reads no answer must not renew its time.
            (Phase::Flushing | Phase::Answering, since) => self.set(Phase::Answering, since),
            (Phase::Silent | Phase::Reading | Phase::Idle, _) => {
                self.set(Phase::Answering, now.uptime);
            }
        }
    }

    /// The server has nothing to add to the answer.
    pub(super) fn handed_over(&self) {
        if let (Phase::Answering, since) = self.get() {
            self.set(Phase::Flushing, since);
        }
    }

    /// All that was written is in the kernel.
    pub(super) fn flushed(&self, now: Moment) {
        if let (Phase::Flushing, _) = self.get() {
            self.set(Phase::Idle, now.uptime);
        }
    }

    /// The request carries a body that nobody will read.
    pub(super) fn note_unread_body(&self) {
        self.unread_body.store(true, Ordering::Relaxed);
    }

    /// Whether the client may be sending still when the server has said its last word.
    pub(super) fn client_may_be_sending(&self) -> bool {
        self.unread_body.load(Ordering::Relaxed) || self.get().0 == Phase::Reading
    }

    /// Whether an answer would be torn if the connection ended now.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.get().0, Phase::Answering | Phase::Flushing)
    }

    /// The time that is left for this phase; zero when it is over.
    pub(super) fn time_left(&self, limits: &Limits, now: Moment) -> Duration {
        let (phase, since) = self.get();
        let limit = match phase {
            Phase::Silent | Phase::Reading => limits.request,
            Phase::Answering | Phase::Flushing => limits.answer,
            Phase::Idle => limits.idle,
        };
        limit.saturating_sub(now.since(now.at_uptime(since)))
    }

    /// Who of one origin goes first when there is no room: the smallest.
    ///
    /// First those that never complete a request, then the idle (their clients connect again
    /// without noticing), at last those whose answer is on its way; the oldest of each.
    pub(super) fn precedence(&self) -> (u8, Uptime) {
        let (phase, since) = self.get();
        let class = match phase {
            Phase::Silent | Phase::Reading => 0,
            Phase::Idle => 1,
            Phase::Answering | Phase::Flushing => 2,
        };
        (class, since)
    }
}

const PHASE_BITS: u32 = 3;

fn encode(phase: Phase, since: Uptime) -> u64 {
    let phase = match phase {
        Phase::Silent => 0,
        Phase::Reading => 1,
        Phase::Answering => 2,
        Phase::Flushing => 3,
        Phase::Idle => 4,
    };
    since.as_micros() << PHASE_BITS | phase
}

fn decode(cell: u64) -> (Phase, Uptime) {
    let phase = match cell & ((1 << PHASE_BITS) - 1) {
        0 => Phase::Silent,
        1 => Phase::Reading,
        2 => Phase::Answering,
        3 => Phase::Flushing,
        _ => Phase::Idle,
    };
    (phase, Uptime::from_micros(cell >> PHASE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;

    fn at(seconds: u64) -> Moment {
        Moment {
            uptime: Uptime::from_micros(seconds * 1_000_000),
            wall: Timestamp::from_micros(1_800_000_000_000_000),
        }
    }

    #[test]
    fn a_phase_survives_its_encoding() {
        for phase in [Phase::Silent, Phase::Reading, Phase::Answering, Phase::Flushing, Phase::Idle]
        {
            let since = at(123_456_789).uptime;
            assert_eq!(decode(encode(phase, since)), (phase, since));
        }
    }

    #[test]
    fn one_byte_now_and_then_wins_no_time() {
        let progress = Progress::new(at(100));
        progress.received(at(109));
        let left = progress.time_left(&Limits::default(), at(109));
        assert_eq!(left, Duration::from_secs(1));
        progress.received(at(110));
        assert_eq!(progress.time_left(&Limits::default(), at(110)), Duration::ZERO);
    }

    #[test]
    fn a_kept_connection_has_its_own_time_for_each_request() {
        let progress = Progress::new(at(100));
        progress.received(at(100));
        progress.request_complete(at(101));
        progress.handed_over();
        assert!(progress.is_answering());
        progress.flushed(at(102));
        assert_eq!(progress.time_left(&Limits::default(), at(102)), Duration::from_secs(90));
        progress.received(at(150));
        assert_eq!(progress.time_left(&Limits::default(), at(150)), Duration::from_secs(10));
    }

    #[test]
    fn pipelined_requests_do_not_renew_the_time_of_unread_answers() {
        let progress = Progress::new(at(100));
        progress.request_complete(at(100));
        progress.handed_over();
        progress.request_complete(at(129));
        assert_eq!(progress.time_left(&Limits::default(), at(129)), Duration::from_secs(1));
    }

    #[test]
    fn the_one_without_a_request_goes_before_the_idle_and_the_older_before_the_newer() {
        let (old, new, idle) =
            (Progress::new(at(50)), Progress::new(at(60)), Progress::new(at(10)));
        idle.request_complete(at(10));
        idle.handed_over();
        idle.flushed(at(11));
        let busy = Progress::new(at(1));
        busy.request_complete(at(1));
        let mut queue = [&busy, &idle, &new, &old];
        queue.sort_by_key(|progress| progress.precedence());
        let since: Vec<_> = queue.iter().map(|p| p.get().1.as_micros() / 1_000_000).collect();
        assert_eq!(since, [50, 60, 11, 1]);
    }
}
