//! How fast an error log is read, beside mtail over the same file: `cargo bench --bench error_log`.
//!
//! One thread reads a file from the page cache, as the follower of a log does, and counts lines by
//! level and code; the counts must be those that were written. What a flood of hostile lines costs
//! is shown as well. mtail counts the same with two regular expressions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a measurement that fails says so by panicking; it starts programs and clocks of its own; what a counter shows is exact"
)]

#[allow(dead_code, reason = "this one measures no distances")]
mod distances;
mod log_lines;
mod mtail;
#[allow(dead_code, reason = "this one measures no distances")]
mod report;

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    process::ExitCode,
};

use gracekeeper::{
    clock,
    decode::error_log::{Counts, LineSplitter},
};
use log_lines::{Block, hostile_blocks};
use report::Report;

/// Of the whole file: more than any cache of a processor.
const FILE_BYTES: usize = 256 << 20;
/// Of the part of it that mtail reads.
const MTAIL_BYTES: usize = 64 << 20;
/// As the follower reads.
const CHUNK_BYTES: usize = 256 << 10;
const PASSES: usize = 5;

const LEAST_MEGABYTES_A_SECOND: f64 = 500.0;
const LEAST_RATIO: f64 = 20.0;

fn main() -> ExitCode {
    if !mtail::is_there() {
        eprintln!("mtail is not installed: apt-get install mtail (make bench does it)");
        return ExitCode::FAILURE;
    }
    let mut report = Report::default();
    let folder = tempfile::tempdir().unwrap();
    let block = Block::mixed();
    let repeats = FILE_BYTES.div_ceil(block.bytes.len());
    let path = folder.path().join("error_log");
    let mut file = File::create_new(&path).unwrap();
    (0..repeats).for_each(|_| file.write_all(&block.bytes).unwrap());

    let speed = speed_of(&mut File::open(&path).unwrap(), &block, repeats);
    let bound = format!("at least {LEAST_MEGABYTES_A_SECOND} MB/s on one core");
    report.judge(&bound, format!("{speed:.0} MB/s"), speed >= LEAST_MEGABYTES_A_SECOND);

    println!("\nHostile lines, from memory");
    for (what, bytes) in hostile_blocks() {
        println!("{:>8.0} MB/s  {what}", speed_from_memory(&bytes));
    }

    let part = folder.path().join("part_of_error_log");
    let repeats = MTAIL_BYTES.div_ceil(block.bytes.len());
    fs::write(&part, block.bytes.repeat(repeats)).unwrap();
    let run = mtail::read(&part, &folder.path().join("programs"));
    let bytes = (repeats * block.bytes.len()) as f64;
    let by_the_clock = bytes / run.seconds / 1e6;
    let by_its_work = bytes / run.processor_seconds / 1e6;
    println!("\nmtail, of {:.0} MB", bytes / 1e6);
    println!("{by_the_clock:>8.0} MB/s by the clock, {:.1} s, on all its threads", run.seconds);
    println!("{by_its_work:>8.0} MB/s of processor time, {:.1} s", run.processor_seconds);
    assert_eq!(run.lines_with_level, block.default_lines * repeats as u64, "mtail missed lines");

    // Whichever is kinder to mtail: others may hold the processor, and its threads may be many.
    let ratio = speed / by_the_clock.max(by_its_work);
    let bound = format!("at least {LEAST_RATIO} times as fast as mtail");
    report.judge(&bound, format!("{ratio:.0} times"), ratio >= LEAST_RATIO);
    report.close()
}

/// Megabytes a second of this thread's own time, the median of some passes.
fn speed_of(file: &mut File, block: &Block, repeats: usize) -> f64 {
    println!("{} MB, from the page cache", repeats * block.bytes.len() / 1_000_000);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut speeds = Vec::new();
    for _ in 0..PASSES {
        file.rewind().unwrap();
        let mut counts = Counts::default();
        let mut splitter = LineSplitter::default();
        let mut bytes = 0;
        let (before, start) = (clock::work_of_this_thread(), clock::now());
        loop {
            let count = file.read(&mut chunk).unwrap();
            if count == 0 {
                break;
            }
            bytes += count;
            splitter.feed(&chunk[..count], |line| counts.take(line));
        }
        let work = clock::work_of_this_thread().saturating_sub(before);
        let elapsed = clock::now().since(start);
        assert_eq!(bytes, repeats * block.bytes.len());
        block.assert_counted(&counts, repeats as u64);
        let speed = |seconds: f64| bytes as f64 / seconds / 1e6;
        println!(
            "{:>8.0} MB/s of processor time, {:.0} MB/s by the clock",
            speed(work.as_secs_f64()),
            speed(elapsed.as_secs_f64())
        );
        speeds.push(speed(work.as_secs_f64()));
    }
    speeds.sort_by(f64::total_cmp);
    speeds[PASSES / 2]
}

fn speed_from_memory(bytes: &[u8]) -> f64 {
    let mut counts = Counts::default();
    let mut splitter = LineSplitter::default();
    let before = clock::work_of_this_thread();
    for chunk in bytes.chunks(CHUNK_BYTES) {
        splitter.feed(chunk, |line| counts.take(line));
    }
    splitter.cut(|line| counts.take(line));
    let seconds = clock::work_of_this_thread().saturating_sub(before).as_secs_f64();
    assert!(counts.lines().count() > 0);
    bytes.len() as f64 / seconds / 1e6
}
