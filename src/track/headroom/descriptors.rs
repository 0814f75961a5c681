//! File descriptors by role, and whether a restart's would fit under the limit.
//!
//! A restart closes its logs and opens them anew, and keeps its listeners, so that the parent needs
//! what it has open now, with what the configuration on disk names more, or less, than the one that
//! it has read. A child has all of that, and needs some of its own before it can serve anybody.

use std::{collections::BTreeMap, time::Duration};

use super::HeadroomLook;
use crate::model::{
    event::Event,
    headroom::{Fit, Role},
    process::ProcessId,
    resources::{DescriptorSample, DescriptorUse},
    settings::ServerSettings,
    snapshot::Part,
};

/// Some connections and the files that are sent. With less than one of each a child runs and
/// answers nothing, or 403; with one it ends if another connection comes before that is closed.
const TO_SERVE: u64 = 8;
/// What a child of event or worker has of its own at least: a poll set, and a pipe to be woken by.
/// One of prefork has less, by one.
const OF_ITS_OWN: u64 = 3;
/// More than this is not a child's own but its connections'.
const MOST_OF_ITS_OWN: u64 = 16;
/// A child that is younger may not have opened yet what it will.
const GROWN: Duration = Duration::from_secs(2);

/// File descriptors; absent while they cannot be counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DescriptorHeadroom {
    /// Sums by role.
    pub open: BTreeMap<Role, u64>,
    /// The lowest soft limit of any of the processes.
    pub lowest_limit: Option<u64>,
    /// Open descriptors by soft limit, of the process that is worst off.
    pub worst_ratio: Option<f64>,
    /// Whether those of a restart would fit.
    pub fit: Option<Fit>,
}

/// Follows file descriptors.
#[derive(Clone, Debug, Default)]
pub struct DescriptorTracker {
    parent: Option<ProcessId>,
    /// The least that a child was seen to have of its own.
    own: Option<u64>,
    /// One of the running configuration was.
    is_of_running: bool,
    /// What would have fitted before the restart that is in progress.
    before: Option<Fit>,
}

impl DescriptorTracker {
    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> DescriptorHeadroom {
        let parent = look.roles.iter().find(|(_, role)| **role == Role::Parent).map(|(id, _)| *id);
        if self.parent != parent {
            *self = Self { parent, ..Self::default() };
        }
        if look.events.iter().any(|event| matches!(event, Event::Restarted { .. })) {
            self.is_of_running = false;
        }
        let Some(Part::Seen(sample)) = &look.resources.descriptors else {
            return DescriptorHeadroom::default();
        };
        // In the middle of a restart logs are closed that will be opened again.
        if look.restart_since.is_none() {
            self.before = parent.and_then(|parent| self.fit(parent, look, sample));
        }
        let uses = sample.processes.values();
        DescriptorHeadroom {
            open: sums(look.roles, sample),
            lowest_limit: uses.clone().filter_map(|counted| counted.soft_limit).min(),
            worst_ratio: uses.filter_map(ratio).max_by(f64::total_cmp),
            fit: self.before,
        }
    }

    fn fit(
        &mut self,
        parent: ProcessId,
        look: &HeadroomLook<'_>,
        sample: &DescriptorSample,
    ) -> Option<Fit> {
        let DescriptorUse { open, soft_limit } = *sample.processes.get(&parent)?;
        let to_serve = self.own(open, look, sample).saturating_add(TO_SERVE);
        let (least, most) = needed(open, look.resources.settings.as_ref()?, look.loaded)?;
        let available = soft_limit?;
        let fit = |needed: u64| Fit { needed: needed.saturating_add(to_serve), available };
        let is_certain = |fit: &Fit| least == most || !fit.fits();
        // In between nobody knows.
        Some(fit(most)).filter(Fit::fits).or_else(|| Some(fit(least)).filter(is_certain))
    }

    /// What a child needs of its own: connections come and go, so the least that was seen counts.
    fn own(&mut self, parent: u64, look: &HeadroomLook<'_>, sample: &DescriptorSample) -> u64 {
        let current = look.roles.iter().filter(|(id, role)| {
            **role == Role::Current && look.at.since(look.at.at_uptime(id.started)) >= GROWN
        });
        let counts = current.filter_map(|(id, _)| Some(sample.processes.get(id)?.open));
        // Not more than the parent's: that is of one that is ending.
        let least =
            counts.filter_map(|count| count.checked_sub(parent)).filter(|own| *own > 0).min();
        if let Some(least) = least {
            let before = self.own.filter(|_| self.is_of_running);
            self.own = Some(before.map_or(least, |before| before.min(least)));
            self.is_of_running = true;
        }
        self.own.unwrap_or_default().clamp(OF_ITS_OWN, MOST_OF_ITS_OWN)
    }
}

/// What the parent needs at least and at most; `None` where the files do not tell. Where it is not
/// known what it has read, any of its open ones may be a log that it will close, or none.
fn needed(
    open: u64,
    on_disk: &ServerSettings,
    loaded: Option<&ServerSettings>,
) -> Option<(u64, u64)> {
    if loaded == Some(on_disk) {
        // Whatever they name, it is open.
        return Some((open, open));
    }
    let named = on_disk.named_descriptors()?;
    let most = open.saturating_add(named);
    let running = loaded.and_then(ServerSettings::named_descriptors);
    Some(running.map_or((named, most), |running| {
        let needed = most.saturating_sub(running);
        (needed, needed)
    }))
}

/// Children that had no turn yet count as the mean of those of their role that had, or else of all.
fn sums(roles: &BTreeMap<ProcessId, Role>, sample: &DescriptorSample) -> BTreeMap<Role, u64> {
    let children: Vec<u64> = counted(roles, sample, |role| role != Role::Parent);
    let sum = |role: &Role| {
        let known = counted(roles, sample, |it| it == *role);
        let all = roles.values().filter(|it| *it == role).count();
        let mean_of = if known.is_empty() { &children } else { &known };
        let unknown = all.saturating_sub(known.len());
        let unknown =
            if unknown == 0 { 0 } else { mean(mean_of)? * u64::try_from(unknown).ok()? };
        Some((*role, known.iter().sum::<u64>() + unknown))
    };
    [Role::Parent, Role::Current, Role::Old].iter().filter_map(sum).collect()
}

fn counted(
    roles: &BTreeMap<ProcessId, Role>,
    sample: &DescriptorSample,
    wanted: impl Fn(Role) -> bool,
) -> Vec<u64> {
    let wanted = roles.iter().filter(|(_, role)| wanted(**role));
    wanted.filter_map(|(id, _)| sample.processes.get(id)).map(|it| it.open).collect()
}

fn mean(counts: &[u64]) -> Option<u64> {
    let number = u64::try_from(counts.len()).ok()?;
    (counts.iter().sum::<u64>() + number / 2).checked_div(number)
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^53 descriptors")]
fn ratio(counted: &DescriptorUse) -> Option<f64> {
    let limit = counted.soft_limit.filter(|limit| *limit > 0)?;
    Some(counted.open as f64 / limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            event::RestartType,
            process::Pid,
            resources::Resources,
            source::Why,
            time::{Moment, Timestamp, Uptime},
        },
        track::fixture::{self, Story, after},
    };

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(0) }
    }

    fn at(seconds: i64) -> Moment {
        let zero = Moment { uptime: Uptime::from_micros(0), wall: Timestamp::from_micros(0) };
        zero.after(Duration::from_secs(seconds.unsigned_abs()))
    }

    struct Server {
        tracker: DescriptorTracker,
        roles: BTreeMap<ProcessId, Role>,
        resources: Resources,
        loaded: Option<ServerSettings>,
    }

    impl Server {
        /// A parent of number 1 with 10 open, a current child 2 and an old child 3.
        fn new() -> Self {
            let mut server = Self {
                tracker: DescriptorTracker::default(),
                roles: BTreeMap::from([
                    (process(1), Role::Parent),
                    (process(2), Role::Current),
                    (process(3), Role::Old),
                ]),
                resources: Resources {
                    settings: Some(ServerSettings::default()),
                    ..Resources::default()
                },
                loaded: Some(ServerSettings::default()),
            };
            server.counts(&[(1, 10, Some(20)), (2, 13, Some(20)), (3, 14, Some(16))]);
            server
        }

        fn counts(&mut self, counts: &[(i32, u64, Option<u64>)]) {
            let one = |(pid, open, soft_limit): &(i32, u64, Option<u64>)| {
                (process(*pid), DescriptorUse { open: *open, soft_limit: *soft_limit })
            };
            let processes = counts.iter().map(one).collect();
            self.resources.descriptors = Some(Part::Seen(DescriptorSample { processes }));
        }

        fn logs(&mut self, logs: u64) {
            self.resources.settings = Some(named(logs));
        }

        fn look(&mut self, seconds: i64, events: &[Event]) -> DescriptorHeadroom {
            self.tracker.observe(&HeadroomLook {
                at: at(10 + seconds),
                resources: &self.resources,
                roles: &self.roles,
                loaded: self.loaded.as_ref(),
                scoreboard: None,
                restart_since: None,
                events,
            })
        }
    }

    fn named(logs: u64) -> ServerSettings {
        ServerSettings { logs, ..ServerSettings::default() }
    }

    fn restarted() -> Event {
        Event::Restarted {
            kind: RestartType::Graceful,
            began: at(0),
            took: None,
            left: None,
            coalesced: false,
            interrupted: 0,
        }
    }

    #[test]
    fn sums_the_lowest_limit_and_the_worst_process() {
        let seen = Server::new().look(1, &[]);
        let open = [(Role::Parent, 10), (Role::Current, 13), (Role::Old, 14)];
        assert_eq!(seen.open, BTreeMap::from(open));
        assert_eq!(seen.lowest_limit, Some(16));
        assert_eq!(seen.worst_ratio, Some(14.0 / 16.0));
        assert_eq!(seen.fit, Some(Fit { needed: 21, available: 20 }));
    }

    #[test]
    fn a_child_without_a_turn_counts_as_the_others() {
        let mut server = Server::new();
        server.roles.extend([(process(4), Role::Current), (process(5), Role::Current)]);
        assert_eq!(server.look(1, &[]).open.get(&Role::Current), Some(&39));
        server.counts(&[(1, 10, None)]);
        let seen = server.look(2, &[]);
        assert_eq!(seen.open, BTreeMap::from([(Role::Parent, 10)]), "nobody tells of a child");
        assert_eq!((seen.lowest_limit, seen.worst_ratio, seen.fit), (None, None, None));
    }

    #[test]
    fn more_logs_on_disk_need_more() {
        let mut server = Server::new();
        server.loaded = Some(named(3));
        for (logs, needed) in [(3, 21), (53, 71), (1, 19), (4, 22)] {
            server.logs(logs);
            assert_eq!(server.look(1, &[]).fit.unwrap().needed, needed, "{logs}");
        }
        server.loaded = Some(named(53));
        server.logs(53);
        server.counts(&[(1, 60, Some(20))]);
        assert_eq!(server.look(102, &[restarted()]).fit.unwrap().needed, 71, "they are open now");
    }

    #[test]
    fn where_nobody_knows_what_runs_only_what_is_certain_is_told() {
        let mut server = Server::new();
        server.loaded = None;
        let mut fit = |logs, limit| {
            server.counts(&[(1, 10, Some(limit)), (2, 13, Some(limit))]);
            server.logs(logs);
            server.look(1, &[]).fit
        };
        let told = |needed, available| Some(Fit { needed, available });
        assert_eq!(fit(60, 40), told(71, 40), "the logs alone are too many");
        assert_eq!(fit(60, 81), told(81, 81), "even if none of them is open yet");
        assert_eq!((fit(60, 80), fit(60, 71)), (None, None));
        assert_eq!(fit(60, 70), told(71, 70));
    }

    #[test]
    fn what_is_named_only_perhaps_is_not_known() {
        let mut server = Server::new();
        for is_partial in [true, false] {
            let partial = || ServerSettings { is_partial, logs_are_partial: true, ..named(60) };
            server.loaded = Some(named(0));
            server.resources.settings = Some(partial());
            assert_eq!(server.look(1, &[]).fit, None, "they may be named or not");
            server.loaded = Some(partial());
            assert_eq!(server.look(2, &[]).fit.unwrap().needed, 21, "nothing changed");
            server.logs(62);
            assert_eq!(server.look(3, &[]).fit.unwrap().needed, 73, "those that run may be none");
        }
        server.resources.settings = None;
        assert_eq!(server.look(4, &[]).fit, None);
    }

    #[test]
    fn a_configuration_that_was_changed_before_the_first_look_does_not_run() {
        let mut story = Story::of_a_running_httpd();
        let parent = fixture::process(1, 0);
        let needed = |story: &mut Story, second: u64, logs, changed| {
            let counted = DescriptorUse { open: 8, soft_limit: Some(40) };
            story.resources.descriptors =
                Some(Part::Seen(DescriptorSample { processes: [(parent, counted)].into() }));
            let changed = Some(after(changed).wall);
            story.resources.settings = Some(ServerSettings { changed, ..named(logs) });
            story.look(second);
            story.tracker.assessment().headroom.descriptors.fit.map(|fit| fit.needed)
        };
        assert_eq!(needed(&mut story, 3000, 62, 500), Some(73), "the pid file is older");
        story.generation = 1;
        story.reads_configuration(4000, 4100);
        assert_eq!(needed(&mut story, 4200, 62, 500), Some(19), "a restart read it");
        assert_eq!(needed(&mut story, 4300, 63, 4200), Some(20), "changed at once");
        assert_eq!(needed(&mut story, 4400, 62, 4300), Some(19), "and back");
    }

    #[test]
    fn connections_are_not_a_child_s_own() {
        let mut server = Server::new();
        server.counts(&[(1, 10, Some(2000)), (2, 1000, Some(2000))]);
        assert_eq!(server.look(1, &[]).fit.unwrap().needed, 10 + MOST_OF_ITS_OWN + TO_SERVE);
    }

    #[test]
    fn the_least_that_a_child_had_counts_until_a_restart() {
        let mut server = Server::new();
        let needed = |server: &mut Server, open, events: &[Event]| {
            server.counts(&[(1, 10, Some(99)), (2, open, Some(99))]);
            server.look(1, events).fit.unwrap().needed
        };
        assert_eq!(needed(&mut server, 19, &[]), 27);
        assert_eq!(needed(&mut server, 15, &[]), 23);
        assert_eq!(needed(&mut server, 19, &[]), 23, "connections");
        assert_eq!(needed(&mut server, 11, &[]), 21, "what each needs");
        assert_eq!(needed(&mut server, 10, &[restarted()]), 21, "it is ending");
        assert_eq!(needed(&mut server, 19, &[]), 27);
    }

    #[test]
    fn what_cannot_be_counted_is_absent() {
        let mut server = Server::new();
        server.resources.descriptors = Some(Part::Unseen(Why::Permission));
        assert_eq!(server.look(1, &[]), DescriptorHeadroom::default());
    }
}
