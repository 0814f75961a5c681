//! Restarts as operators cause them, each played for some rounds under every MPM.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use crate::distances::Distances;
use crate::harness::metrics::Metrics;
use crate::harness::oracle::OracleRestart;
use crate::harness::{Mpm, RestartKind, eventually};
use crate::report::Report;
use crate::rounds::{Counts, Findings, Measure, Stage, sum};

/// How long a request is held: long beside a look's interval.
const HELD: Duration = Duration::from_millis(1500);
const APART: Duration = Duration::from_millis(20);
const SIGNALS: usize = 5;

struct Scenario {
    name: &'static str,
    round: fn(&mut Stage, &mut Findings),
    rounds: fn(usize, Mpm) -> usize,
}

/// Signals, and in words how far apart.
type Sequence = (&'static str, fn(&Stage));

const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "graceful, idle", round: graceful, rounds: all },
    Scenario { name: "graceful, held", round: graceful_with_held_requests, rounds: all },
    Scenario { name: "hard, idle", round: hard, rounds: all },
    Scenario { name: "hard, held", round: hard_with_held_requests, rounds: few_if_threaded },
    Scenario { name: "graceful five times", round: five_times, rounds: half },
    Scenario { name: "stop and start", round: stop_and_start, rounds: half },
    Scenario { name: "parent killed", round: kill, rounds: all },
];

fn all(rounds: usize, _: Mpm) -> usize {
    rounds
}

/// Each round is several restarts, or as slow as a start.
fn half(rounds: usize, _: Mpm) -> usize {
    rounds.div_ceil(2)
}

/// A blocked request goes through ten seconds of signals under event and worker.
fn few_if_threaded(rounds: usize, mpm: Mpm) -> usize {
    if mpm == Mpm::Prefork { rounds } else { rounds.div_ceil(5) }
}

pub(crate) fn play(rounds: usize, report: &mut Report) {
    println!("Accuracy: distances in milliseconds from what an independent oracle saw");
    println!(
        "{:<8} {:<20} {:>6} {:>5}  {:<20} {:>8} {:>8} {:>8}",
        "MPM", "scenario", "rounds", "wrong", "distance", "median", "p95", "max"
    );
    let mut distances = BTreeMap::<Measure, Distances>::new();
    let (mut played, mut wrong) = (0, Vec::new());
    for mpm in [Mpm::Event, Mpm::Worker, Mpm::Prefork] {
        for scenario in &SCENARIOS {
            let findings = perform(scenario, mpm, (scenario.rounds)(rounds, mpm));
            print(mpm, scenario, &findings);
            played += findings.rounds;
            wrong.extend(findings.wrong);
            for (measure, found) in &findings.distances {
                distances.entry(*measure).or_default().extend(found);
            }
        }
    }
    for line in &wrong {
        println!("wrong: {line}");
    }
    let measured = format!("{} wrong in {played} rounds", wrong.len());
    report.judge("counts and types are exact", measured, wrong.is_empty());
    for measure in Measure::ALL {
        let found = distances.remove(&measure).unwrap_or_default();
        report.judge_distances(measure.words(), &found, measure.bound());
    }
}

/// A round that panics ends its scenario, and not those after it.
fn perform(scenario: &Scenario, mpm: Mpm, rounds: usize) -> Findings {
    let mut findings = Findings::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut stage = Stage::set(mpm);
        for _ in 0..rounds {
            (scenario.round)(&mut stage, &mut findings);
            findings.rounds += 1;
        }
    }));
    if outcome.is_err() {
        findings.wrong.push(format!("{mpm:?}, {}: given up, see above", scenario.name));
    }
    findings
}

fn print(mpm: Mpm, scenario: &Scenario, findings: &Findings) {
    let Findings { rounds, distances, wrong } = findings;
    let wrong = wrong.len();
    let mpm = format!("{mpm:?}");
    let scenario = scenario.name;
    if distances.is_empty() {
        println!("{mpm:<8} {scenario:<20} {rounds:>6} {wrong:>5}");
    }
    for (measure, found) in distances {
        let words = measure.words();
        println!("{mpm:<8} {scenario:<20} {rounds:>6} {wrong:>5}  {words:<20} {found}");
    }
}

fn graceful(stage: &mut Stage, findings: &mut Findings) {
    let restarts = stage.restarts();
    let before = stage.settled();
    stage.httpd.graceful();
    let (index, restart) = stage.last_restart(restarts);
    stage.counted(Counts::of(&before).graceful(1));
    end_graceful(stage, findings, "graceful, idle", &before, (index, &restart));
}

fn graceful_with_held_requests(stage: &mut Stage, findings: &mut Findings) {
    let restarts = stage.restarts();
    let before = stage.settled();
    let held = stage.httpd.hold_requests(3);
    stage.httpd.graceful();
    let (index, restart) = stage.last_restart(restarts);
    stage.counted(Counts::of(&before).graceful(1));
    eventually("the requests were held for long enough", || {
        SystemTime::now().duration_since(restart.began).is_ok_and(|since| since >= HELD)
    });
    held.release();
    end_graceful(stage, findings, "graceful, held", &before, (index, &restart));
}

fn end_graceful(
    stage: &Stage,
    findings: &mut Findings,
    what: &str,
    before: &Metrics,
    (index, restart): (usize, &OracleRestart),
) {
    let drain = stage.drain(index);
    let after = stage.settled();
    findings.expect(what, Counts::of(&after), Counts::of(before).graceful(1));
    let grown = |name| sum(&after, name) - sum(before, name);
    let shown = grown("httpd_restart_duration_seconds");
    findings.add(Measure::Restart, shown, restart.duration().unwrap());
    let lasted = drain.end.unwrap().duration_since(drain.start).unwrap();
    findings.add(Measure::Drain, grown("httpd_drain_duration_seconds"), lasted);
}

fn hard(stage: &mut Stage, findings: &mut Findings) {
    let restarts = stage.restarts();
    let before = stage.settled();
    stage.httpd.hard();
    end_hard(stage, findings, restarts, "hard, idle", &before);
}

fn hard_with_held_requests(stage: &mut Stage, findings: &mut Findings) {
    let restarts = stage.restarts();
    let before = stage.settled();
    let held = stage.httpd.hold_requests(2);
    let seen = "the requests are seen";
    stage.gracekeeper.wait_until(seen, |metrics| {
        metrics.total("httpd_workers", &[("generation", "current"), ("state", "sending")]) >= 2.0
    });
    stage.httpd.hard();
    let after = end_hard(stage, findings, restarts, "hard, held", &before);
    let cut = after.total("httpd_interrupted_requests_total", &[])
        - before.total("httpd_interrupted_requests_total", &[]);
    if cut < 2.0 {
        findings.wrong.push(format!("hard, held: 2 requests were cut, {cut} are shown"));
    }
    drop(held);
}

fn end_hard(
    stage: &Stage,
    findings: &mut Findings,
    restarts: usize,
    what: &str,
    before: &Metrics,
) -> Metrics {
    let (_, restart) = stage.last_restart(restarts);
    let truth = Counts::of(before).hard();
    stage.counted(truth);
    let after = stage.settled();
    findings.expect(what, Counts::of(&after), truth);
    // Only event announces a hard restart before it ends its children.
    if stage.httpd.mpm() == Mpm::Event {
        let name = "httpd_restart_duration_seconds";
        let shown = sum(&after, name) - sum(before, name);
        findings.add(Measure::Restart, shown, restart.duration().unwrap());
    }
    after
}

/// Once as fast as httpd takes them all, once as fast as it may merge some.
fn five_times(stage: &mut Stage, findings: &mut Findings) {
    let sequences: [Sequence; 2] = [
        ("each resumed", |stage| stage.httpd.graceful_times(SIGNALS, APART)),
        ("20 ms apart", |stage| stage.httpd.signal_times(Signal::USR1, SIGNALS, APART)),
    ];
    for (what, signal) in sequences {
        let before = stage.settled();
        let earlier = stage.restarts();
        signal(stage);
        let total = stage.restarts_at_rest();
        let new = &stage.httpd.oracle().restarts()[earlier..];
        assert!(new.iter().all(|restart| restart.kind == RestartKind::Graceful));
        let truth = Counts::of(&before).graceful(total - earlier);
        stage.counted(truth);
        findings.expect(what, Counts::of(&stage.settled()), truth);
    }
}

fn stop_and_start(stage: &mut Stage, findings: &mut Findings) {
    let before = stage.settled();
    let stops = before.value("httpd_stops_total", &[("type", "stop")]).unwrap() + 1.0;
    stage.httpd.stop();
    stage.gracekeeper.wait_until("the server is down and known why", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0)
            && metrics.value("httpd_stops_total", &[("type", "stop")]) == Some(stops)
    });
    stage.httpd.start_again();
    let truth = Counts::of(&before).full();
    stage.counted(truth);
    findings.expect("stop and start", Counts::of(&stage.settled()), truth);
}

fn kill(stage: &mut Stage, findings: &mut Findings) {
    let before = stage.settled();
    let kills = before.value("httpd_stops_total", &[("type", "killed")]).unwrap() + 1.0;
    let sent = Instant::now();
    stage.httpd.signal(Signal::KILL);
    stage.gracekeeper.wait_until("httpd is shown as down", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0)
    });
    findings.add(Measure::Death, sent.elapsed().as_secs_f64(), Duration::ZERO);
    stage.gracekeeper.wait_until("it is known why", |metrics| {
        metrics.value("httpd_stops_total", &[("type", "killed")]) == Some(kills)
    });
    // The orphans keep the port.
    for orphan in stage.httpd.processes() {
        orphan.signal(Signal::KILL);
    }
    eventually("the orphans are gone", || stage.httpd.processes().is_empty());
    stage.httpd.start_again();
    let truth = Counts::of(&before).full();
    stage.counted(truth);
    findings.expect("parent killed", Counts::of(&stage.settled()), truth);
}
