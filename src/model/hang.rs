//! Restarts that do not end: what holds them up.

use super::label::closed_set;

closed_set! {
    /// What a restart waits for that is past its limit.
    HangCause {
        /// Somebody, or a program, is to type a key's pass phrase.
        Passphrase = "passphrase",
        /// The configuration is being read, for whatever reason that takes so long.
        Configuration = "configuration",
        /// Children do not end.
        Children = "children",
        /// The parent is stopped, or deep in the kernel.
        Stopped = "stopped",
        /// Nothing tells.
        Unknown = "unknown",
    }
}

closed_set! {
    /// Who is asked for a pass phrase: `SSLPassPhraseDialog`.
    Dialog {
        /// `exec:/program`, run once for each key.
        Exec = "exec",
        /// `|/program`, which is asked through a pipe.
        Pipe = "pipe",
        /// A person at the terminal.
        Builtin = "builtin",
    }
}

closed_set! {
    /// What became of a prompt for a pass phrase.
    PromptOutcome {
        /// httpd goes on, with the pass phrase or without.
        Answered = "answered",
        /// The process that asked was ended by a signal, and httpd with it.
        Killed = "killed",
        /// httpd gave up.
        Failed = "failed",
    }
}
