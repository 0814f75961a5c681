//! What holds of whatever lies in the journal: a line is no entry, or one that is written as a line
//! that is read as the same entry.

use gracekeeper::decode::journal::entry;

/// Returns how many lines are entries.
pub(crate) fn run(input: &[u8]) -> usize {
    let entries = input.split(|byte| *byte == b'\n').filter_map(entry);
    let written = entries.map(|read| {
        let line = serde_json::to_string(&read).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(entry(line.as_bytes()), Some(read));
    });
    written.count()
}
