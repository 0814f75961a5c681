//! Scoreboards of real parents and of invented ones, read with nothing but their family.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod edges;
mod laws;
mod synthesis;

use std::{collections::BTreeMap, fs, path::PathBuf};

use gracekeeper::{
    decode::scoreboard::{Family, FamilyMember, Reading, could_be, decode, layout::Layout},
    model::{
        process::Pid,
        scoreboard::{ShowRequests, SlotRecord, WorkerStatus},
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Moment {
    httpd: String,
    mpm: String,
    #[serde(rename = "moment")]
    when: String,
    segments: Vec<Segment>,
    children: Vec<Child>,
}

#[derive(Deserialize)]
struct Segment {
    file: String,
}

#[derive(Deserialize)]
struct Child {
    pid: i32,
    state: String,
}

/// What `mod_status` said, a little before or after.
#[derive(Default)]
struct Status {
    generation: Option<i32>,
    scoreboard: Option<String>,
    /// Pid to slot and generation.
    srv: BTreeMap<i32, (u32, i32)>,
    stopping: BTreeMap<i32, bool>,
}

impl Moment {
    fn name(&self) -> String {
        format!("{}-{}-{}", self.httpd, self.mpm, self.when)
    }

    fn layout(&self) -> Layout {
        match self.httpd.as_str() {
            "2.4.6" | "2.4.16" => Layout::Until2_4_17,
            "2.4.37" => Layout::Since2_4_35,
            "2.4.71" => Layout::WithWaitIo,
            other => panic!("httpd {other}"),
        }
    }

    fn family(&self) -> Vec<FamilyMember> {
        let member = |child: &Child| FamilyMember {
            pid: Pid::new(child.pid).unwrap(),
            alive: child.state != "Z",
            may_be_worker: true,
        };
        self.children.iter().map(member).collect()
    }

    /// The only mapping that is a scoreboard.
    fn scoreboard(&self) -> Vec<u8> {
        let segments =
            self.segments.iter().map(|segment| fs::read(fixture(&segment.file)).unwrap());
        let is_one = |bytes: &Vec<u8>| {
            let is_one = could_be(&bytes[..64], bytes.len() as u64);
            assert_eq!(is_one, decode(bytes, &Family::default(), None, ShowRequests::Off).is_ok());
            is_one
        };
        let mut scoreboards: Vec<_> = segments.filter(is_one).collect();
        assert_eq!(scoreboards.len(), 1, "{}", self.name());
        scoreboards.remove(0)
    }

    fn status(&self) -> Status {
        let mut status = Status::default();
        let Ok(text) = fs::read_to_string(fixture(&format!("{}.status.txt", self.name()))) else {
            return status;
        };
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["generation", number] => status.generation = Some(number.parse().unwrap()),
                ["auto", scoreboard] => status.scoreboard = Some((*scoreboard).to_owned()),
                ["srv", slot, generation, pid] => {
                    let place = (slot.parse().unwrap(), generation.parse().unwrap());
                    status.srv.insert(pid.parse().unwrap(), place);
                }
                ["stopping", _, pid, word] => {
                    status.stopping.insert(pid.parse().unwrap(), *word == "yes");
                }
                other => panic!("{other:?}"),
            }
        }
        status
    }
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/scoreboards", name].iter().collect()
}

fn moments() -> Vec<Moment> {
    let files = fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let described = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let read = |path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let moments: Vec<Moment> = described.map(read).collect();
    assert_eq!(moments.len(), 4 * 3 * 4, "releases, MPMs, moments");
    moments
}

fn read(segment: &[u8], family: &[FamilyMember], kept: Option<Layout>) -> Reading {
    decode(segment, &Family { httpd_children: family }, kept, ShowRequests::Off).unwrap()
}

fn proven(moment: &Moment) -> Vec<SlotRecord> {
    let reading = read(&moment.scoreboard(), &moment.family(), None);
    assert_eq!(reading.layout, Some(moment.layout()), "{}", moment.name());
    reading.scoreboard.slots.unwrap()
}

#[test]
fn every_release_is_recognised_and_every_child_has_its_slot() {
    for moment in moments() {
        let found: Vec<i32> = proven(&moment).iter().map(|record| record.pid.as_raw()).collect();
        for child in &moment.children {
            let times = found.iter().filter(|pid| **pid == child.pid).count();
            assert_eq!(times, 1, "{}: {}", moment.name(), child.pid);
        }
    }
}

#[test]
fn slots_and_generations_are_those_that_mod_status_shows() {
    let mut compared = 0;
    for moment in moments() {
        let status = moment.status();
        for record in proven(&moment) {
            let pid = record.pid.as_raw();
            if let Some((slot, generation)) = status.srv.get(&pid) {
                let place = (record.slot.index(), record.generation.number());
                assert_eq!(place, (*slot, *generation), "{}: {pid}", moment.name());
                compared += 1;
            }
            if let Some(stopping) = status.stopping.get(&pid) {
                assert_eq!(record.quiescing, *stopping, "{}: {pid}", moment.name());
            }
        }
    }
    assert!(compared >= 100, "{compared} compared");
}

#[test]
fn the_running_generation_is_the_one_that_mod_status_shows() {
    for moment in moments() {
        let global = read(&moment.scoreboard(), &[], None).scoreboard.global;
        let restarts = ["before", "drain", "drain2", "after-hard"];
        let expected = restarts.iter().position(|name| *name == moment.when).unwrap();
        assert_eq!(global.running_generation.number(), i32::try_from(expected).unwrap());
        let shown = moment.status().generation.unwrap_or(global.running_generation.number());
        assert_eq!(global.running_generation.number(), shown, "{}", moment.name());
        assert_eq!(global.server_limit, 8);
        assert_eq!(global.thread_limit, if moment.mpm == "prefork" { 1 } else { 5 });
    }
}

/// The request for `?auto` itself is one `W` that a moment later is `_`.
#[expect(clippy::wildcard_enum_match_arm, reason = "no dump has another")]
fn without_the_asking_request(workers: &[(WorkerStatus, u32)]) -> BTreeMap<char, u32> {
    let mut counts = BTreeMap::new();
    for (status, count) in workers {
        let letter = match status {
            WorkerStatus::Ready | WorkerStatus::Sending => '_',
            WorkerStatus::Reading => 'R',
            WorkerStatus::Graceful => 'G',
            other => panic!("{other:?} in a dump"),
        };
        *counts.entry(letter).or_default() += count;
    }
    counts
}

#[test]
fn workers_are_those_of_the_string_that_mod_status_shows() {
    let mut compared = 0;
    for moment in moments() {
        let status = moment.status();
        let Some(shown) = &status.scoreboard else {
            continue;
        };
        let threads = if moment.mpm == "prefork" { 1 } else { 5 };
        for record in proven(&moment) {
            let start = record.slot.index() as usize * threads;
            let shown = shown.get(start..start + threads).unwrap_or_default();
            // The slot had another child, or was free, when it was asked.
            if !status.srv.contains_key(&record.pid.as_raw()) || shown.chars().all(|it| it == '.') {
                continue;
            }
            let mut expected = BTreeMap::new();
            for letter in shown.chars().filter(|letter| *letter != '.') {
                *expected.entry(if letter == 'W' { '_' } else { letter }).or_default() += 1;
            }
            let told = without_the_asking_request(&record.workers);
            assert_eq!(told, expected, "{}: {}", moment.name(), record.pid);
            compared += 1;
        }
    }
    assert!(compared >= 80, "{compared} compared");
}

/// Some releases have the same size for the same limits, and differ in where a slot begins.
#[test]
fn the_trap_of_the_equal_sizes_is_seen_through() {
    for moment in moments() {
        let segment = moment.scoreboard();
        for wrong in Layout::ALL.into_iter().filter(|layout| *layout != moment.layout()) {
            let reading = read(&segment, &moment.family(), Some(wrong));
            assert_eq!(reading.layout, Some(moment.layout()), "{} as {wrong:?}", moment.name());
            assert_eq!(reading.scoreboard.slots, Some(proven(&moment)));
        }
    }
}

/// The bytes of one release's slots where another's would be: the other stride alone fits.
#[test]
fn slots_of_a_stride_that_nobody_knows_are_not_read() {
    for moment in moments() {
        let mut segment = moment.scoreboard();
        let [global, stride, room, _] = synthesis::sizes(moment.layout());
        for unknown in [28, 44, 52].into_iter().filter(|unknown| *unknown != stride) {
            let old = segment.clone();
            let start = 8 + global;
            segment[start..start + 8 * room].fill(0);
            for slot in 0..(8 * room).div_euclid(unknown).min(8) {
                let [from, to] = [start + slot * stride, start + slot * unknown];
                segment[to..to + 28].copy_from_slice(&old[from..from + 28]);
            }
            let reading = read(&segment, &moment.family(), None);
            let name = moment.name();
            // A single child in the first slot is where every stride has it.
            let slots = reading.scoreboard.slots.unwrap_or_default();
            assert!(slots.iter().all(|record| record.slot.index() == 0), "{name} at {unknown}");
            segment = old;
        }
    }
}

#[test]
fn a_layout_once_proven_is_read_while_no_child_lives() {
    for moment in moments() {
        let segment = moment.scoreboard();
        let nobody = read(&segment, &[], None);
        assert_eq!((nobody.scoreboard.slots, nobody.layout), (None, None));
        let kept = read(&segment, &[], Some(moment.layout()));
        assert_eq!(kept.scoreboard.slots, Some(proven(&moment)));
        assert_eq!(kept.layout, Some(moment.layout()));
    }
}

#[test]
fn daemons_without_a_slot_do_not_hide_the_proof() {
    for moment in moments() {
        let mut family = moment.family();
        family.extend((0..20).map(|daemon| FamilyMember {
            pid: Pid::new(60_000 + daemon).unwrap(),
            alive: true,
            may_be_worker: true,
        }));
        let reading = read(&moment.scoreboard(), &family, None);
        assert_eq!(reading.scoreboard.slots, Some(proven(&moment)), "{}", moment.name());
    }
}
