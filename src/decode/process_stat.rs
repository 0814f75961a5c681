//! `/proc/PID/stat`, as far as it matters here.
//!
//! A child may give itself any name, also one that is not UTF-8, and must not become invisible by
//! it; so this line is read as bytes, not by the procfs crate, which wants text.

use crate::model::process::ProcessState;

/// One line of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The name, at most 15 bytes that the process itself may choose.
    pub name: Vec<u8>,
    /// How it is.
    pub state: ProcessState,
    /// Its parent's number; 0 for none.
    pub parent: i32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// Reads the line; `None` if it is not one.
#[must_use]
pub fn process_stat(line: &[u8]) -> Option<ProcessStat> {
    let opening = line.iter().position(|byte| *byte == b'(')?;
    // The name may hold parentheses and spaces: the last one ends it.
    let closing = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(opening + 1..closing)?.to_vec();
    let rest = std::str::from_utf8(line.get(closing + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = match fields.next()? {
        "Z" | "X" | "x" => ProcessState::Ended,
        "T" | "t" => ProcessState::Stopped,
        "D" => ProcessState::Uninterruptible,
        _ => ProcessState::Alive,
    };
    let parent = fields.next()?.parse().ok()?;
    // Fields 5 to 21 lie between the parent and the start time, proc(5).
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(ProcessStat { name, state, parent, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"14492 (apache2) S 14489 14489 14489 0 -1 4194368 300 0 0 0 0 0 0 0 20 0 \
        7 0 78445 2097152 1024 18446744073709551615 1 1 0 0 0 0 0 16781312 134235883 0 0 0 17 1 0 0";

    #[test]
    fn a_child_is_read() {
        let stat = process_stat(LINE).unwrap();
        assert_eq!(stat.name, b"apache2");
        assert_eq!(stat.state, ProcessState::Alive);
        assert_eq!((stat.parent, stat.start_ticks), (14489, 78445));
    }

    #[test]
    fn a_name_does_not_hide_what_follows() {
        let line = String::from_utf8_lossy(LINE).replace("(apache2) S", "(a) Z 1 () Z");
        let stat = process_stat(line.as_bytes()).unwrap();
        assert_eq!(stat.name, b"a) Z 1 (");
        assert_eq!((stat.state, stat.parent), (ProcessState::Ended, 14489));
    }

    #[test]
    fn a_name_need_not_be_text() {
        let line = [b"1 (\xff\xfe) R 0".as_slice(), &b" 0".repeat(17), b" 5 "].concat();
        assert_eq!(process_stat(&line).unwrap().start_ticks, 5);
    }

    #[test]
    fn half_a_line_is_none() {
        for end in 0..LINE.len() - 100 {
            let _ = process_stat(&LINE[..end]);
        }
        assert_eq!(process_stat(&LINE[..40]), None);
        assert_eq!(process_stat(b")("), None);
    }
}
