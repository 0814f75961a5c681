//! What gracekeeper's two processes use: CPU while nothing happens and in a restart, memory.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use procfs::WithCurrentSystemInfo as _;
use procfs::process::Stat;

use crate::crowd::Crowd;
use crate::harness::metrics::Metrics;
use crate::harness::oracle::OracleDrain;
use crate::harness::process::children_of;
use crate::harness::{Gracekeeper, Httpd, eventually};
use crate::report::Report;
use crate::rounds::{number, sum};

/// The kernel counts in hundredths of a second.
const IDLE: Duration = Duration::from_secs(30);
/// Of a core, for both processes together.
const BOUND: f64 = 0.01;
/// Rare enough that being asked does not count.
const GLANCE: Duration = Duration::from_millis(200);

/// The watching process and the reading one.
struct Pair {
    pids: [u32; 2],
}

#[derive(Clone, Copy)]
struct Usage {
    /// In seconds.
    cpu: [f64; 2],
    resident: [u64; 2],
}

pub(crate) fn measure(few: &Crowd, many: &Crowd, report: &mut Report) {
    idle(&[few, many], report);
    restart(many);
    memory(&[few, many], "after it");
}

fn idle(crowds: &[&Crowd], report: &mut Report) {
    let read = || -> Vec<(Usage, f64)> {
        let usage = |crowd: &&Crowd| {
            (Pair::of(&crowd.gracekeeper).usage(), looks(&crowd.gracekeeper.scrape()))
        };
        crowds.iter().map(usage).collect()
    };
    let (begin, before) = (Instant::now(), read());
    thread::sleep(IDLE);
    let after = read();
    let seconds = begin.elapsed().as_secs_f64();
    println!("\nCost: percent of a core over {seconds:.0} s in which nothing happens");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "children", "watching", "reading", "both", "looks/s", "ms a look"
    );
    for (crowd, (before, after)) in crowds.iter().zip(before.iter().zip(&after)) {
        let cpu = after.0.since(before.0);
        let looks = after.1 - before.1;
        let share = (cpu[0] + cpu[1]) / seconds;
        println!(
            "{:>8} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>10.2}",
            crowd.children,
            cpu[0] / seconds * 100.0,
            cpu[1] / seconds * 100.0,
            share * 100.0,
            looks / seconds,
            (cpu[0] + cpu[1]) / looks * 1e3,
        );
        report.judge(
            &format!("with {} idle children at most 1 % of a core", crowd.children),
            format!("{:.2} %", share * 100.0),
            share <= BOUND,
        );
    }
    memory(crowds, "idle");
}

/// A graceful restart of every child, until all of the new generation are known. No bounds: two
/// thousand processes that come and go at once keep every other one waiting.
fn restart(crowd: &Crowd) {
    let Crowd { children, httpd, gracekeeper } = crowd;
    let pair = Pair::of(gracekeeper);
    let before = gracekeeper.scrape();
    let usage = pair.usage();
    let begin = Instant::now();
    httpd.graceful();
    let truth = eventually("the old generation has left", || {
        thread::sleep(GLANCE);
        let drain = httpd.oracle().drain(0).filter(|drain| drain.end.is_some());
        drain.filter(|_| living(httpd) == *children as usize)
    });
    let seen = begin.elapsed().as_secs_f64();
    let after = eventually("gracekeeper knows all of the new one", || {
        thread::sleep(GLANCE);
        Some(gracekeeper.scrape()).filter(|metrics| crowd.is_complete(metrics))
    });
    let took = begin.elapsed().as_secs_f64();
    let cpu = pair.usage().since(usage);
    let looks = looks(&after) - looks(&before);
    let exits = exits(&truth);
    let lasted = exits.last().unwrap().as_secs_f64();
    let shown = |name: &str| sum(&after, name) - sum(&before, name);
    let drain = shown("httpd_drain_duration_seconds");
    let restart = httpd.oracle().restarts()[0].duration().unwrap().as_secs_f64();
    println!("\nA graceful restart of {children} idle children");
    println!("complete after {seen:.1} s, known after {took:.1} s");
    println!("CPU seconds: watching {:.2}, reading {:.2}", cpu[0], cpu[1]);
    println!(
        "looks: {looks}, {:.0} ms each, of which both processes ran {:.1} ms",
        shown("gracekeeper_look_duration_seconds") / looks * 1e3,
        (cpu[0] + cpu[1]) / looks * 1e3,
    );
    println!("the first child left {:.3} s after the restart's line", exits[0].as_secs_f64());
    println!("restart: shown {:.3} s, was {restart:.3} s", shown("httpd_restart_duration_seconds"));
    println!("drain: shown {drain:.3} s, was {lasted:.3} s");
    let counted = |name: &str, labels: &[(&str, &str)]| {
        after.total(name, labels) - before.total(name, labels)
    };
    println!(
        "children: {} of {} drained, {} started, {} unexplained exits",
        counted("httpd_child_drain_duration_seconds_count", &[]),
        exits.len(),
        counted("httpd_child_starts_total", &[]),
        counted("httpd_child_exits_total", &[("reason", "unknown")]),
    );
}

/// When each child of the old generation left, since the restart's line, in order.
///
/// The kernel's list of children may miss one while others leave, and the oracle then sees it come
/// a second time, as a zombie even: the first time counts.
fn exits(drain: &OracleDrain) -> Vec<Duration> {
    let mut exits = BTreeMap::new();
    for child in &drain.children {
        let since = child.seen.exited.unwrap().duration_since(drain.start).unwrap();
        let earliest = exits.entry(child.seen.identity).or_insert(since);
        *earliest = since.min(*earliest);
    }
    let mut exits: Vec<Duration> = exits.into_values().collect();
    exits.sort();
    exits
}

fn living(httpd: &Httpd) -> usize {
    httpd.oracle().living_pids().into_iter().collect::<BTreeSet<u32>>().len()
}

fn memory(crowds: &[&Crowd], when: &str) {
    for crowd in crowds {
        let [watching, reading] = Pair::of(&crowd.gracekeeper).usage().resident;
        println!(
            "resident with {} children, {when}: watching {:.1} MiB, reading {:.1} MiB",
            crowd.children,
            mebibytes(watching),
            mebibytes(reading)
        );
    }
}

impl Pair {
    fn of(gracekeeper: &Gracekeeper) -> Self {
        let own: Vec<u32> = children_of(gracekeeper.pid()).into_iter().collect();
        let [reading] = own[..] else { panic!("one child is expected, not {own:?}") };
        Self { pids: [gracekeeper.pid(), reading] }
    }

    fn usage(&self) -> Usage {
        let stats = self.pids.map(stat);
        let ticks = number(usize::try_from(procfs::ticks_per_second()).unwrap());
        let cpu = |stat: &Stat| number(usize::try_from(stat.utime + stat.stime).unwrap()) / ticks;
        Usage {
            cpu: [cpu(&stats[0]), cpu(&stats[1])],
            resident: stats.map(|stat| stat.rss_bytes().get()),
        }
    }
}

impl Usage {
    fn since(self, before: Self) -> [f64; 2] {
        [self.cpu[0] - before.cpu[0], self.cpu[1] - before.cpu[1]]
    }
}

fn stat(pid: u32) -> Stat {
    procfs::process::Process::new(pid.cast_signed()).unwrap().stat().unwrap()
}

fn looks(metrics: &Metrics) -> f64 {
    metrics.total("gracekeeper_look_duration_seconds_count", &[])
}

fn mebibytes(bytes: u64) -> f64 {
    number(usize::try_from(bytes >> 10).unwrap()) / 1024.0
}
