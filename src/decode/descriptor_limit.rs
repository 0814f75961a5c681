//! The limit of open files in `/proc/PID/limits`, of which nothing else is wanted, and that often.

use thiserror::Error;

/// The name of the row.
const ROW: &[u8] = b"Max open files";

/// It is not a table of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not tell a limit of open files")]
pub struct NoLimit;

/// Reads the soft limit of open files; `None`: unlimited.
pub fn soft_limit(limits: &[u8]) -> Result<Option<u64>, NoLimit> {
    let mut rows = limits.split(|byte| *byte == b'\n');
    let row = rows.find_map(|row| row.strip_prefix(ROW)).ok_or(NoLimit)?;
    let text = std::str::from_utf8(row).map_err(|_| NoLimit)?;
    match text.split_ascii_whitespace().next() {
        Some("unlimited") => Ok(None),
        Some(number) => number.parse().map(Some).map_err(|_| NoLimit),
        None => Err(NoLimit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits =
            b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Ok(Some(1024)));
    }

    #[test]
    fn none_is_told_from_nothing() {
        assert_eq!(soft_limit(b"Max open files  unlimited unlimited files\n"), Ok(None));
        for limits in [&b""[..], b"Max open files", b"Max open files \xff 3", b"Max open files -1"]
        {
            assert_eq!(soft_limit(limits), Err(NoLimit), "{limits:?}");
        }
    }
}
