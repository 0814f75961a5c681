//! One line of the journal, or of what `history` prints: an entry, or nothing.

use crate::model::journal::Entry;

/// No line that is written is as long as this: eight suspects and 500 bytes of httpd's own words,
/// all of them escaped.
pub const LONGEST: usize = 16 << 10;

/// The entry of a line without its end; `None` for what is none: one that was cut off, or that a
/// later version wrote with words that this one does not know.
#[must_use]
pub fn entry(line: &[u8]) -> Option<Entry> {
    serde_json::from_slice(line.get(..line.len().min(LONGEST))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_is_none() {
        let good = "{\"at\":\"2026-11-22T10:32:12Z\",\"server\":\"main\",\"event\":\"stop\",\
            \"type\":\"stop\"}";
        assert!(entry(good.as_bytes()).is_some());
        for cut in 0..good.len() {
            assert_eq!(entry(&good.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(entry(good.replace("\"stop\"", "\"blown_up\"").as_bytes()), None);
        assert_eq!(entry(b"\xff\xfe"), None);
        let endless = format!("{good}{}", " ".repeat(LONGEST));
        assert!(entry(endless.as_bytes()).is_some(), "what follows is not looked at");
    }
}
