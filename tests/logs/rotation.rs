//! A log that is rotated, in every way and as often as anybody would.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{contradictions, decided, ledger::Ledger, resident, restarts, settled, watched};
use crate::harness::{Gracekeeper, Httpd, Mpm, under_every_mpm};

under_every_mpm! {
    a_log_that_is_renamed_before_a_graceful_restart_loses_no_line
}

fn a_log_that_is_renamed_before_a_graceful_restart_loses_no_line(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let ledger = Ledger::open(&httpd);
    let gracekeeper = watched(&httpd);
    for total in 1_u8..=3 {
        // Keeps a child of the old generation, and so the old file open.
        let held = httpd.hold_requests(1);
        httpd.error_log().rotate();
        httpd.graceful();
        httpd.oracle().after_restarts(usize::from(total));
        let metrics = settled(&gracekeeper, f64::from(total));
        assert_eq!(restarts(&metrics), [f64::from(total), 0.0, 0.0, 0.0]);
        ledger.assert_counted(&gracekeeper, &httpd);
        held.release();
    }
    assert_eq!(decided(&gracekeeper), 0.0);
}

/// So many graceful restarts, and both lines of each.
#[track_caller]
fn assert_counted(gracekeeper: &Gracekeeper, total: u8) {
    let metrics = settled(gracekeeper, f64::from(total));
    assert_eq!(restarts(&metrics), [f64::from(total), 0.0, 0.0, 0.0]);
    gracekeeper.wait_until("both lines of it are counted", |metrics| {
        ["AH00493", "AH00489"].iter().all(|code| {
            metrics.value("httpd_error_log_events_total", &[("code", code)])
                == Some(f64::from(total))
        })
    });
}

#[test]
fn a_log_that_is_copied_and_truncated_is_read_on() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    for total in 1_u8..=3 {
        let path = httpd.error_log().path().to_owned();
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        httpd.graceful();
        assert_counted(&gracekeeper, total);
    }
    assert_eq!(decided(&gracekeeper), 0.0);
}

#[test]
fn a_log_that_is_deleted_is_read_to_its_end() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    for total in 1_u8..=3 {
        fs::remove_file(httpd.error_log().path()).unwrap();
        httpd.graceful();
        assert_counted(&gracekeeper, total);
    }
    assert_eq!(decided(&gracekeeper), 0.0);
}

#[test]
fn ten_rotations_a_second_hide_no_restart_and_take_no_memory() {
    const ROTATIONS: u8 = 40;
    let httpd = Httpd::builder(Mpm::Event).server_limit(16).start();
    let gracekeeper = watched(&httpd);
    let mut before = 0;
    for rotation in 1..=ROTATIONS {
        let begin = Instant::now();
        httpd.error_log().rotate();
        httpd.graceful();
        httpd.oracle().after_restarts(usize::from(rotation));
        std::thread::sleep(Duration::from_millis(100).saturating_sub(begin.elapsed()));
        if rotation == ROTATIONS / 4 {
            before = resident(&gracekeeper);
        }
    }
    let metrics = settled(&gracekeeper, f64::from(ROTATIONS));
    assert_eq!(restarts(&metrics), [f64::from(ROTATIONS), 0.0, 0.0, 0.0]);
    assert_eq!(contradictions(&metrics), 0.0);
    let after = resident(&gracekeeper);
    assert!(after < before + (4 << 10), "{before} KiB became {after} KiB");
    let resumed = metrics.value("httpd_error_log_events_total", &[("code", "AH00489")]).unwrap();
    eprintln!("{resumed} of {ROTATIONS} resuming lines, {before} KiB then {after} KiB");
    assert_eq!(decided(&gracekeeper), 0.0);
}
