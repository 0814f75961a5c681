//! Forecasts and peaks of made-up looks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        event::{Event, RestartType},
        headroom::Role,
        process::ProcessId,
        resources::{MemorySample, Resources, Rollup},
        scoreboard::{Generation, Global, Scoreboard, Slot, SlotRecord, WorkerStatus},
        settings::{Mpm, ServerSettings},
        snapshot::Part,
        time::{Moment, Timestamp},
    },
    track::fixture::{after, process, slot},
};

const MEGABYTE: u64 = 1 << 20;

/// A server as a look may find it, in milliseconds.
#[derive(Clone)]
struct Server {
    roles: BTreeMap<ProcessId, Role>,
    scoreboard: Scoreboard,
    resources: Resources,
    events: Vec<Event>,
    restart_since: Option<Moment>,
}

impl Server {
    /// A parent with so many slots and workers of each, and no child.
    fn new(server_limit: u32, thread_limit: u32) -> Self {
        let global = Global {
            server_limit,
            thread_limit,
            running_generation: Generation::new(1),
            restart_time: after(0).wall,
        };
        let parent = process(1, 0);
        let mut server = Self {
            roles: [(parent, Role::Parent)].into(),
            scoreboard: Scoreboard { global, slots: Some(Vec::new()) },
            resources: Resources::default(),
            events: Vec::new(),
            restart_since: None,
        };
        server.reads(parent, 0, 0, 30);
        server
    }

    /// A child of the running generation with these workers, that owns 20 MB.
    fn child(&mut self, pid: i32, born: u64, workers: &[(WorkerStatus, u32)]) -> &mut SlotRecord {
        let id = process(pid, born);
        self.roles.insert(id, Role::Current);
        self.reads(id, born + 1000, 20, 50);
        let slots = self.scoreboard.slots.as_mut().unwrap();
        let number = u32::try_from(slots.len()).unwrap();
        slots.push(SlotRecord { slot: Slot::new(number), ..slot(pid, 1, workers) });
        slots.last_mut().unwrap()
    }

    fn is_old(&mut self, pid: i32) {
        let old = self.roles.iter_mut().filter(|(id, _)| id.pid.as_raw() == pid);
        old.for_each(|(_, role)| *role = Role::Old);
    }

    fn ends(&mut self, pid: i32) {
        self.roles.retain(|id, _| id.pid.as_raw() != pid);
        self.scoreboard.slots.as_mut().unwrap().retain(|slot| slot.pid.as_raw() != pid);
        self.memory().retain(|id, _| id.pid.as_raw() != pid);
    }

    fn memory(&mut self) -> &mut BTreeMap<ProcessId, (Rollup, Moment)> {
        let memory = &mut self.resources.memory;
        let part = memory.get_or_insert_with(|| Part::Seen(MemorySample::default()));
        let Part::Seen(sample) = part else { panic!("memory is read") };
        &mut sample.processes
    }

    fn reads(&mut self, id: ProcessId, at: u64, private: u64, anonymous: u64) {
        let private = private * MEGABYTE;
        let rollup = Rollup { pss: private, private, swap: 0, anonymous: anonymous * MEGABYTE };
        self.memory().insert(id, (rollup, after(at)));
    }

    fn settings(&mut self, start: u32, spare: u32, threads: u32, most: u32) {
        self.resources.settings = Some(ServerSettings {
            start_servers: Some(start),
            min_spare: Some(spare),
            threads_per_child: Some(threads),
            max_request_workers: Some(most),
            ..ServerSettings::default()
        });
    }

    fn look(&self, tracker: &mut ForecastTracker, at: u64) -> RestartForecast {
        self.look_at(tracker, after(at))
    }

    fn look_at(&self, tracker: &mut ForecastTracker, at: Moment) -> RestartForecast {
        let look = HeadroomLook {
            at,
            resources: &self.resources,
            roles: &self.roles,
            loaded: None,
            scoreboard: Some(&self.scoreboard),
            restart_since: self.restart_since,
            events: &self.events,
        };
        tracker.observe(&look)
    }

    fn forecast(&self, at: u64) -> RestartForecast {
        self.look(&mut ForecastTracker::default(), at)
    }

    fn restarted(&mut self, kind: RestartType, began: u64) {
        self.events = vec![Event::Restarted {
            kind,
            began: after(began),
            took: None,
            left: None,
            coalesced: false,
            interrupted: 0,
        }];
    }
}

const IDLE: [(WorkerStatus, u32); 1] = [(WorkerStatus::Ready, 5)];
const ONE_BUSY: [(WorkerStatus, u32); 2] = [(WorkerStatus::Ready, 4), (WorkerStatus::Sending, 1)];

fn wall(at: u64) -> Timestamp {
    after(at).wall
}

/// Starts, grows to, stay, leave, threads.
fn plan(forecast: &RestartForecast) -> [u32; 5] {
    let plan = forecast.plan.unwrap();
    [plan.starts, plan.grows_to, plan.stay, plan.leave, plan.threads]
}

fn slots(forecast: &RestartForecast) -> [u64; 2] {
    let fit = forecast.slots.unwrap();
    [fit.needed, fit.available]
}

#[test]
fn an_idle_restart_needs_nothing_beside() {
    let mut server = Server::new(8, 5);
    for pid in 11..14 {
        server.child(pid, 20, &IDLE);
    }
    let forecast = server.forecast(5000);
    assert_eq!(plan(&forecast), [3, 3, 0, 3, 7]);
    assert_eq!((forecast.memory, slots(&forecast)), (Some(0), [3, 8]));
}

#[test]
fn what_the_configuration_does_not_say_is_httpds_default() {
    let mut server = Server::new(16, 64);
    server.resources.settings = Some(ServerSettings::default());
    server.child(11, 20, &IDLE);
    let forecast = server.forecast(5000);
    assert_eq!(plan(&forecast), [3, 3, 0, 1, 27]);
    assert_eq!(forecast.memory, Some(2 * 20 * MEGABYTE));
    let mut server = Server::new(256, 1);
    server.resources.settings = Some(ServerSettings::default());
    server.child(11, 20, &[(WorkerStatus::Ready, 1)]);
    assert_eq!(plan(&server.forecast(5000)), [5, 5, 0, 1, 1]);
}

#[test]
fn a_configuration_that_is_known_in_part_counts_for_nothing() {
    let mut server = Server::new(16, 5);
    server.settings(9, 40, 5, 80);
    server.child(11, 20, &IDLE);
    assert_eq!(plan(&server.forecast(5000)), [9, 9, 0, 1, 7]);
    server.resources.settings.as_mut().unwrap().is_partial = true;
    assert_eq!(plan(&server.forecast(5000)), [1, 1, 0, 1, 7]);
}

#[test]
fn who_is_at_a_request_for_a_second_stays_with_the_heap_of_its_parent() {
    let mut server = Server::new(8, 5);
    server.settings(2, 5, 5, 40);
    server.child(11, 20, &ONE_BUSY).begun = vec![wall(4000)];
    server.child(12, 20, &ONE_BUSY).begun = vec![wall(4001)];
    let forecast = server.forecast(5000);
    // Four were idle, one more will be busy: two children have six workers too many.
    assert_eq!(plan(&forecast), [2, 2, 1, 1, 7]);
    // One that stays, two new ones, and the 30 MB that children got from their parent.
    assert_eq!(forecast.memory, Some((20 + 2 * 20 + 30 - 2 * 20) * MEGABYTE));
    let Some(Part::Seen(sample)) = &mut server.resources.memory else { panic!("it is read") };
    sample.parent_is_detached = true;
    let forecast = server.forecast(5000);
    assert_eq!(forecast.memory, Some((20 + 2 * 20 + 10 - 2 * 20) * MEGABYTE), "less a child's own");
    assert_eq!(slots(&forecast), [2, 7]);
}

#[test]
fn a_child_of_event_holds_its_slot_and_one_of_worker_shares_it() {
    for (mpm, left) in [(Mpm::Event, 7), (Mpm::Worker, 4)] {
        let mut server = Server::new(8, 5);
        server.settings(2, 5, 5, 20);
        server.resources.settings.as_mut().unwrap().mpm = Some(mpm);
        server.child(11, 20, &ONE_BUSY).begun = vec![wall(1000)];
        assert_eq!(slots(&server.forecast(5000)), [2, left], "{mpm:?}");
    }
}

#[test]
fn the_new_generation_has_room_for_requests_that_pass() {
    let mut server = Server::new(8, 5);
    server.settings(2, 5, 5, 40);
    for pid in 11..15 {
        let busy = [(WorkerStatus::Ready, 2), (WorkerStatus::Sending, 3)];
        server.child(pid, 20, &busy).begun = vec![wall(4990); 3];
    }
    let forecast = server.forecast(5000);
    assert_eq!(plan(&forecast), [2, 4, 0, 4, 7], "12 busy ones, and 5 idle ones");
    assert_eq!(slots(&forecast), [3, 8], "12 busy ones need three");
    server.settings(2, 5, 5, 15);
    assert_eq!(plan(&server.forecast(5000)), [2, 3, 0, 4, 7], "no more than there may be");
}

#[test]
fn where_no_times_are_told_who_is_always_at_work_stays() {
    let mut server = Server::new(8, 5);
    server.child(11, 20, &ONE_BUSY).untimed = vec![Timestamp::from_micros(0)];
    server.child(12, 20, &IDLE).waiting.write_completion = 1;
    server.child(13, 20, &IDLE);
    let mut tracker = ForecastTracker::default();
    // What the first look finds may have gone on for hours.
    for (at, stay) in [(5000, 1), (6000, 1), (7999, 1), (8000, 2)] {
        assert_eq!(plan(&server.look(&mut tracker, at))[2], stay, "at {at}");
    }
    server.scoreboard.slots.as_mut().unwrap()[0].untimed.clear();
    assert_eq!(plan(&server.look(&mut tracker, 9000))[2], 1);
    server.scoreboard.slots.as_mut().unwrap()[0].untimed = vec![Timestamp::from_micros(0)];
    assert_eq!(plan(&server.look(&mut tracker, 10_000))[2], 1, "it was idle between");
}

/// As under `ExtendedStatus` with a steady load of short requests, of which each look finds some
/// worker before its request has begun: no look has found the same.
#[test]
fn short_requests_hold_nobody_however_many_there_are() {
    let mut server = Server::new(8, 5);
    let workers =
        [(WorkerStatus::Ready, 3), (WorkerStatus::Reading, 1), (WorkerStatus::Sending, 1)];
    for pid in 11..15 {
        server.child(pid, 20, &workers);
    }
    let mut tracker = ForecastTracker::default();
    for at in [5000, 6000, 7000, 8000, 9000] {
        for slot in server.scoreboard.slots.as_mut().unwrap() {
            slot.begun = vec![wall(at - 10)];
            slot.untimed = vec![wall(at - 300)];
        }
        let forecast = server.look(&mut tracker, at);
        assert_eq!((plan(&forecast)[2], forecast.memory), (0, Some(0)), "at {at}");
    }
    // One of them sends no request on its connection, and the others go on.
    let slots = server.scoreboard.slots.as_mut().unwrap();
    for slot in slots.iter_mut() {
        slot.begun.clear();
    }
    slots[0].untimed.insert(0, wall(1000));
    assert_eq!(plan(&server.look(&mut tracker, 10_000))[2], 0);
    let slots = server.scoreboard.slots.as_mut().unwrap();
    for slot in slots.iter_mut() {
        slot.untimed.clear();
    }
    slots[0].untimed = vec![wall(1000), wall(12_900)];
    assert_eq!(plan(&server.look(&mut tracker, 13_000))[2], 1, "the one that did not move");
}

#[test]
fn who_ends_at_once_frees_the_threads_that_it_has() {
    let freed = |server: &Server| server.forecast(5000).plan.unwrap().threads_freed;
    let mut server = Server::new(8, 5);
    server.settings(2, 5, 64, 128);
    for pid in [11, 12] {
        let busy = [(WorkerStatus::Ready, 1), (WorkerStatus::Sending, 4)];
        server.child(pid, 20, &busy).begun = vec![wall(1000); 4];
    }
    assert_eq!(freed(&server), 2, "one idle worker of each");
    for pid in [13, 14] {
        server.child(pid, 20, &IDLE).quiescing = true;
        server.is_old(pid);
    }
    assert_eq!(freed(&server), 2, "older ones free nothing");
    server.child(15, 20, &IDLE);
    assert_eq!(freed(&server), 9, "one leaves, with its main thread and its listener");
    let mut server = Server::new(8, 1);
    server.child(11, 20, &[(WorkerStatus::Ready, 1)]);
    server.child(12, 20, &[(WorkerStatus::Sending, 1)]).begun = vec![wall(1000)];
    assert_eq!(freed(&server), 1, "prefork");
}

#[test]
fn old_children_stay_while_they_are_at_work() {
    let mut server = Server::new(8, 5);
    server.child(11, 20, &ONE_BUSY).quiescing = true;
    server.child(12, 20, &[(WorkerStatus::Graceful, 5)]).quiescing = true;
    server.child(13, 20, &IDLE);
    server.is_old(11);
    server.is_old(12);
    server.roles.insert(process(14, 20), Role::Old);
    let forecast = server.forecast(5000);
    assert_eq!(plan(&forecast), [1, 1, 2, 2, 7], "11, and an orphan; 12 closes what it had");
}

#[test]
fn a_restart_of_a_server_whose_slots_are_held_finds_none() {
    let mut server = Server::new(3, 5);
    server.settings(3, 5, 5, 15);
    for pid in [11, 12] {
        server.child(pid, 20, &ONE_BUSY).begun = vec![wall(1000)];
    }
    server.child(13, 20, &IDLE);
    let forecast = server.forecast(5000);
    assert_eq!((slots(&forecast), plan(&forecast)), ([3, 1], [3, 1, 2, 1, 7]));
    // A new child of worker takes the slot of one whose other threads have left.
    server.resources.settings.as_mut().unwrap().mpm = Some(Mpm::Worker);
    assert_eq!(slots(&server.forecast(5000)), [3, 3]);
    let mut server = Server::new(256, 1);
    server.settings(5, 5, 1, 8);
    for pid in 11..17 {
        server.child(pid, 20, &[(WorkerStatus::Sending, 1)]).begun = vec![wall(1000)];
    }
    assert_eq!(slots(&server.forecast(5000)), [5, 2], "prefork looks no further");
}

#[test]
fn a_child_that_was_just_forked_does_not_tell_what_children_own() {
    let mut server = Server::new(8, 5);
    server.settings(2, 5, 5, 40);
    server.child(11, 20, &IDLE);
    server.child(12, 20, &IDLE);
    let mut tracker = ForecastTracker::default();
    assert_eq!(server.look(&mut tracker, 5000).memory, Some(0));
    server.ends(11);
    server.ends(12);
    server.child(13, 5000, &IDLE);
    server.reads(process(13, 5000), 5001, 1, 31);
    let memory = server.look(&mut tracker, 5010).memory;
    assert_eq!(memory, Some((2 * 20 - 1) * MEGABYTE));
}

#[test]
fn without_figures_or_slots_nothing_is_forecast() {
    let mut server = Server::new(8, 5);
    server.child(11, 20, &IDLE);
    server.resources.memory = Some(Part::Unseen(crate::model::source::Why::Permission));
    let forecast = server.forecast(5000);
    assert!(forecast.memory.is_none() && forecast.plan.is_some());
    server.scoreboard.slots = None;
    assert_eq!(server.forecast(5000), RestartForecast::default());
}

#[test]
fn the_peak_is_the_most_that_was_owned_in_the_last_graceful_restart() {
    let mut server = Server::new(8, 5);
    let mut tracker = ForecastTracker::default();
    server.child(11, 20, &IDLE);
    server.child(12, 20, &IDLE);
    assert_eq!(server.look(&mut tracker, 5000).memory_peak, None);
    server.restart_since = Some(after(5500));
    server.is_old(11);
    server.is_old(12);
    assert_eq!(server.look(&mut tracker, 5501).memory_peak, None, "it may be a hard one");
    server.restart_since = None;
    server.restarted(RestartType::Graceful, 5500);
    assert_eq!(server.look(&mut tracker, 5520).memory_peak, Some(0));
    server.events.clear();
    server.ends(12);
    server.child(13, 6500, &IDLE);
    server.child(14, 6500, &IDLE);
    assert_eq!(server.look(&mut tracker, 7600).memory_peak, Some(20 * MEGABYTE));
    server.ends(11);
    assert_eq!(server.look(&mut tracker, 8000).memory_peak, Some(20 * MEGABYTE));
    server.look(&mut tracker, 12_000);
    for pid in 15..20 {
        server.child(pid, 13_000, &IDLE);
    }
    let forecast = server.look(&mut tracker, 14_100);
    assert_eq!(forecast.memory_peak, Some(20 * MEGABYTE), "they came for the load");
    assert_eq!(forecast.peak_child_starts, Some(5), "within 30 s of it");
    server.restarted(RestartType::Hard, 15_000);
    let forecast = server.look(&mut tracker, 15_500);
    assert_eq!(forecast.memory_peak, Some(20 * MEGABYTE), "only a graceful one has a peak");
    assert_eq!(forecast.peak_child_starts, Some(0));
    let restored = ForecastTracker::restored(forecast.needs());
    server.events.clear();
    assert_eq!(server.look(&mut restored.clone(), 16_000).needs(), forecast.needs());
}

#[test]
fn a_restart_that_was_none_leaves_no_baseline_to_the_next() {
    let mut server = Server::new(8, 5);
    let mut tracker = ForecastTracker::default();
    server.child(11, 20, &IDLE);
    server.look(&mut tracker, 5000);
    server.restart_since = Some(after(5500));
    server.look(&mut tracker, 5600);
    server.restart_since = None;
    server.look(&mut tracker, 6000);
    server.child(12, 7000, &IDLE);
    server.child(13, 7000, &IDLE);
    server.look(&mut tracker, 9000);
    server.restart_since = Some(after(9500));
    server.look(&mut tracker, 9600);
    server.restart_since = None;
    server.restarted(RestartType::Graceful, 9500);
    assert_eq!(server.look(&mut tracker, 9700).memory_peak, Some(0));
}

#[test]
fn what_processes_share_counts_once_nobody_comes_or_goes_between_two_readings() {
    let mut server = Server::new(8, 5);
    let mut tracker = ForecastTracker::default();
    server.child(11, 20, &IDLE);
    server.look(&mut tracker, 5000);
    let all = |server: &mut Server, at, pss| {
        let ids: Vec<ProcessId> = server.roles.keys().copied().collect();
        for id in ids {
            let rollup = Rollup { pss: pss * MEGABYTE, ..Rollup::default() };
            server.memory().insert(id, (rollup, after(at)));
        }
    };
    all(&mut server, 6000, 30);
    server.look(&mut tracker, 6000);
    server.look(&mut tracker, 7000);
    server.restarted(RestartType::Graceful, 7500);
    server.is_old(11);
    server.child(12, 7600, &IDLE);
    all(&mut server, 7900, 100);
    assert_eq!(server.look(&mut tracker, 8000).memory_peak, Some(0), "they were read before");
    server.events.clear();
    all(&mut server, 9000, 40);
    assert_eq!(server.look(&mut tracker, 9000).memory_peak, Some(0), "somebody may go meanwhile");
    let peak = server.look(&mut tracker, 9100).memory_peak;
    assert_eq!(peak, Some((3 * 40 - 2 * 30) * MEGABYTE));
}

#[test]
fn what_other_processes_used_is_no_measure() {
    let mut server = Server::new(8, 5);
    let mut tracker = ForecastTracker::default();
    server.child(11, 20, &IDLE);
    for at in [5000, 6000] {
        let ids: Vec<ProcessId> = server.roles.keys().copied().collect();
        for id in ids {
            server.reads(id, at, 20, 20);
        }
        server.look(&mut tracker, at);
    }
    server.child(12, 6100, &IDLE);
    server.look(&mut tracker, 7000);
    server.restarted(RestartType::Graceful, 7500);
    for at in [8000, 9000, 10_000] {
        let ids: Vec<ProcessId> = server.roles.keys().copied().collect();
        for id in ids {
            server.reads(id, at, 20, 20);
        }
        assert_eq!(server.look(&mut tracker, at).memory_peak, Some(0), "there were two children");
        server.events.clear();
    }
}

#[test]
fn starts_are_counted_in_the_second_in_which_most_were() {
    let mut server = Server::new(64, 1);
    let mut tracker = ForecastTracker::default();
    server.child(11, 20, &[]);
    assert_eq!(server.look(&mut tracker, 5000).peak_child_starts, None);
    server.restarted(RestartType::Full, 6000);
    for (pid, born) in [(12, 6990), (13, 7000), (14, 7900), (15, 7980), (16, 7990), (17, 9000)] {
        server.child(pid, born, &[]);
    }
    assert_eq!(server.look(&mut tracker, 9100).peak_child_starts, Some(4));
    server.events.clear();
    for pid in 20..30 {
        server.child(pid, 9900, &[]);
    }
    assert_eq!(server.look(&mut tracker, 10_000).peak_child_starts, Some(11));
    for pid in 30..60 {
        server.child(pid, 39_200, &[]);
    }
    assert_eq!(server.look(&mut tracker, 39_300).peak_child_starts, Some(30), "the last look");
    server.child(61, 40_000, &[]);
    assert_eq!(server.look(&mut tracker, 40_100).peak_child_starts, Some(30));
}

/// Whether it is old, its workers and since when they are at work, its figures.
type AnyChild = (bool, u8, u32, i64, Option<[u64; 3]>);

fn children() -> impl Strategy<Value = Vec<AnyChild>> {
    let figures = prop::option::of(prop::array::uniform3(prop_oneof![0..u64::MAX, Just(u64::MAX)]));
    let workers = prop_oneof![0..20_u32, Just(u32::MAX)];
    prop::collection::vec((any::<bool>(), 0..12_u8, workers, any::<i64>(), figures), 0..12)
}

fn settings() -> impl Strategy<Value = Option<ServerSettings>> {
    let number = || prop::option::of(prop_oneof![0..300_u32, Just(u32::MAX)]);
    let numbers = (number(), number(), number(), number(), any::<bool>());
    prop::option::of(numbers.prop_map(|(start_servers, min_spare, threads, most, is_partial)| {
        ServerSettings {
            start_servers,
            min_spare,
            threads_per_child: threads,
            max_request_workers: most,
            is_partial,
            ..ServerSettings::default()
        }
    }))
}

proptest! {
    #[test]
    fn no_look_breaks_a_law(
        limits in (0..40_u32, 0..9_u32),
        children in children(),
        settings in settings(),
        restarts in any::<bool>(),
    ) {
        let mut server = Server::new(limits.0, limits.1);
        server.resources.settings = settings;
        for ((is_old, status, workers, begun, figures), pid) in children.into_iter().zip(11..) {
            let workers = [(WorkerStatus::from_raw(status), workers)];
            let slot = server.child(pid, 20, &workers);
            slot.begun = vec![Timestamp::from_micros(begun)];
            slot.graceful.at_request = u32::from(status) * 300_000_000;
            slot.waiting.suspended = u32::MAX * u32::from(status % 2);
            let id = process(pid, 20);
            match figures {
                Some([pss, private, anonymous]) => {
                    let rollup = Rollup { pss, private, swap: 0, anonymous };
                    server.memory().insert(id, (rollup, after(5000)));
                }
                None => drop(server.memory().remove(&id)),
            }
            if is_old {
                server.is_old(pid);
            }
        }
        if restarts {
            server.restarted(RestartType::Graceful, 4000);
        }
        let mut tracker = ForecastTracker::default();
        let first = server.look(&mut tracker, 5000);
        let plan = first.plan.unwrap();
        let slots = first.slots.unwrap();
        prop_assert!(u64::from(plan.grows_to) <= slots.available);
        prop_assert!(slots.available <= u64::from(limits.0.max(1)));
        prop_assert!(plan.starts >= 1 && slots.needed >= u64::from(plan.starts));
        prop_assert_eq!(plan.stay + plan.leave, u32::try_from(server.roles.len() - 1).unwrap());
        server.events.clear();
        let again = server.look(&mut tracker, 5000);
        prop_assert_eq!((again.plan, again.memory), (first.plan, first.memory));
        prop_assert!(again.memory_peak >= first.memory_peak);
        prop_assert_eq!(server.look(&mut tracker, 5000), again);
        server.look_at(&mut tracker, Moment { uptime: after(0).uptime, wall: wall(0) });
    }
}
