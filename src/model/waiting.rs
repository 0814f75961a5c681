//! What an httpd may be waiting for: programs that it started, and whether it goes on at all.

use super::process::ProcessId;

/// What a child that runs another program is there for, as far as its command line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HelperKind {
    /// A program that is known to write logs.
    Logger,
    /// It is called as `mod_ssl` calls an `exec:` dialog, or is known to ask for pass phrases.
    Asker,
    /// It is called as `mod_ssl` calls an `exec:` source of `SSLRandomSeed`: with a number.
    RandomSource,
    /// Any other.
    Other,
}

/// A child that runs another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Who.
    pub id: ProcessId,
    /// What its command line tells.
    pub kind: HelperKind,
    /// Its command line, arguments that end in NUL, at most 4 KiB of it. Never shown.
    pub command: Vec<u8>,
    /// It has ended, and nobody has reaped it: who reads its configuration reaps nobody.
    pub ended: bool,
}

/// Whether an httpd makes progress, and who is there for it to wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How often it gave up a processor or lost one: unchanged while it waits.
    pub turns: Option<u64>,
    /// It asks for a pass phrase at a terminal.
    pub reads_terminal: bool,
    /// Its children that run other programs, of the ended only those that were seen to live; read while it reads its configuration, and
    /// before that so that they are known then.
    pub helpers: Vec<Helper>,
}

/// An httpd that is starting: it has no pid file and no children that serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starting {
    /// Who.
    pub id: ProcessId,
    /// What it waits for.
    pub waiting: Waiting,
}
