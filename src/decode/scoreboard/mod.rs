//! The scoreboard's layouts, told apart by what must hold between them and the process table.
//!
//! The size in front of a segment leaves exactly one question open: the stride of the process
//! array, which some releases index by its unrounded size. Read with the wrong stride it is
//! plausible nonsense, so the slots are given only once the stride is proven; what does not depend
//! on it is given at once. In reading order: [`layout`], `segment`, `request`, `record`, `proof`.

pub mod layout;
mod proof;
mod record;
mod request;
mod segment;

use std::collections::BTreeMap;

use self::{
    layout::Layout,
    proof::{Account, Verdict},
    segment::{Header, View},
};
use crate::model::{
    process::Pid,
    scoreboard::{Generation, Global, Scoreboard, ShowRequests},
    time::Timestamp,
};

/// What the process table says of the parent's family, to prove a layout with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family<'a> {
    /// Children whose program is the parent's own, zombies included, numbered as httpd itself sees
    /// them: in its own PID namespace.
    pub httpd_children: &'a [FamilyMember],
}

/// A child of the parent that may have a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyMember {
    /// Its process number, in httpd's PID namespace.
    pub pid: Pid,
    /// It has not ended; a zombie has, and keeps its slot until it is reaped.
    pub alive: bool,
    /// It is not known to be a daemon without a slot; true when in doubt.
    pub may_be_worker: bool,
}

/// A scoreboard and how it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it says, as far as proven.
    pub scoreboard: Scoreboard,
    /// The layout that was proven now, or before and not contradicted now.
    ///
    /// `None` does not disprove the layout kept: a restart within a reading does that too, so
    /// callers keep theirs until another is proven or the parent is another.
    pub layout: Option<Layout>,
}

/// Why bytes are not read as a scoreboard at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is less than the scoreboard says it is, or than any has.
    #[error("{have} bytes of a scoreboard of {need}")]
    TooShort {
        /// How many bytes there are.
        have: u64,
        /// How many there should be.
        need: u64,
    },
    /// No known release makes a scoreboard of this size for these limits.
    #[error("no known scoreboard has {size} bytes for {server_limit} slots of {thread_limit}")]
    NoScoreboard {
        /// The segment's own first word.
        size: u64,
        /// What would be the number of slots.
        server_limit: u32,
        /// What would be the number of workers of a slot.
        thread_limit: u32,
    },
    /// The size is a scoreboard's, what it says is not; or it is just being made.
    #[error("a scoreboard of generation {running_generation}, made at {restart_time} us")]
    Implausible {
        /// What would be the running generation.
        running_generation: i32,
        /// What would be the time of the restart, in microseconds since the epoch.
        restart_time: i64,
    },
}

/// The children that may have a slot, and whether they live.
#[derive(Clone, Debug, Default)]
struct Members(BTreeMap<Pid, bool>);

/// The size of the header that all layouts share.
const SHARED_HEADER: u64 = 32;
/// The largest page of the architectures that Linux runs on: a mapping is rounded up to it.
const LARGEST_PAGE: u64 = 65_536;
/// 2000-01-01 and 2200-01-01: a restart was between them.
const PLAUSIBLE_MICROS: std::ops::Range<i64> = 946_684_800_000_000..7_258_118_400_000_000;

/// Reads a segment, which may be longer than its scoreboard.
///
/// `kept` is the layout once proven for this executable and parent: with it the slots are read
/// also while no child lives, unless the process table speaks against it. Of what workers are asked
/// for, `show` is read, and only of children that are below the running generation.
///
/// # Errors
///
/// A [`Refusal`] when not even the running generation and the restart time can be believed.
pub fn decode(
    segment: &[u8],
    family: &Family<'_>,
    kept: Option<Layout>,
    show: ShowRequests,
) -> Result<Reading, Refusal> {
    let have = u64::try_from(segment.len()).unwrap_or(u64::MAX);
    let too_short = |need| Refusal::TooShort { have, need };
    let header = Header::read(segment).ok_or(too_short(SHARED_HEADER))?;
    let global = global(header)?;
    if have < header.size {
        return Err(too_short(header.size));
    }
    let members = Members::of(family);
    let account = |layout| {
        let view = View::new(segment, header, layout)?;
        Some(Account::take(view, header, layout, &members, show))
    };
    let accounts: Vec<Account> = header.layouts().filter_map(account).collect();
    let Verdict { slots, layout } = proof::judge(&accounts, kept);
    Ok(Reading { scoreboard: Scoreboard { global, slots }, layout })
}

/// Whether a mapping of `mapped` bytes that begins with `head` (32 bytes or more) is worth decoding.
#[must_use]
pub fn could_be(head: &[u8], mapped: u64) -> bool {
    Header::read(head).is_some_and(|header| {
        let slack = mapped.checked_sub(header.size);
        slack.is_some_and(|slack| slack < LARGEST_PAGE) && global(header).is_ok()
    })
}

/// What all layouts that fit agree on.
fn global(header: Header) -> Result<Global, Refusal> {
    let Header { size, server_limit, thread_limit, running_generation, restart_time } = header;
    if header.layouts().next().is_none() {
        return Err(Refusal::NoScoreboard { size, server_limit, thread_limit });
    }
    if running_generation < 0 || !PLAUSIBLE_MICROS.contains(&restart_time) {
        return Err(Refusal::Implausible { running_generation, restart_time });
    }
    Ok(Global {
        server_limit,
        thread_limit,
        running_generation: Generation::new(running_generation),
        restart_time: Timestamp::from_micros(restart_time),
    })
}

impl Members {
    fn of(family: &Family<'_>) -> Self {
        let workers = family.httpd_children.iter().filter(|member| member.may_be_worker);
        Self::new(workers.map(|member| (member.pid, member.alive)))
    }

    fn new(members: impl Iterator<Item = (Pid, bool)>) -> Self {
        Self(members.collect())
    }

    fn contains(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    fn is_alive(&self, pid: Pid) -> bool {
        self.0.get(&pid).is_some_and(|alive| *alive)
    }
}
