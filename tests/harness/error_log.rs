//! What httpd itself wrote: its error log, split into timed lines and read by AH codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A line of the log that carries a time and a pid; raw lines do not, and are left out.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) pid: u32,
    /// As in `AH00493`.
    pub(crate) code: String,
    pub(crate) line: String,
}

/// What a line of the MPM says of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Resumed,
    Graceful,
    Hard,
    Stopped,
    StoppingGracefully,
}

impl Entry {
    /// `None` for a line whose format is not the harness's own.
    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
        let at = time.parse::<jiff::civil::DateTime>().ok()?;
        // Prefork has no thread id, and then httpd leaves the closing bracket out.
        let (_, rest) = rest.split_once("[pid ")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let pid = rest[..digits].parse().ok()?;
        let code = rest
            .match_indices("AH")
            .map(|(at, _)| &rest[at..])
            .map(|text| text.split(':').next().unwrap_or(text))
            .find(|code| code.len() >= 7 && code[2..].bytes().all(|b| b.is_ascii_digit()))
            .unwrap_or_default();
        Some(Self {
            at: at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().into(),
            pid,
            code: code.to_owned(),
            line: line.to_owned(),
        })
    }

    /// Codes of event, worker and prefork, in this order.
    pub(crate) fn lifecycle(&self) -> Option<Lifecycle> {
        match self.code.as_str() {
            "AH00489" | "AH00292" | "AH00163" => Some(Lifecycle::Resumed),
            "AH00493" | "AH00297" | "AH00171" => Some(Lifecycle::Graceful),
            "AH00494" | "AH00298" | "AH00173" => Some(Lifecycle::Hard),
            "AH00491" | "AH00295" | "AH00169" => Some(Lifecycle::Stopped),
            "AH00492" | "AH00296" | "AH00170" => Some(Lifecycle::StoppingGracefully),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ErrorLog {
    path: PathBuf,
}

impl ErrorLog {
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join("logs/error_log") }
    }

    /// Where httpd writes now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything since the first start, renamed files included.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for number in (1..=self.rotated()).rev() {
            text.push_str(&read(&self.renamed(number)));
        }
        text.push_str(&read(&self.path));
        text
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.text().lines().filter_map(Entry::parse).collect()
    }

    /// Renames it as logrotate does; httpd goes on writing there until it restarts.
    pub(crate) fn rotate(&self) {
        for number in (1..=self.rotated()).rev() {
            fs::rename(self.renamed(number), self.renamed(number + 1)).unwrap();
        }
        fs::rename(&self.path, self.renamed(1)).unwrap();
    }

    fn rotated(&self) -> u32 {
        let mut number = 0;
        while self.renamed(number + 1).exists() {
            number += 1;
        }
        number
    }

    fn renamed(&self, number: u32) -> PathBuf {
        self.path.with_file_name(format!("error_log.{number}"))
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_read_with_and_without_a_thread_id() {
        let event = "[1970-01-02 00:00:01.000002] [mpm_event:notice] [pid 12:tid 34] AH00493: \
                     SIGUSR1 received.  Doing graceful restart";
        let prefork = "[1970-01-01 00:00:00.000000] [mpm_prefork:notice] [pid 7:tid AH00163: \
                       Apache/2.4.71 (Debian) configured -- resuming normal operations";
        let errno = "[1970-01-01 00:00:00.000000] [x:error] [pid 7:tid 8] (11)Resource \
                     temporarily unavailable: AH00481: fork: Unable to fork new process";
        let entry = Entry::parse(event).unwrap();
        assert_eq!(entry.at, SystemTime::UNIX_EPOCH + Duration::from_micros(86_401_000_002));
        assert_eq!((entry.pid, entry.lifecycle()), (12, Some(Lifecycle::Graceful)));
        let entry = Entry::parse(prefork).unwrap();
        assert_eq!((entry.pid, entry.lifecycle()), (7, Some(Lifecycle::Resumed)));
        assert_eq!(Entry::parse(errno).unwrap().code, "AH00481");
        assert!(Entry::parse("AH00526: Syntax error on line 1 of httpd.conf:").is_none());
    }
}
