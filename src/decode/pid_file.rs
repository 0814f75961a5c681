//! httpd's pid file: one number and a line feed, nothing else.

use thiserror::Error;

use crate::model::process::Pid;

/// The longest content that is looked at: ten digits, white space and some doubt.
pub const LONGEST: usize = 64;

/// Why a pid file names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PidFileError {
    /// It holds nothing.
    #[error("it is empty")]
    Empty,
    /// It holds more than a number could need.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// It holds something else.
    #[error("it does not hold a process number")]
    NotANumber,
}

/// Reads a pid file's content. Pid 1 is a container's init and may well be httpd.
pub fn pid(content: &[u8]) -> Result<Pid, PidFileError> {
    if content.len() > LONGEST {
        return Err(PidFileError::TooLong);
    }
    let digits = content.trim_ascii();
    if digits.is_empty() {
        return Err(PidFileError::Empty);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(PidFileError::NotANumber);
    }
    let number = digits.iter().try_fold(0_i32, |number, digit| {
        number.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    });
    number.and_then(Pid::new).ok_or(PidFileError::NotANumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_httpd_writes_is_a_pid() {
        assert_eq!(pid(b"4711\n").map(Pid::as_raw), Ok(4711));
        assert_eq!(pid(b" 1").map(Pid::as_raw), Ok(1));
    }

    #[test]
    fn everything_else_names_nobody() {
        let long = [b'1'; LONGEST + 1];
        for (content, error) in [
            (&b""[..], PidFileError::Empty),
            (b"\n\n", PidFileError::Empty),
            (b"0", PidFileError::NotANumber),
            (b"-1", PidFileError::NotANumber),
            (b"+1", PidFileError::NotANumber),
            (b"12 13", PidFileError::NotANumber),
            (b"99999999999", PidFileError::NotANumber),
            (b"\xff\xfe", PidFileError::NotANumber),
            (&long, PidFileError::TooLong),
        ] {
            assert_eq!(pid(content), Err(error), "{content:?}");
        }
    }
}
