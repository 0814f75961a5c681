//! Memory by role, summed up from what was sampled.

use std::collections::BTreeMap;

use super::HeadroomLook;
use crate::model::{
    headroom::Role,
    process::ProcessId,
    resources::{MemorySample, Rollup},
    time::Moment,
};

/// Memory by role; empty while it cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryHeadroom {
    /// Sums over the processes of each role; a child that was not sampled counts as the mean of
    /// those that were. A role that nobody has is zero, one of which nobody was sampled is absent.
    pub by_role: BTreeMap<Role, Rollup>,
    /// When the oldest figure in it was read.
    pub oldest: Option<Moment>,
}

/// Sums up memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryTracker;

/// A process with what was read last of it, and when.
pub(super) type Figure<'a> = (ProcessId, Role, Option<&'a (Rollup, Moment)>);

/// What was sampled of one role.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    processes: u32,
    sampled: u32,
    of_sampled: Rollup,
}

impl MemoryTracker {
    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> MemoryHeadroom {
        let sample = look.resources.memory.as_ref().and_then(|memory| memory.seen());
        sample.map(|sample| sum(sample, look.roles)).unwrap_or_default()
    }
}

/// Everybody with what was read last of him. Both are sorted, and are gone through once: this is
/// done in each look.
pub(super) fn figures<'a>(
    sample: &'a MemorySample,
    roles: &BTreeMap<ProcessId, Role>,
) -> impl Iterator<Item = Figure<'a>> {
    let mut figures = sample.processes.iter().peekable();
    roles.iter().map(move |(id, role)| {
        while figures.next_if(|(other, _)| *other < id).is_some() {}
        let figure = figures.next_if(|(other, _)| *other == id);
        (*id, *role, figure.map(|(_, figure)| figure))
    })
}

fn sum(sample: &MemorySample, roles: &BTreeMap<ProcessId, Role>) -> MemoryHeadroom {
    let mut sums: BTreeMap<Role, Sum> =
        [Role::Current, Role::Old].map(|role| (role, Sum::default())).into();
    let mut oldest: Option<Moment> = None;
    for (_, role, figure) in figures(sample, roles) {
        let sum = sums.entry(role).or_default();
        sum.processes += 1;
        if let Some((memory, at)) = figure {
            sum.add(memory);
            oldest = Some(oldest.map_or(*at, |oldest| oldest.min(*at)));
        }
    }
    let by_role = sums.into_iter().filter_map(|(role, sum)| Some((role, sum.of_all()?))).collect();
    MemoryHeadroom { by_role, oldest }
}

impl Sum {
    fn add(&mut self, memory: &Rollup) {
        let sum = &mut self.of_sampled;
        self.sampled += 1;
        sum.pss = sum.pss.saturating_add(memory.pss);
        sum.private = sum.private.saturating_add(memory.private);
        sum.swap = sum.swap.saturating_add(memory.swap);
        sum.anonymous = sum.anonymous.saturating_add(memory.anonymous);
    }

    /// Of all processes of the role; `None` if there are some and none was sampled.
    fn of_all(self) -> Option<Rollup> {
        if self.processes == 0 {
            return Some(Rollup::default());
        }
        let scaled = |bytes: u64| {
            let all = u128::from(bytes) * u128::from(self.processes);
            Some(u64::try_from(all.checked_div(u128::from(self.sampled))?).unwrap_or(u64::MAX))
        };
        let Rollup { pss, private, swap, anonymous } = self.of_sampled;
        Some(Rollup {
            pss: scaled(pss)?,
            private: scaled(private)?,
            swap: scaled(swap)?,
            anonymous: scaled(anonymous)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        process::Pid,
        resources::Resources,
        snapshot::Part,
        source::Why,
        time::{Timestamp, Uptime},
    };

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(1) }
    }

    fn moment(second: u64) -> Moment {
        let (micros, wall) = (second * 1_000_000, Timestamp::from_micros(0));
        Moment { uptime: Uptime::from_micros(micros), wall }
    }

    fn owning(private: u64) -> Rollup {
        Rollup { pss: private + 10, private, swap: 1, anonymous: private + 100 }
    }

    fn observed(roles: &[(i32, Role)], memory: Option<Part<MemorySample>>) -> MemoryHeadroom {
        MemoryTracker.observe(&HeadroomLook {
            at: moment(9),
            resources: &Resources { memory, ..Resources::default() },
            roles: &roles.iter().map(|(pid, role)| (process(*pid), *role)).collect(),
            loaded: None,
            scoreboard: None,
            restart_since: None,
            events: &[],
        })
    }

    /// What was read of whom: number, private bytes, second.
    fn sampled(figures: &[(i32, u64, u64)]) -> Part<MemorySample> {
        let figures = figures
            .iter()
            .map(|(pid, private, second)| (process(*pid), (owning(*private), moment(*second))));
        Part::Seen(MemorySample { processes: figures.collect(), ..MemorySample::default() })
    }

    const FAMILY: [(i32, Role); 5] = [
        (1, Role::Parent),
        (2, Role::Current),
        (3, Role::Current),
        (4, Role::Current),
        (5, Role::Old),
    ];

    #[test]
    fn a_child_that_was_not_sampled_counts_as_the_mean_of_its_role() {
        let figures = [(1, 7, 5), (2, 100, 3), (4, 200, 4), (5, 1000, 6), (99, 5000, 1)];
        let memory = observed(&FAMILY, Some(sampled(&figures)));
        let expected = Rollup { pss: 480, private: 450, swap: 3, anonymous: 750 };
        assert_eq!(memory.by_role.get(&Role::Current), Some(&expected));
        assert_eq!(memory.by_role.get(&Role::Parent), Some(&owning(7)));
        assert_eq!(memory.by_role.get(&Role::Old), Some(&owning(1000)), "nobody else's");
        assert_eq!(memory.oldest, Some(moment(3)), "not of who has ended");
    }

    #[test]
    fn a_role_that_nobody_has_is_zero_and_one_that_nobody_was_sampled_of_is_absent() {
        let of_two = observed(&FAMILY[..2], Some(sampled(&[(1, 7, 5)])));
        assert_eq!(of_two.by_role.get(&Role::Old), Some(&Rollup::default()));
        assert_eq!(of_two.by_role.get(&Role::Current), None);
        let orphans = observed(&FAMILY[4..], Some(sampled(&[(5, 7, 5)])));
        assert_eq!(orphans.by_role.get(&Role::Parent), None, "there is none");
        let too_early = observed(&FAMILY, Some(sampled(&[])));
        assert_eq!(too_early, MemoryHeadroom::default());
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let refused = observed(&FAMILY, Some(Part::Unseen(Why::Permission)));
        assert_eq!(refused, MemoryHeadroom::default());
        assert_eq!(observed(&FAMILY, None), MemoryHeadroom::default());
    }

    #[test]
    fn no_figure_is_too_large_to_be_summed_up() {
        let most = u64::MAX - 100;
        let memory = observed(&FAMILY, Some(sampled(&[(2, most, 1), (3, most, 1)])));
        assert_eq!(memory.by_role.get(&Role::Current).unwrap().private, u64::MAX);
    }
}
