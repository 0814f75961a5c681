//! What holds of whatever an error log tells.

use gracekeeper::{
    decode::error_log::{LineSplitter, escaped, failure, line, line_and_number, told},
    history::{calendar::Calendar, note::note, story::Story, summary::Summary, table::Table},
    model::time::Timestamp,
};
use jiff::tz::TimeZone;

/// An error log.
pub(crate) fn run(log: &[u8]) {
    let mut splitter = LineSplitter::default();
    let mut calendar = Calendar::new(TimeZone::UTC, Timestamp::from_micros(1_800_000_000_000_000));
    let table = Table {
        zone: TimeZone::UTC,
        guessed: std::collections::BTreeSet::new(),
        is_coloured: false,
    };
    let (mut story, mut summary) = (Story::new("x"), Summary::default());
    let mut entries = Vec::new();
    let mut take = |text: &[u8]| {
        let (fast, number) = line_and_number(text);
        assert_eq!(fast, line(text));
        assert_eq!(number.is_some(), fast.code.is_some());
        assert_eq!(told(text).line, fast);
        if let Some((_, words)) = failure::saying(text) {
            assert!(words.len() <= failure::LONGEST_WORDS);
            assert_eq!(words, escaped(words.as_bytes(), words.len()));
        }
        if let Some(note) = note(text) {
            story.take(calendar.instant(note.time), note);
            entries.extend(story.ready());
        }
    };
    splitter.feed(log, &mut take);
    splitter.cut(&mut take);
    entries.extend(story.end());
    for entry in &entries {
        summary.take(entry);
        let row = table.row(entry);
        assert!(row.ends_with('\n') && !row.trim_end().chars().any(char::is_control), "{row:?}");
        let json = serde_json::to_string(entry).unwrap();
        assert_eq!(
            &serde_json::from_str::<gracekeeper::model::journal::Entry>(&json).unwrap(),
            entry
        );
    }
    assert!(!summary.text(&table).trim_end().chars().any(char::is_control));
}
