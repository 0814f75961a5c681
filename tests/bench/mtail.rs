//! mtail, Debian's, which counts lines of a log by regular expressions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use gracekeeper::clock;
use procfs::process::Process;

/// As its users write it for the default format, with nothing that would cost more than it must.
const PROGRAM: &str = r"
counter lines by level
counter events by code
/^\[[^\]]*\] \[[a-z0-9_]*:(?P<level>[a-z]+)/ {
  lines[$level]++
}
/(^|\] |: )(?P<code>AH\d{5,6}):/ {
  events[$code]++
}
";

pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// User and system time of all its threads.
    pub(crate) processor_seconds: f64,
    pub(crate) lines_with_level: u64,
}

pub(crate) fn is_there() -> bool {
    let version = Command::new("mtail").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Lets it read a file to its end and say what it counted.
pub(crate) fn read(log: &Path, programs: &Path) -> Run {
    fs::create_dir(programs).unwrap();
    fs::write(programs.join("error_log.mtail"), PROGRAM).unwrap();
    let mut command = Command::new("mtail");
    command.args([
        "--one_shot",
        "--one_shot_format",
        "json",
        "--address",
        "127.0.0.1",
        "--port",
        "0",
    ]);
    command.arg("--log_dir").arg(programs).arg("--progs").arg(programs).arg("--logs").arg(log);
    let (work_before, start) = (work_of_children(), clock::now());
    let output = command.stderr(Stdio::null()).output().unwrap();
    let seconds = clock::now().since(start).as_secs_f64();
    let processor_seconds = work_of_children() - work_before;
    assert!(output.status.success(), "{}", output.status);
    // Before the object there may be a line of greeting.
    let text = String::from_utf8(output.stdout).unwrap();
    let object = &text[text.find('{').expect("what it counted")..];
    let counted: serde_json::Value = serde_json::from_str(object).unwrap();
    let levels = counted["lines"][0]["LabelValues"].as_array().expect("lines by level");
    let lines_with_level =
        levels.iter().map(|level| level["Value"]["Value"].as_u64().unwrap()).sum();
    Run { seconds, processor_seconds, lines_with_level }
}

/// In seconds, of those that were waited for.
fn work_of_children() -> f64 {
    let stat = Process::myself().unwrap().stat().unwrap();
    let ticks = u32::try_from(stat.cutime + stat.cstime).unwrap();
    f64::from(ticks) / procfs::ticks_per_second() as f64
}
