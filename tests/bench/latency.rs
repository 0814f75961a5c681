//! From a restart's signal to the counter that a scrape shows, while every core is busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::distances::Distances;
use crate::harness::metrics::Metrics;
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually};
use crate::report::Report;

/// With the log, as root.
const BOUND: f64 = 0.150;
/// Without it: the default `watch.interval`.
const INTERVAL: f64 = 1.0;
/// A parent with a signal left would have taken it by then: it sleeps a second at most.
const QUIET: Duration = Duration::from_millis(1200);

pub(crate) fn measure(rounds: usize, report: &mut Report) {
    let load = Load::on_every_core();
    println!("\nFrom the signal to a scraped counter, {} cores busy: ms", load.threads.len());
    println!("{:>8} {:>8} {:>8} {:>8} {:>8}", "mpm", "log", "median", "p95", "max");
    for (settings, log, bound) in [("", "auto", BOUND), ("error_log = \"none\"", "none", INTERVAL)]
    {
        let mut all = Distances::default();
        for mpm in [Mpm::Event, Mpm::Worker, Mpm::Prefork] {
            let distances = one(mpm, settings, rounds);
            println!("{:>8} {log:>8} {distances}", format!("{mpm:?}").to_lowercase());
            all.extend(&distances);
        }
        report.judge_distances(&format!("a restart counted, error_log = {log},"), &all, bound);
    }
}

fn one(mpm: Mpm, settings: &str, rounds: usize) -> Distances {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).server(settings).start();
    gracekeeper.wait_until("serves", |it| it.total("httpd_serving", &[]) > 0.0);
    let mut distances = Distances::default();
    for _ in 0..rounds {
        for (signal, kind) in [(Signal::USR1, "graceful"), (Signal::HUP, "hard")] {
            thread::sleep(QUIET);
            let counted = |it: &Metrics| it.total("httpd_restarts_total", &[("type", kind)]);
            let before = counted(&gracekeeper.scrape());
            let began = Instant::now();
            httpd.signal(signal);
            eventually("it is counted", || counted(&gracekeeper.scrape()) > before);
            distances.add(began.elapsed().as_secs_f64());
        }
    }
    distances
}

/// A thread for each core, that does nothing but keep it busy.
struct Load {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on_every_core() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let spin = |_| {
            let ends = Arc::clone(&ends);
            thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { threads: (0..cores).map(spin).collect(), ends }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
