//! A line that tells something rings for a look; one that does not is counted by the next one.

use super::{append, contradictions, restarts, seen_serving, settled};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics};

fn looks(metrics: &Metrics) -> f64 {
    metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap()
}

fn rarely_looked_at(httpd: &Httpd) -> Gracekeeper {
    let gracekeeper = Gracekeeper::watching(httpd).watch("interval = \"60s\"").start();
    seen_serving(&gracekeeper);
    gracekeeper
}

#[test]
fn a_line_of_the_life_cycle_is_looked_at_long_before_the_next_look() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = rarely_looked_at(&httpd);
    // Nothing but the log moves.
    append(httpd.error_log().path(), b"AH00493: SIGUSR1 received.  Doing graceful restart\n");
    gracekeeper.wait_until("the line is counted", |metrics| {
        metrics.value("httpd_error_log_events_total", &[("code", "AH00493")]) == Some(1.0)
    });
    gracekeeper.wait_until("and contradicted", |metrics| contradictions(metrics) == 1.0);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn lines_that_tell_nothing_of_restarts_make_no_look() {
    const BURSTS: u8 = 200;
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = rarely_looked_at(&httpd);
    let path = httpd.error_log().path().to_owned();
    let before = looks(&gracekeeper.scrape());
    let line = b"[2026-11-22 10:38:22.146666] [core:error] [pid 1:tid 1] AH00126: Invalid URI\n";
    let burst = line.repeat(50);
    for _ in 0..BURSTS {
        append(&path, &burst);
        // As one request after the other would write them.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    append(&path, b"AH00493: SIGUSR1 received.  Doing graceful restart\n");
    let metrics = gracekeeper.wait_until("all of it is counted", |metrics| {
        metrics.total("httpd_error_log_lines_total", &[]) == 50.0 * f64::from(BURSTS) + 1.0
    });
    let made = looks(&metrics) - before;
    assert!(made <= 5.0, "{made} looks");
    assert!(made >= 1.0);
}
