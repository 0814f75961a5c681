//! A log that is written as fast as the disk allows: looks go on, and nothing grows.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{append, contradictions, decided, resident, restarts, settled, watched};
use crate::harness::{Gracekeeper, Httpd, Mpm};

const LINE: &[u8] = b"[2026-11-22 10:38:22.146666] [authz_core:error] [pid 4711:tid 4711] \
    [client 192.0.2.1:4711] AH01630: client denied by server configuration: /srv/www/x\n";
const MOST_BYTES: usize = 400 << 20;
const SECONDS: Duration = Duration::from_secs(5);

/// Appends until it is told to end, or has written enough; returns how many lines.
fn flood(path: &Path, end: &AtomicBool) -> usize {
    let block = LINE.repeat(8000);
    let mut file = File::options().append(true).open(path).unwrap();
    let (begin, mut lines) = (Instant::now(), 0);
    while begin.elapsed() < SECONDS
        && !end.load(Ordering::Relaxed)
        && lines * LINE.len() < MOST_BYTES
    {
        file.write_all(&block).unwrap();
        lines += 8000;
    }
    lines
}

fn looked_at(gracekeeper: &Gracekeeper) -> f64 {
    gracekeeper.scrape().value("gracekeeper_look_timestamp_seconds", &[]).unwrap()
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "bytes of a file")]
fn a_flood_hides_no_restart_and_every_byte_of_it_is_accounted_for() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    let path = httpd.error_log().path().to_owned();
    // What one reading needs is then there.
    append(&path, &LINE.repeat(8000));
    gracekeeper.wait_until("the first lines are counted", |metrics| {
        metrics.total("httpd_error_log_lines_total", &[]) >= 8000.0
    });
    let before = resident(&gracekeeper);
    let end = AtomicBool::new(false);
    let lines = thread::scope(|scope| {
        let writer = scope.spawn(|| flood(&path, &end));
        let mut done = 0_u8;
        while !writer.is_finished() {
            let looked = looked_at(&gracekeeper);
            done += 1;
            httpd.signal(rustix::process::Signal::USR1);
            let metrics = settled(&gracekeeper, f64::from(done));
            assert_eq!(restarts(&metrics), [f64::from(done), 0.0, 0.0, 0.0]);
            assert!(looked_at(&gracekeeper) > looked);
        }
        end.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), done)
    });
    let (lines, done) = (lines.0 + 8000, lines.1);
    let after = resident(&gracekeeper);
    let written = (lines * LINE.len()) as f64;
    let metrics = gracekeeper.wait_until("every byte is accounted for", |metrics| {
        let errors = metrics.value("httpd_error_log_lines_total", &[("level", "error")]).unwrap();
        let skipped = metrics.value("httpd_error_log_skipped_bytes_total", &[]).unwrap();
        // A line that was cut may be counted as well as skipped, and httpd's own are among them.
        (errors * LINE.len() as f64 + skipped - written).abs() < 65_536.0
    });
    let skipped = metrics.value("httpd_error_log_skipped_bytes_total", &[]).unwrap();
    eprintln!(
        "{done} restarts, {written} bytes in {SECONDS:?}, {skipped} skipped, \
         {before} KiB became {after} KiB"
    );
    assert!(after < before + (4 << 10), "{before} KiB became {after} KiB");
    assert_eq!(restarts(&metrics), [f64::from(done), 0.0, 0.0, 0.0]);
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(decided(&gracekeeper), 0.0);
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    const MEBIBYTES: usize = 100;
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    let path = httpd.error_log().path().to_owned();
    let before = resident(&gracekeeper);
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..MEBIBYTES {
        append(&path, &piece);
    }
    append(&path, b"\n");
    let skipped = f64::from(u32::try_from(MEBIBYTES << 20).unwrap());
    let metrics = gracekeeper.wait_until("all but its beginning is skipped", |metrics| {
        let now = metrics.value("httpd_error_log_skipped_bytes_total", &[]).unwrap();
        now >= skipped - 8192.0 - 1.0
    });
    let now = metrics.value("httpd_error_log_skipped_bytes_total", &[]).unwrap();
    assert!(now <= skipped + 1.0, "{now} of {skipped}");
    assert!(metrics.value("httpd_error_log_lines_total", &[("level", "none")]).unwrap() <= 2.0);
    let after = resident(&gracekeeper);
    eprintln!("{before} KiB became {after} KiB");
    assert!(after < before + (4 << 10), "{before} KiB became {after} KiB");
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    gracekeeper.wait_until("what follows is read", |metrics| {
        metrics.value("httpd_error_log_events_total", &[("code", "AH00489")]) == Some(1.0)
    });
}

#[test]
fn rubbish_is_lines_like_any_other() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    let path = httpd.error_log().path().to_owned();
    // Bytes of every value, in an order that is no order.
    let rubbish: Vec<u8> = (0..4_u32 << 20)
        .map(|at| at.wrapping_mul(2_654_435_761) ^ (at >> 7))
        .flat_map(|mixed| [mixed.to_le_bytes()[3], 0])
        .collect();
    let feeds = rubbish.split(|byte| *byte == b'\n').count() - 1;
    append(&path, &rubbish);
    append(&path, b"\n");
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    let expected = f64::from(u32::try_from(feeds).unwrap());
    let metrics = gracekeeper.wait_until("what follows is read", |metrics| {
        metrics.value("httpd_error_log_events_total", &[("code", "AH00489")]) == Some(1.0)
    });
    assert!(
        metrics.value("httpd_error_log_lines_total", &[("level", "none")]).unwrap() >= expected
    );
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    assert_eq!(decided(&gracekeeper), 0.0);
}

#[test]
fn a_flood_of_perfect_lines_restarts_nothing_and_hides_no_restart() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    let path = httpd.error_log().path().to_owned();
    let line = format!(
        "[2026-11-22 10:38:22.146666] [mpm_event:notice] [pid {0}:tid {0}] AH00494: SIGHUP \
         received.  Attempting to restart\n",
        httpd.pid()
    );
    let block = line.repeat(100);
    let end = AtomicBool::new(false);
    let (before, done) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let begin = Instant::now();
            while begin.elapsed() < SECONDS && !end.load(Ordering::Relaxed) {
                append(&path, block.as_bytes());
            }
        });
        gracekeeper.wait_until("they are counted", |metrics| {
            metrics.value("httpd_error_log_events_total", &[("code", "AH00494")]) > Some(1000.0)
        });
        let before = resident(&gracekeeper);
        let mut done = 0_u8;
        while !writer.is_finished() {
            done += 1;
            httpd.signal(rustix::process::Signal::USR1);
            let metrics = settled(&gracekeeper, f64::from(done));
            assert_eq!(restarts(&metrics), [f64::from(done), 0.0, 0.0, 0.0]);
        }
        end.store(true, Ordering::Relaxed);
        (before, done)
    });
    let after = resident(&gracekeeper);
    let wrong = decided(&gracekeeper);
    eprintln!("{done} restarts, {wrong} contradictions, {before} KiB became {after} KiB");
    assert!(after < before + (4 << 10), "{before} KiB became {after} KiB");
    let metrics = gracekeeper.scrape();
    assert_eq!(restarts(&metrics), [f64::from(done), 0.0, 0.0, 0.0]);
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    assert_eq!(super::said(&gracekeeper, &["msg=\"contradiction\""]), usize::from(wrong > 0.0));
}
