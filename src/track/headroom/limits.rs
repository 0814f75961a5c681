//! What host and cgroups leave, what they stalled and killed, and how hot it became.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::HeadroomLook;
use crate::{
    model::{
        event::Event,
        headroom::{Fit, Pressure, Resource},
        resources::{CgroupSample, HostSample},
        snapshot::Part,
        time::Moment,
    },
    track::growth::Growth,
};

/// So long after it is over a restart still heats: its children fill their caches.
const WARM: Duration = Duration::from_secs(60);

/// Of host and cgroup; absent where it cannot be read or there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitHeadroom {
    /// Bytes that the host has.
    pub host_memory: Option<u64>,
    /// Bytes that the tightest cgroup leaves.
    pub cgroup_memory: Option<u64>,
    /// Processes and threads that may still be made.
    pub pids: Option<u64>,
    /// Of these host or cgroups could not be read: there may be less than is known.
    pub partial: BTreeSet<Resource>,
    /// Processes that were killed for want of memory since this run began; `None` if nothing has
    /// told yet, which is shown as 0: a counter exists from the first look.
    pub oom_kills: Option<u64>,
    /// Time in which some process waited, since this run began; what nothing has told yet is
    /// absent, and shown as 0 too.
    pub pressure: BTreeMap<Pressure, Duration>,
    /// The hottest sensor in the last restart, in thousandths of a degree Celsius.
    pub peak_temperature: Option<i64>,
    /// Until when the last restart, which is over, still heats.
    pub heats_until: Option<Moment>,
}

/// Follows what host and cgroups allow.
#[derive(Clone, Debug, Default)]
pub struct LimitTracker {
    oom_kills: Growth<Owner>,
    pressure: BTreeMap<Pressure, Growth<Owner>>,
    restart: Option<Heat>,
}

/// Whose a total is: where the parent came into another cgroup, another one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Host,
    Cgroup([u64; 2]),
}

/// The last restart's temperature.
#[derive(Clone, Copy, Debug)]
struct Heat {
    began: Moment,
    /// `None`: it is still in progress.
    until: Option<Moment>,
    peak: Option<i64>,
}

impl LimitTracker {
    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> LimitHeadroom {
        let host = look.resources.host.as_ref().and_then(Part::seen);
        let cgroup = look.resources.cgroup.as_ref().and_then(Part::seen);
        let is_hidden = matches!(look.resources.cgroup, Some(Part::Unseen(_)));
        // In cgroups that cannot be read now, it is not the host for which the processes wait.
        self.count(host.filter(|_| !is_hidden), cgroup);
        self.warm(look, host.and_then(|host| host.temperature));
        let host_memory = host.and_then(|host| host.memory_available);
        let host_pids = host.and_then(|host| host.pids_available);
        let of_host = [(Resource::Memory, host_memory), (Resource::Pids, host_pids)];
        let partial = of_host.into_iter().filter(|(_, left)| is_hidden || left.is_none());
        let pids = [host_pids, cgroup.and_then(|cgroup| cgroup.pids_headroom)];
        let grown = |(resource, growth): (&Pressure, &Growth<Owner>)| {
            Some((*resource, Duration::from_micros(growth.grown()?)))
        };
        LimitHeadroom {
            host_memory,
            cgroup_memory: cgroup.and_then(|cgroup| cgroup.memory_headroom),
            pids: pids.into_iter().flatten().min(),
            partial: partial.map(|(resource, _)| resource).collect(),
            oom_kills: self.oom_kills.grown(),
            pressure: self.pressure.iter().filter_map(grown).collect(),
            peak_temperature: self.restart.and_then(|restart| restart.peak),
            heats_until: self.restart.and_then(|restart| restart.until),
        }
    }

    fn count(&mut self, host: Option<&HostSample>, cgroup: Option<&CgroupSample>) {
        let owner = cgroup.map(|it| Owner::Cgroup(it.identity));
        if let Some((owner, kills)) = owner.zip(cgroup.and_then(|it| it.oom_kills)) {
            self.oom_kills.follow(owner, kills);
        }
        for resource in Pressure::ALL {
            let own = cgroup.and_then(|it| it.pressure.get(resource));
            let all = host.and_then(|it| it.pressure.get(resource));
            let told = owner.zip(own).or(all.map(|it| (Owner::Host, it)));
            if let Some((owner, stalled)) = told {
                self.pressure.entry(*resource).or_default().follow(owner, *stalled);
            }
        }
    }

    fn warm(&mut self, look: &HeadroomLook<'_>, temperature: Option<i64>) {
        for began in look.events.iter().filter_map(restarted) {
            self.heat(began).until.get_or_insert(look.at.after(WARM));
        }
        if let Some(began) = look.restart_since {
            self.heat(began);
        } else if let Some(restart) = &mut self.restart {
            // It failed, or nobody saw how it ended.
            restart.until.get_or_insert(look.at.after(WARM));
        }
        if let Some(restart) = &mut self.restart
            && restart.until.is_none_or(|until| look.at.uptime <= until.uptime)
        {
            restart.peak = restart.peak.max(temperature);
        }
    }

    /// Of the restart that began then, which is a new one unless it is the last.
    fn heat(&mut self, began: Moment) -> &mut Heat {
        let last = self.restart.filter(|restart| restart.began.uptime == began.uptime);
        self.restart.insert(last.unwrap_or(Heat { began, until: None, peak: None }))
    }
}

impl LimitHeadroom {
    /// What can be told while there may be less than is known: only that it does not fit.
    #[must_use]
    pub(super) fn judged(&self, resource: Resource, fit: Option<Fit>) -> Option<Fit> {
        fit.filter(|fit| !self.partial.contains(&resource) || !fit.fits())
    }
}

/// When a restart began that is now over.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other event is not the end of a restart")]
const fn restarted(event: &Event) -> Option<Moment> {
    match event {
        Event::Restarted { began, .. } => Some(*began),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{
            event::RestartType, headroom::Role, process::ProcessId, resources::Resources,
            source::Why,
        },
        track::fixture::after,
    };

    /// Roles without a look around them.
    type Roles = BTreeMap<ProcessId, Role>;

    fn look<'a>(at: u64, resources: &'a Resources, roles: &'a Roles) -> HeadroomLook<'a> {
        HeadroomLook {
            at: after(at),
            resources,
            roles,
            loaded: None,
            scoreboard: None,
            restart_since: None,
            events: &[],
        }
    }

    fn seen(host: HostSample, cgroup: Option<Part<CgroupSample>>) -> Resources {
        Resources { host: Some(Part::Seen(host)), cgroup, ..Resources::default() }
    }

    fn in_cgroup(cgroup: CgroupSample) -> Resources {
        seen(HostSample::default(), Some(Part::Seen(cgroup)))
    }

    #[test]
    fn the_tighter_of_host_and_cgroup_counts_for_process_numbers() {
        let host = HostSample { pids_available: Some(90), ..HostSample::default() };
        let cgroup = |pids_headroom| CgroupSample { pids_headroom, ..CgroupSample::default() };
        let mut tracker = LimitTracker::default();
        for (limit, pids) in [(Some(7), 7), (Some(100), 90), (None, 90)] {
            let resources = seen(host.clone(), Some(Part::Seen(cgroup(limit))));
            let it = tracker.observe(&look(0, &resources, &Roles::new()));
            assert_eq!((it.pids, it.partial.contains(&Resource::Pids)), (Some(pids), false));
        }
        let it = tracker.observe(&look(1, &seen(host, None), &Roles::new()));
        let is_partial = it.partial.contains(&Resource::Pids);
        assert_eq!((it.pids, is_partial), (Some(90), false), "without cgroups");
    }

    #[test]
    fn while_the_cgroup_is_unread_only_what_does_not_fit_anyway_is_told() {
        let host = || HostSample {
            memory_available: Some(9),
            pids_available: Some(9),
            ..Default::default()
        };
        let resources = seen(host(), Some(Part::Unseen(Why::Missing)));
        let it = LimitTracker::default().observe(&look(0, &resources, &Roles::new()));
        assert_eq!((it.cgroup_memory, it.oom_kills), (None, None));
        for resource in [Resource::Memory, Resource::Pids] {
            assert_eq!(it.judged(resource, Some(FITS)), None);
            assert_eq!(it.judged(resource, Some(FITS_NOT)), Some(FITS_NOT));
            let all = seen(host(), Some(Part::Seen(CgroupSample::default())));
            let it = LimitTracker::default().observe(&look(0, &all, &Roles::new()));
            assert_eq!(it.judged(resource, Some(FITS)), Some(FITS));
        }
    }

    const FITS: Fit = Fit { needed: 1, available: 2 };
    const FITS_NOT: Fit = Fit { needed: 3, available: 2 };

    #[test]
    fn while_the_host_is_unread_a_cgroup_with_room_proves_nothing() {
        let (memory_headroom, pids_headroom) = (Some(1 << 30), Some(900));
        let cgroup = CgroupSample { memory_headroom, pids_headroom, ..Default::default() };
        let judged = |host: Part<HostSample>| {
            let cgroup = Some(Part::Seen(cgroup.clone()));
            let resources = Resources { host: Some(host), cgroup, ..Resources::default() };
            let it = LimitTracker::default().observe(&look(0, &resources, &Roles::new()));
            for resource in [Resource::Memory, Resource::Pids] {
                assert_eq!(it.judged(resource, Some(FITS_NOT)), Some(FITS_NOT));
            }
            [Resource::Memory, Resource::Pids].map(|it_is| it.judged(it_is, Some(FITS)))
        };
        assert_eq!(judged(Part::Unseen(Why::Permission)), [None, None]);
        let old_kernel = HostSample { pids_available: Some(9), ..Default::default() };
        assert_eq!(judged(Part::Seen(old_kernel)), [None, Some(FITS)], "each by itself");
    }

    #[test]
    fn kills_count_from_the_first_look_and_over_a_move_to_another_cgroup() {
        let mut tracker = LimitTracker::default();
        let mut kills = |identity, oom_kills| {
            let cgroup = CgroupSample { identity, oom_kills, ..CgroupSample::default() };
            tracker.observe(&look(0, &in_cgroup(cgroup), &Roles::new())).oom_kills
        };
        let (here, there) = ([1, 0], [2, 0]);
        assert_eq!(kills(here, None), None, "the kernel does not tell");
        assert_eq!(kills(here, Some(40)), Some(0));
        assert_eq!(kills(here, Some(42)), Some(2));
        assert_eq!(kills(there, Some(900)), Some(2));
        assert_eq!(kills(there, Some(901)), Some(3));
        assert_eq!(kills(here, Some(42)), Some(3));
        assert_eq!(kills(here, Some(1)), Some(3), "a counter never falls");
        assert_eq!(kills(here, None), Some(3));
        let nothing = Resources::default();
        assert_eq!(tracker.observe(&look(1, &nothing, &Roles::new())).oom_kills, Some(3));
    }

    #[test]
    fn pressure_is_of_the_cgroup_or_else_of_the_host() {
        let told = |cpu| BTreeMap::from([(Pressure::Cpu, cpu)]);
        let mut tracker = LimitTracker::default();
        let mut stalled = |host, cgroup: Option<u64>| {
            let pressure = cgroup.map(told).unwrap_or_default();
            let cgroup = CgroupSample { pressure, ..CgroupSample::default() };
            let host = HostSample { pressure: told(host), ..HostSample::default() };
            let resources = seen(host, Some(Part::Seen(cgroup)));
            let it = tracker.observe(&look(0, &resources, &Roles::new()));
            assert_eq!(it.pressure.len(), 1, "what nobody tells is absent");
            it.pressure.get(&Pressure::Cpu).map(Duration::as_micros)
        };
        assert_eq!(stalled(5000, Some(10)), Some(0));
        assert_eq!(stalled(6000, Some(17)), Some(7));
        assert_eq!(stalled(7000, None), Some(7), "the host's is another count");
        assert_eq!(stalled(7003, None), Some(10));
        assert_eq!(stalled(9000, Some(99)), Some(10));
    }

    #[test]
    fn while_the_cgroup_is_unread_the_host_s_pressure_is_not_its_own() {
        let told = |cpu| BTreeMap::from([(Pressure::Cpu, cpu)]);
        let mut tracker = LimitTracker::default();
        let mut stalled = |host, cgroup: Result<u64, Why>| {
            let sample = |cpu| CgroupSample { pressure: told(cpu), ..CgroupSample::default() };
            let cgroup = cgroup.map(sample).map_or_else(Part::Unseen, Part::Seen);
            let host = HostSample { pressure: told(host), ..HostSample::default() };
            let it = tracker.observe(&look(0, &seen(host, Some(cgroup)), &Roles::new()));
            it.pressure.get(&Pressure::Cpu).map(Duration::as_micros)
        };
        assert_eq!(stalled(5000, Err(Why::Missing)), None);
        assert_eq!(stalled(6000, Ok(10)), Some(0));
        assert_eq!(stalled(7000, Err(Why::Limit)), Some(0));
        assert_eq!(stalled(9000, Err(Why::Limit)), Some(0));
        assert_eq!(stalled(9500, Ok(14)), Some(4), "what it waited meanwhile counts");
    }

    fn at_temperature(temperature: Option<i64>) -> Resources {
        seen(HostSample { temperature, ..HostSample::default() }, None)
    }

    #[test]
    fn the_peak_of_a_restart_ends_a_minute_after_it() {
        let mut tracker = LimitTracker::default();
        let mut peak = |at, temperature, since: Option<u64>, over: Option<u64>| {
            let resources = at_temperature(temperature);
            let events: Vec<Event> = over.map(resumed).into_iter().collect();
            let roles = Roles::new();
            let restart_since = since.map(after);
            let look =
                HeadroomLook { restart_since, events: &events, ..look(at, &resources, &roles) };
            let told = tracker.observe(&look);
            let heats = told.heats_until.map_or(since.is_some(), |until| look.at <= until);
            assert_eq!(heats, at > 0 && at != 62_001, "sensors are read while they count");
            told.peak_temperature
        };
        assert_eq!(peak(0, Some(90_000), None, None), None, "there was none yet");
        assert_eq!(peak(1000, Some(50_000), Some(900), None), Some(50_000));
        assert_eq!(peak(2000, Some(40_000), None, Some(900)), Some(50_000));
        assert_eq!(peak(62_000, Some(61_000), None, None), Some(61_000));
        assert_eq!(peak(62_001, Some(70_000), None, None), Some(61_000));
        // Over before it was looked at.
        assert_eq!(peak(80_000, None, None, Some(79_900)), None, "the next one");
        assert_eq!(peak(81_000, Some(-3000), None, None), Some(-3000));
    }

    fn resumed(began: u64) -> Event {
        Event::Restarted {
            kind: RestartType::Graceful,
            began: after(began),
            took: None,
            left: None,
            coalesced: false,
            interrupted: 0,
        }
    }
}
