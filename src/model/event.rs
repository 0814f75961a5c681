//! What changed: the trackers' output, folded into counters and written into the log.

use std::time::Duration;

use super::{
    drift::Reason,
    exhaustion::Exhaustion,
    hang::{Dialog, HangCause, PromptOutcome},
    label::closed_set,
    log::LogReport,
    process::ProcessId,
    scoreboard::Generation,
    time::{Moment, Timestamp},
};

closed_set! {
    /// What a restart was.
    RestartType {
        /// SIGUSR1: the generation moved, the scoreboard was kept.
        Graceful = "graceful",
        /// SIGHUP: the scoreboard is new, the parent is not.
        Hard = "hard",
        /// Another parent serves.
        Full = "full",
        /// Seen, but its type is not proven.
        Unknown = "unknown",
    }
}

closed_set! {
    /// Why a parent went away.
    StopType {
        /// SIGTERM or SIGINT.
        Stop = "stop",
        /// SIGWINCH.
        GracefulStop = "graceful_stop",
        /// It ended in a restart.
        FailedRestart = "failed_restart",
        /// A fatal signal, or a fatal child.
        Crash = "crash",
        /// SIGKILL.
        Killed = "killed",
        /// Its exit status is not to be had.
        Unknown = "unknown",
    }
}

closed_set! {
    /// Why a restart ended with the parent's end.
    FailureReason {
        /// The configuration could not be read.
        Config = "config",
        /// A certificate or key.
        Tls = "tls",
        /// A key's pass phrase.
        Passphrase = "passphrase",
        /// An address is taken.
        Bind = "bind",
        /// A module could not be loaded, or the MPM was changed.
        Module = "module",
        /// Memory, descriptors, semaphores.
        Resources = "resources",
        /// A log could not be opened.
        Log = "log",
        /// A fatal signal.
        Crash = "crash",
        /// It hung and was ended.
        Timeout = "timeout",
        /// Nothing proves a reason.
        Unknown = "unknown",
    }
}

closed_set! {
    /// How a drain ended.
    DrainOutcome {
        /// Every child of the generation left.
        Drained = "drained",
        /// gracekeeper ended the last children.
        Terminated = "terminated",
        /// A hard restart or the parent's end came first.
        Interrupted = "interrupted",
    }
}

closed_set! {
    /// Why a child ended.
    ExitReason {
        /// It was of an old generation and had finished.
        Drained = "drained",
        /// It was of the running generation and left in order.
        Recycled = "recycled",
        /// SIGSEGV.
        Segv = "segv",
        /// SIGABRT.
        Abort = "abort",
        /// SIGKILL: the OOM killer, or the parent's last resort.
        Killed = "killed",
        /// Another signal.
        Signal = "signal",
        /// Exit code 15, `APEXIT_CHILDFATAL`, or another code that is not 0.
        Fatal = "fatal",
        /// The parent ended it, in a hard restart or a stop.
        Terminated = "terminated",
        /// Its exit status is not to be had.
        Unknown = "unknown",
    }
}

closed_set! {
    /// Two witnesses that cannot both be right, or an observation that httpd cannot produce.
    Contradiction {
        /// The running generation of one scoreboard fell.
        GenerationFell = "generation_fell",
        /// The error log tells of a start, a restart or a stop that nothing else knows of.
        UnconfirmedLine = "unconfirmed_line",
        /// `mod_status` tells another generation than a better witness.
        ServerStatus = "server_status",
    }
}

/// Something that became true of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A parent was identified.
    ParentAppeared {
        /// Who.
        parent: ProcessId,
        /// When it started.
        started: Moment,
    },
    /// The parent took a restart's signal.
    RestartBegan {
        /// When.
        at: Moment,
    },
    /// The parent resumed: one of these for each generation that it went through.
    Restarted {
        /// What it was.
        kind: RestartType,
        /// When the signal was taken.
        began: Moment,
        /// From the signal to resuming; `None` where no trace tells.
        took: Option<Duration>,
        /// The generation that it left behind, where generations are known.
        left: Option<Generation>,
        /// Not the first in its look.
        coalesced: bool,
        /// Workers that were busy when a hard or full restart cut them off.
        interrupted: u32,
    },
    /// The first child of the new generation lives.
    ServedAgain {
        /// The restart's type.
        kind: RestartType,
        /// Since the signal.
        unserved: Duration,
    },
    /// The parent ended before it resumed.
    RestartFailed {
        /// What it was, if that is proven.
        kind: RestartType,
        /// When the signal was taken.
        began: Moment,
        /// Why, if that is proven.
        reason: FailureReason,
        /// httpd's own words, if it said any.
        detail: Option<String>,
    },
    /// A restart is past its limit.
    RestartHung {
        /// When its signal was taken.
        began: Moment,
        /// What it waits for.
        cause: HangCause,
    },
    /// httpd began to wait for a key's pass phrase.
    PromptBegan {
        /// When.
        at: Moment,
        /// Whom it asks.
        dialog: Dialog,
    },
    /// httpd waits for a pass phrase no more.
    PromptEnded {
        /// When it began to.
        began: Moment,
        /// What became of it.
        outcome: PromptOutcome,
    },
    /// A fatal signal ended a child.
    ChildCrashed {
        /// When.
        at: Moment,
        /// Its number.
        signal: u8,
    },
    /// A limit was reached that was not before.
    Exhausted {
        /// When.
        at: Moment,
        /// Which.
        what: Exhaustion,
    },
    /// The parent ended.
    Stopped {
        /// When.
        at: Moment,
        /// Why.
        kind: StopType,
    },
    /// A generation began to drain.
    DrainBegan {
        /// Which.
        generation: Generation,
        /// When.
        at: Moment,
    },
    /// A drain is over.
    DrainEnded {
        /// Whose.
        generation: Generation,
        /// How long it took.
        lasted: Duration,
        /// How many children it was waited for.
        children: u32,
        /// How it ended.
        outcome: DrainOutcome,
    },
    /// A child of a draining generation left.
    ChildDrained {
        /// How long after the restart's signal.
        after: Duration,
    },
    /// Children of the running generation were started.
    ChildrenStarted {
        /// How many were not there in the look before.
        count: u32,
    },
    /// A child ended and it is known why, or known that it will not be known.
    ChildExited {
        /// Why.
        reason: ExitReason,
    },
    /// More than one generation was alive for this long since the last look.
    Overlapped {
        /// For how long.
        lasted: Duration,
    },
    /// What lies on disk is not what was loaded.
    Owed {
        /// What it is.
        reason: Reason,
        /// The change's own time, where that is known.
        since: Option<Timestamp>,
    },
    /// What lies on disk is what was loaded again.
    Paid {
        /// What it was.
        reason: Reason,
    },
    /// The error log was read.
    LogRead(LogReport),
    /// What cannot be.
    Contradicted(Contradiction),
}
