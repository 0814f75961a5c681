//! What holds of whatever logs say, however they are cut and in whatever order they are named.

use std::path::Path;

use gracekeeper::{
    history::{
        calendar::Calendar,
        story::Story,
        stream::{Log, Logs},
    },
    model::{journal::Entry, time::Timestamp},
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

pub(crate) use crate::fuzz_corpora::run_history;

fn tell(files: &[(String, Vec<u8>)]) -> Vec<Entry> {
    let logs = files.iter().map(|(name, bytes)| {
        let input = Box::new(std::io::Cursor::new(bytes.clone()));
        let calendar = Calendar::new(TimeZone::UTC, Timestamp::from_micros(1_800_000_000_000_000));
        Log::read(Path::new(name), input, calendar).unwrap()
    });
    let mut logs = Logs::new(logs.collect());
    let mut story = Story::new("x");
    let mut told = Vec::new();
    while let Some((instant, note)) = logs.next_note().unwrap() {
        story.take(instant, note);
        told.extend(story.ready());
    }
    told.extend(story.end());
    told
}

/// Lines of lives of two parents, in the order of time, with words between them.
fn lines() -> impl Strategy<Value = Vec<String>> {
    const MESSAGES: [&str; 14] = [
        "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations",
        "AH00493: SIGUSR1 received.  Doing graceful restart",
        "AH00494: SIGHUP received.  Attempting to restart",
        "AH00298: SIGHUP received.  Attempting to restart",
        "AH00491: caught SIGTERM, shutting down",
        "AH00492: caught SIGWINCH, shutting down gracefully",
        "AH00045: child process 12 still did not exit, sending a SIGTERM",
        "AH00050: Child 12 returned a Fatal error... Apache is exiting!",
        "AH00487: Ignoring fatal error in child of previous generation (pid 12).",
        "AH00052: child pid 12 exit signal Segmentation fault (11)",
        "AH00098: pid file /x overwritten -- Unclean shutdown of previous Apache run?",
        "AH00484: server reached MaxRequestWorkers setting",
        "AH00020: Configuration Failed, exiting",
        "AH00526: Syntax error on line 5 of /x:\nInvalid command 'Y'",
    ];
    let line = (0..MESSAGES.len(), 1..3, 0..2000_u32)
        .prop_map(|(message, pid, pause)| (MESSAGES[message], pid, pause));
    proptest::collection::vec(line, 0..40).prop_map(|lines| {
        let mut millis = 0;
        let lines = lines.into_iter().enumerate().map(|(index, (message, pid, pause))| {
            millis += pause + 1;
            let (minute, second, milli) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
            // Of a file of raw lines alone nothing tells when they were written.
            let raw = index > 0 && message.starts_with("AH00526");
            let header = format!(
                "[Sun Nov 22 10:{minute:02}:{second:02}.{milli:03} 2026] [x:notice] [pid {pid}:tid {pid}] "
            );
            format!("{}{message}\n", if raw { "" } else { &header })
        });
        lines.collect()
    })
}

proptest! {
    #[test]
    fn neither_the_order_of_files_nor_where_they_were_rotated_changes_the_story(
        lines in lines(),
        cuts in proptest::collection::vec(0.0..1.0_f64, 0..4),
    ) {
        let whole = tell(&[("error_log".to_owned(), lines.concat().into_bytes())]);
        prop_assert!(whole.is_sorted_by_key(|entry| entry.at), "{whole:?}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of few lines")]
        let at = |share: &f64| (share * lines.len() as f64) as usize;
        let mut cuts: Vec<_> = cuts.iter().map(at).collect();
        // A raw line is as old as the line before it, so that one must be in the same file.
        cuts.retain(|cut| lines.get(*cut).is_some_and(|line| line.starts_with('[')));
        cuts.extend([0, lines.len()]);
        cuts.sort_unstable();
        let count = cuts.len();
        let files: Vec<_> = cuts.windows(2).enumerate().map(|(index, cut)| {
            (format!("error_log.{}", count - index), lines[cut[0]..cut[1]].concat().into_bytes())
        }).collect();
        prop_assert_eq!(&tell(&files), &whole);
        let backwards: Vec<_> = files.into_iter().rev().collect();
        prop_assert_eq!(&tell(&backwards), &whole);
    }

    #[test]
    fn any_bytes_are_a_story(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        run_history(&bytes);
    }

    #[test]
    fn a_log_that_is_cut_anywhere_is_a_story(cut in 0..18_000_usize, flip in any::<u8>()) {
        let mut log = std::fs::read(super::logs().join("event-loglevel-trace1.log")).unwrap();
        log.truncate(cut);
        if let Some(byte) = log.get_mut(cut / 2) {
            *byte ^= flip;
        }
        run_history(&log);
    }
}
