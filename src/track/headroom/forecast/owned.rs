//! What children own: memory that would be free if they were not there.
//!
//! A child that was not read counts as the mean of those that were read after they had started: it
//! will come to own what they do. The memory by role that is shown says what was read, so there the
//! mean is that of all, and less than here until those who were just born are read again.

use std::collections::BTreeMap;

use super::super::{
    HeadroomLook,
    memory::{Figure, figures},
};
use crate::model::{headroom::Role, process::ProcessId, time::Moment};

/// A child writes most of what it owns while it starts; a figure from before says little of it.
const STARTS_WITHIN_MICROS: u64 = 300_000;

/// The figures of one look.
pub(super) struct Holdings<'a> {
    at: Moment,
    parent_is_detached: bool,
    /// The parent and all children, each with what was read of it last, and when.
    processes: Vec<Figure<'a>>,
    /// The mean of what was read of each role, in bytes.
    means: BTreeMap<Role, u64>,
    /// What all children own, in bytes.
    all: Option<u64>,
}

/// A sum, and how many figures it is made of.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: u128,
    count: u32,
}

impl<'a> Holdings<'a> {
    /// The figures of one look; `None` while memory is not read.
    pub(super) fn of(look: &HeadroomLook<'a>) -> Option<Self> {
        let sample = look.resources.memory.as_ref()?.seen()?;
        let processes = figures(sample, look.roles).collect();
        let (at, parent_is_detached, means) = (look.at, sample.parent_is_detached, BTreeMap::new());
        let mut holdings = Self { at, parent_is_detached, processes, means, all: None };
        holdings.means = [Role::Current, Role::Old]
            .into_iter()
            .filter_map(|role| Some((role, holdings.mean_of(role)?)))
            .collect();
        let nobody = holdings.children().next().is_none();
        if nobody || holdings.children().any(|(_, _, read)| read.is_some()) {
            holdings.all = Some(holdings.sum(|_| true));
        }
        Some(holdings)
    }

    /// What a child of the running generation owns; `None` while no such child was read.
    pub(super) fn mean(&self) -> Option<u64> {
        self.means.get(&Role::Current).copied()
    }

    /// Some child of the running generation was read after it had started.
    pub(super) fn is_mature(&self) -> bool {
        self.figures(Role::Current).any(|(_, is_mature)| is_mature)
    }

    /// What of the parent's memory a restart makes anew, so that old children keep what it was: what
    /// a child of the running generation wrote and yet does not own, it got from its parent.
    ///
    /// One that detached itself was forked too, and so has what any forked process comes to own, as by
    /// a library's handler of forks; no configuration rewrites that, and as little does anything tell
    /// it from what is rewritten: pools are mapped like it. It is taken to be what a child owns.
    pub(super) fn parent_heap(&self) -> u64 {
        let mut inherited = Mean::default();
        for (_, _, read) in self.children().filter(|(_, role, _)| *role == Role::Current) {
            if let Some((rollup, _)) = read {
                inherited.add(rollup.anonymous.saturating_sub(rollup.private));
            }
        }
        let forked = if self.parent_is_detached { self.mean() } else { None };
        inherited.value().unwrap_or(0).saturating_sub(forked.unwrap_or(0))
    }

    /// What these children own together, in bytes; who was not read counts as the mean of those of
    /// its role that were.
    pub(super) fn sum(&self, which: impl Fn(ProcessId) -> bool) -> u64 {
        let private = |(_, role, read): Figure<'_>| {
            let figure = read.map(|(rollup, _)| rollup.private);
            figure.or_else(|| self.means.get(&role).copied()).unwrap_or(0)
        };
        let children = self.children().filter(|(id, _, _)| which(*id));
        children.map(private).fold(0, u64::saturating_add)
    }

    /// What the parent and all children use together, in bytes, and when the oldest figure in it
    /// was read; `None` unless everybody was.
    pub(super) fn used(&self) -> Option<(u64, Moment)> {
        let mut oldest = self.at;
        let mut sum = 0_u64;
        for (_, _, read) in &self.processes {
            let (rollup, read) = (*read)?;
            oldest = oldest.min(*read);
            sum = sum.saturating_add(rollup.pss);
        }
        Some((sum, oldest))
    }

    /// What all children own, in bytes; `None` while none of them was read, unless there is none.
    pub(super) const fn all(&self) -> Option<u64> {
        self.all
    }

    /// Some of these children is of the running generation.
    pub(super) fn is_any_current(&self, which: impl Fn(ProcessId) -> bool) -> bool {
        self.children().any(|(id, role, _)| role == Role::Current && which(id))
    }

    /// Every child.
    fn children(&self) -> impl Iterator<Item = Figure<'a>> {
        self.processes.iter().copied().filter(|(_, role, _)| *role != Role::Parent)
    }

    /// The figures of a role, each with whether it was read after the child had started.
    fn figures(&self, of: Role) -> impl Iterator<Item = (u64, bool)> {
        let children = self.children().filter(move |(_, role, _)| *role == of);
        children.filter_map(|(id, _, read)| {
            let (rollup, read) = read?;
            let age = read.uptime.as_micros().saturating_sub(id.started.as_micros());
            Some((rollup.private, age >= STARTS_WITHIN_MICROS))
        })
    }

    fn mean_of(&self, role: Role) -> Option<u64> {
        let (mut all, mut mature) = (Mean::default(), Mean::default());
        for (private, is_mature) in self.figures(role) {
            all.add(private);
            if is_mature {
                mature.add(private);
            }
        }
        mature.value().or(all.value())
    }
}

impl Mean {
    fn add(&mut self, figure: u64) {
        self.sum += u128::from(figure);
        self.count += 1;
    }

    fn value(self) -> Option<u64> {
        u64::try_from(self.sum.checked_div(u128::from(self.count))?).ok()
    }
}
