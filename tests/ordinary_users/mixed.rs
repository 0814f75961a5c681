//! Restarts of all kinds, at random distances, also on a busy machine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use super::{assert_never_wrong, drains, over, truth, watched};
use crate::harness::{Httpd, Mpm, configuration::Builder, under_every_mpm};

under_every_mpm! {
    a_mix_is_never_miscounted
    a_mix_with_cgid_and_held_requests_is_never_miscounted
    a_mix_on_a_busy_machine_is_never_miscounted
}

const RESTARTS: u64 = 12;

/// A linear congruential generator (Knuth's MMIX): a failure prints its seed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        eprintln!("seed {seed}");
        Self(u64::from(seed))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Threads that do nothing else but keep two cores busy, until dropped.
struct Busy {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    fn machine() -> Self {
        let over = Arc::<AtomicBool>::default();
        let spin = || {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..2).map(|_| spin()).collect();
        Self { over, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _: thread::Result<()> = thread.join();
        }
    }
}

fn mix(httpd: Builder, holds: bool) {
    let Some((httpd, gracekeeper)) = watched(httpd) else { return };
    let mut dice = Dice::new();
    let mut held = None;
    for _ in 0..RESTARTS {
        match dice.roll(4) {
            0 => httpd.hard(),
            1 if holds && held.is_none() && httpd.generation().is_some() => {
                held = Some(httpd.hold_requests(1));
                httpd.graceful();
            }
            2 => {
                held = None;
                httpd.graceful();
            }
            _ => httpd.graceful(),
        }
        // From 10 ms to 1 s, the short ones more often.
        let longest = 10 << dice.roll(7);
        thread::sleep(Duration::from_millis(10 + dice.roll(longest)));
    }
    drop(held);
    let metrics = over(&httpd, &gracekeeper);
    assert_never_wrong(&httpd, &metrics);
    let [graceful, ..] = truth(&httpd);
    let ended = drains(&metrics, "drained") + drains(&metrics, "interrupted");
    assert!(ended <= graceful, "{ended} drains of {graceful} graceful restarts");
}

fn a_mix_is_never_miscounted(mpm: Mpm) {
    mix(Httpd::builder(mpm), false);
}

fn a_mix_with_cgid_and_held_requests_is_never_miscounted(mpm: Mpm) {
    mix(Httpd::builder(mpm).with_cgid(), true);
}

fn a_mix_on_a_busy_machine_is_never_miscounted(mpm: Mpm) {
    let _busy = Busy::machine();
    mix(Httpd::builder(mpm), false);
}
