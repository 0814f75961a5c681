//! Semaphores and shared memory, and whether a restart's would fit.
//!
//! A restart removes its own semaphore arrays first and then makes as many anew. Shared memory it
//! makes anew too, but old children keep what they have: both are there for a while.
//!
//! That they are as many is known while the kinds of mutexes that may be semaphores are those of the
//! running configuration. A module that makes more of a kind, such as one for each balancer that is
//! added, is not foreseen.

use std::collections::BTreeMap;

use super::HeadroomLook;
use crate::model::{
    headroom::{Fit, Owner},
    resources::IpcSample,
    snapshot::Part,
};

/// System V objects; empty while they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpcHeadroom {
    /// Semaphore arrays by owner.
    pub semaphores: BTreeMap<Owner, u64>,
    /// How many arrays there may be.
    pub semaphores_limit: Option<u64>,
    /// Shared memory segments by owner.
    pub shm: BTreeMap<Owner, u64>,
    /// Whether the semaphores of a restart would fit.
    pub semaphores_fit: Option<Fit>,
    /// Whether its shared memory would.
    pub shm_fit: Option<Fit>,
}

/// Follows System V objects.
#[derive(Clone, Debug, Default)]
pub struct IpcTracker {
    /// What would have fitted before the restart that is in progress.
    before: (Option<Fit>, Option<Fit>),
}

impl IpcTracker {
    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> IpcHeadroom {
        let Some(Part::Seen(sample)) = &look.resources.ipc else {
            *self = Self::default();
            return IpcHeadroom::default();
        };
        // In the middle of a restart nothing is there that it removed and did not make yet.
        if look.restart_since.is_none() {
            let arrays = arrays_needed(look, sample.semaphores_live);
            let semaphores = arrays.map(|needed| semaphores_fit(sample, needed));
            self.before = (semaphores, shm_fit(sample));
        }
        let (semaphores_fit, shm_fit) = self.before;
        IpcHeadroom {
            semaphores: owned(sample.semaphores_live, sample.semaphores_orphan),
            semaphores_limit: Some(sample.semaphores_limit),
            shm: owned(sample.shm_live, sample.shm_orphan),
            semaphores_fit,
            shm_fit,
        }
    }
}

fn owned(live: u64, orphan: u64) -> BTreeMap<Owner, u64> {
    BTreeMap::from([(Owner::Live, live), (Owner::Orphan, orphan)])
}

/// The arrays that a restart makes; `None` where that is not known.
fn arrays_needed(look: &HeadroomLook<'_>, live: u64) -> Option<u64> {
    let on_disk = look.resources.settings.as_ref()?.mutexes.as_ref()?;
    if on_disk.is_empty() {
        return Some(0);
    }
    let loaded = look.loaded?.mutexes.as_ref()?;
    (loaded == on_disk).then_some(live)
}

/// Each array has one semaphore. Those that live are removed first.
fn semaphores_fit(sample: &IpcSample, needed: u64) -> Fit {
    let live = sample.semaphores_live;
    let room = |limit: u64, used: u64| limit.saturating_add(live).saturating_sub(used);
    let arrays = room(sample.semaphores_limit, sample.semaphores_used);
    let members = room(sample.members_limit, sample.members_used);
    Fit { needed, available: arrays.min(members) }
}

/// The worse of `/dev/shm` and System V segments, as far as there is either.
fn shm_fit(sample: &IpcSample) -> Option<Fit> {
    let files = sample.shm_bytes.zip(sample.shm_available);
    let files = files.map(|(needed, available)| Fit { needed, available });
    let segments = (sample.shm_live > 0)
        .then_some(Fit { needed: sample.segment_bytes, available: sample.segment_room });
    let slack = |fit: &Fit| i128::from(fit.available) - i128::from(fit.needed);
    files.into_iter().chain(segments).min_by_key(slack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        resources::Resources,
        settings::{Mechanism, ServerSettings},
        source::Why,
        time::{Moment, Timestamp, Uptime},
    };

    const NOW: Moment = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::from_micros(1) };

    fn sample() -> IpcSample {
        IpcSample {
            semaphores_live: 2,
            semaphores_orphan: 1,
            semaphores_used: 5,
            semaphores_limit: 5,
            members_used: 5,
            members_limit: 1000,
            ..IpcSample::default()
        }
    }

    fn mutexes(kinds: &[(&str, Mechanism)]) -> ServerSettings {
        let kinds = kinds.iter().map(|(kind, made)| (kind.as_bytes().to_owned(), *made));
        ServerSettings { mutexes: Some(kinds.collect()), ..ServerSettings::default() }
    }

    /// With the files that it has read.
    fn observed(tracker: &mut IpcTracker, ipc: Part<IpcSample>, restarts: bool) -> IpcHeadroom {
        let settings = mutexes(&[("mpm-accept", Mechanism::SystemV)]);
        told(tracker, ipc, restarts, [Some(&settings); 2])
    }

    /// With the settings on disk, and those that run.
    fn told(
        tracker: &mut IpcTracker,
        ipc: Part<IpcSample>,
        restarts: bool,
        [on_disk, loaded]: [Option<&ServerSettings>; 2],
    ) -> IpcHeadroom {
        let resources =
            Resources { ipc: Some(ipc), settings: on_disk.cloned(), ..Resources::default() };
        tracker.observe(&HeadroomLook {
            at: NOW,
            resources: &resources,
            roles: &BTreeMap::new(),
            loaded,
            scoreboard: None,
            restart_since: restarts.then_some(NOW),
            events: &[],
        })
    }

    #[test]
    fn arrays_that_do_not_run_yet_are_not_known_to_fit() {
        let none = IpcSample::default();
        let needed = |settings| {
            let seen = told(&mut IpcTracker::default(), Part::Seen(none.clone()), false, settings);
            seen.semaphores_fit.map(|fit| fit.needed)
        };
        let built_in = &mutexes(&[("proxy", Mechanism::BuiltIn)]);
        let arrays = &mutexes(&[("proxy", Mechanism::SystemV)]);
        let files = &mutexes(&[]);
        assert_eq!(needed([Some(built_in), Some(built_in)]), Some(0), "it makes none today");
        assert_eq!(needed([Some(arrays), Some(built_in)]), None, "changed");
        assert_eq!(needed([Some(arrays), Some(files)]), None, "changed");
        assert_eq!(needed([Some(arrays), None]), None, "changed before anybody looked");
        assert_eq!(needed([Some(files), Some(arrays)]), Some(0), "none any more");
        assert_eq!(needed([Some(files), None]), Some(0), "whatever runs");
        assert_eq!(needed([None, Some(arrays)]), None, "the files cannot be read");
    }

    #[test]
    fn a_restart_finds_the_places_of_its_own_arrays() {
        let seen = observed(&mut IpcTracker::default(), Part::Seen(sample()), false);
        assert_eq!(seen.semaphores, owned(2, 1));
        assert_eq!(seen.semaphores_limit, Some(5));
        assert_eq!(seen.semaphores_fit, Some(Fit { needed: 2, available: 2 }));
        assert_eq!(seen.shm, owned(0, 0));
        assert_eq!(seen.shm_fit, None);
    }

    #[test]
    fn a_limit_below_what_is_used_does_not_fit() {
        for short in [
            IpcSample { semaphores_limit: 4, ..sample() },
            IpcSample { members_limit: 4, ..sample() },
            IpcSample { semaphores_limit: 0, ..sample() },
        ] {
            assert!(!semaphores_fit(&short, 2).fits(), "{short:?}");
        }
        let none = IpcSample { semaphores_live: 0, semaphores_limit: 4, ..sample() };
        assert!(semaphores_fit(&none, 0).fits(), "who has none needs none");
    }

    #[test]
    fn the_worse_of_files_and_segments_decides() {
        let files = IpcSample { shm_bytes: Some(9), shm_available: Some(10), ..sample() };
        assert_eq!(shm_fit(&files), Some(Fit { needed: 9, available: 10 }));
        let both = IpcSample { shm_live: 1, segment_bytes: 7, segment_room: 0, ..files };
        assert_eq!(shm_fit(&both), Some(Fit { needed: 7, available: 0 }));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let mut tracker = IpcTracker::default();
        observed(&mut tracker, Part::Seen(sample()), false);
        let unseen = observed(&mut tracker, Part::Unseen(Why::Permission), true);
        assert_eq!(unseen, IpcHeadroom::default());
    }

    #[test]
    fn the_middle_of_a_restart_decides_nothing() {
        let mut tracker = IpcTracker::default();
        let short = IpcSample { semaphores_limit: 4, ..sample() };
        observed(&mut tracker, Part::Seen(short.clone()), false);
        let removed = IpcSample { semaphores_live: 0, semaphores_used: 3, ..short };
        let seen = observed(&mut tracker, Part::Seen(removed), true);
        assert_eq!(seen.semaphores, owned(0, 1));
        assert_eq!(seen.semaphores_fit, Some(Fit { needed: 2, available: 1 }));
    }
}
