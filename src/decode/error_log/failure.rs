//! The lines by which httpd tells why it cannot go on, and what a list of them adds up to.
//!
//! httpd says it in two ways. Before it has a log of its own, and again in each restart until it
//! has read its configuration, it writes raw lines: no time, no level, and what is wrong often on
//! a line of its own after the place (`AH00526: Syntax error on line 51 of ..:`). Afterwards it
//! writes at emerg, alert or crit, and ends with a line that tells no more than which pass failed
//! (`AH00020: Configuration Failed, exiting`).
//!
//! A line alone proves nothing: "Fatal error initialising `mod_ssl`, exiting" is written also where
//! httpd goes on with the key that it has, and "Apache is exiting!" of children that are not
//! waited for any more. Whoever asks for a verdict knows that the parent has ended.

use super::{LogLine, Told, escaped, line_and_number, told};
use crate::model::{event::FailureReason, log::LogLevel};

/// What is kept of a message, in bytes.
pub const LONGEST_WORDS: usize = 500;

/// Words of the system's that mean that there was not enough of something, and their numbers.
const SHORTAGES: [(&[u8], &str); 5] = [
    (b"(11)", ": Resource temporarily unavailable"),
    (b"(12)", ": Cannot allocate memory"),
    (b"(23)", ": Too many open files in system"),
    (b"(24)", ": Too many open files"),
    (b"(28)", ": No space left on device"),
];

/// What a line says of why httpd cannot go on.
enum Part {
    /// This is why.
    Reason(FailureReason),
    /// It tells that there is a reason, not which.
    Company,
    /// Nothing.
    Nothing,
}

/// What a code says of it.
enum Weight {
    /// It says it by itself.
    Part(Part),
    /// Not enough of something, unless the system's error says that a place is wrong.
    Shared,
    /// Depends on level and module.
    Unlisted,
}

/// Reads a whole line, without its line feed: if it is one by which httpd tells why it cannot go
/// on, what a restart that failed would have failed for, and the message, at most `LONGEST_WORDS`
/// bytes long, with its control characters spelt out.
///
/// Without a reason the line only goes with others: it names the pass that failed, or it is raw
/// and may continue the line before it.
#[must_use]
pub fn saying(bytes: &[u8]) -> Option<(Option<FailureReason>, String)> {
    let (fast, number) = line_and_number(bytes);
    if !may_matter(fast, number) {
        return None;
    }
    let told = told(bytes);
    if told.is_of_client || told.message.is_empty() {
        return None;
    }
    let reason = match part(&told, bytes) {
        Part::Reason(reason) => Some(reason),
        Part::Company => None,
        Part::Nothing => return None,
    };
    Some((reason, escaped(&told.message, LONGEST_WORDS)))
}

/// What lines that were said before a parent ended give as the reason, and httpd's words for it,
/// at most `LONGEST_WORDS` bytes long.
///
/// The first reason counts. A pass phrase that was wrong does only if its key is what httpd then
/// failed for (AH02564), or if there is nothing else: it goes on with a key that it has.
#[must_use]
pub fn verdict<'a>(
    said: impl Iterator<Item = (Option<FailureReason>, &'a str)>,
) -> (FailureReason, Option<String>) {
    let mut passphrase = None;
    let mut first: Option<(FailureReason, String)> = None;
    let mut company: Option<&str> = None;
    let mut continues = false;
    for (reason, text) in said {
        let Some(reason) = reason else {
            let is_part = continues && !has_code(text);
            if is_part && let Some((_, words)) = first.as_mut() {
                continue_with(words, text);
            } else if has_code(text) {
                company = company.or(Some(text));
            }
            continues = false;
            continue;
        };
        if reason == FailureReason::Passphrase {
            passphrase = passphrase.or(Some(text));
            continue;
        }
        if text.contains("AH02564") && passphrase.is_some() && first.is_none() {
            break;
        }
        if first.is_none() {
            continues = text.ends_with(':');
            first = Some((reason, text.to_owned()));
        } else {
            continues = false;
        }
    }
    match (first, passphrase) {
        (Some((reason, words)), _) => {
            let reason =
                if is_shortage(words.as_bytes()) { FailureReason::Resources } else { reason };
            (reason, Some(words))
        }
        (None, Some(words)) => (FailureReason::Passphrase, Some(words.to_owned())),
        (None, None) => (FailureReason::Unknown, company.map(str::to_owned)),
    }
}

/// For the many lines that are of requests or tell of nothing bad, this is all that is asked.
///
/// It is asked of the level and of the number of the message's code.
#[must_use]
pub fn may_matter(LogLine { level, pid, .. }: LogLine, number: Option<u32>) -> bool {
    let is_listed = || number.is_some_and(|number| !matches!(weight(number), Weight::Unlisted));
    match level {
        LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit => true,
        LogLevel::Error => is_listed(),
        LogLevel::None => is_listed() || pid.is_none(),
        LogLevel::Warn | LogLevel::Notice | LogLevel::Info | LogLevel::Debug | LogLevel::Trace => {
            false
        }
    }
}

fn part(told: &Told<'_>, bytes: &[u8]) -> Part {
    let message: &[u8] = &told.message;
    let weight = number(message).map_or(Weight::Unlisted, weight);
    match weight {
        Weight::Part(Part::Reason(reason)) => {
            let is_short = is_shortage(message);
            let reason = if is_short { FailureReason::Resources } else { reason };
            Part::Reason(module_or(reason, message))
        }
        Weight::Part(part) => part,
        Weight::Shared if is_misplaced(message) => Part::Reason(FailureReason::Config),
        Weight::Shared => Part::Reason(FailureReason::Resources),
        Weight::Unlisted if told.is_raw => raw(told, message),
        Weight::Unlisted => graded(told.line.level, message, bytes),
    }
}

/// Lines that nothing stands before, and whose code is not listed.
fn raw(told: &Told<'_>, message: &[u8]) -> Part {
    if told.line.code.is_some() {
        // Warnings, most of them: AH00558, that the server's name is not known.
        return Part::Nothing;
    }
    let holds = |words: &str| memchr::memmem::find(message, words.as_bytes()).is_some();
    let is_of_program = holds(": Syntax error on line ") || holds(": Could not open configuration");
    if is_of_program {
        let is_short = is_shortage(message);
        let reason = if is_short { FailureReason::Resources } else { FailureReason::Config };
        return Part::Reason(module_or(reason, message));
    }
    Part::Company
}

/// Lines of the server's own whose code is not listed, or which have none.
fn graded(level: LogLevel, message: &[u8], bytes: &[u8]) -> Part {
    let holds = |words: &str| memchr::memmem::find(bytes, words.as_bytes()).is_some();
    if !matches!(level, LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit)
        || message.starts_with(b"SSL Library Error")
        || holds("[cgid:")
    {
        return Part::Nothing;
    }
    if is_shortage(message) {
        return Part::Reason(FailureReason::Resources);
    }
    if holds("no listening sockets available") || holds("could not duplicate listeners") {
        return Part::Reason(FailureReason::Bind);
    }
    if level == LogLevel::Emerg && (holds("[ssl:") || holds("\"ssl\"")) {
        return Part::Reason(FailureReason::Tls);
    }
    Part::Company
}

fn weight(code: u32) -> Weight {
    use FailureReason::{Bind, Config, Crash, Log, Module, Passphrase, Resources, Tls};
    Weight::Part(Part::Reason(match code {
        // Which pass failed; children that could not begin, which one line of the parent sums up.
        13..=20 | 144 | 146 | 155 | 280 | 2155..=2163 | 2177 | 2311 | 2312 | 2818 => {
            return Weight::Part(Part::Company);
        }
        // A thread that could not be started, likewise.
        275 | 282 | 474 | 480 | 3104 | 3142 => return Weight::Part(Part::Company),
        // Mutexes, the scoreboard, shared memory.
        1 | 2 | 4 | 5 | 21..=23 | 818..=820 | 823 | 1872 | 1874 | 2478 => return Weight::Shared,
        // Of children that do not end, of a daemon that serves CGI only, of forks that are tried
        // again, of limits that requests meet.
        45..=47
        | 49
        | 159
        | 161
        | 283
        | 286..=288
        | 481
        | 484
        | 1238
        | 1239
        | 1243
        | 2179
        | 3490
        | 10159 => return Weight::Part(Part::Nothing),
        3 | 24 | 99 | 100 | 526 | 543 | 544 | 10231 => Config,
        67..=73 | 77..=79 | 2640 | 2641 => Bind,
        50 | 60 | 102 => Crash,
        89..=93 | 103..=106 | 649 | 2291 | 10036 => Log,
        534 => Module,
        1571 | 1573 | 2324 | 2325 | 10095 => Resources,
        1966 | 2577 | 2578 | 2580 => Passphrase,
        2561 | 2562 | 2564 | 2565 | 2572 | 2579 | 10143..=10148 => Tls,
        _ => return Weight::Unlisted,
    }))
}

/// A module that cannot be loaded is found while the configuration is read.
fn module_or(reason: FailureReason, message: &[u8]) -> FailureReason {
    let holds = |words: &str| memchr::memmem::find(message, words.as_bytes()).is_some();
    let is_module = holds("Cannot load ") || holds("API module structure");
    if reason == FailureReason::Config && is_module { FailureReason::Module } else { reason }
}

/// The system says that there is not enough of something, before the message or at its end.
fn is_shortage(message: &[u8]) -> bool {
    SHORTAGES.iter().any(|(number, words)| {
        message.starts_with(number)
            || message.ends_with(words.as_bytes())
            || memchr::memmem::find(message, format!("{words} (").as_bytes()).is_some()
    })
}

/// The system says that a place does not exist, or may not be used.
fn is_misplaced(message: &[u8]) -> bool {
    [&b"(2)"[..], b"(13)", b"(20)", b"(30)"].iter().any(|number| message.starts_with(number))
}

/// The words begin with a code: they stand by themselves.
#[must_use]
pub fn has_code(text: &str) -> bool {
    number(text.as_bytes()).is_some()
}

/// The number of the code that a message begins with, after the system's error.
pub(super) fn number(message: &[u8]) -> Option<u32> {
    let message = if message.first() == Some(&b'(') {
        let at = memchr::memmem::find(message, b"AH")?;
        message.get(at..)?
    } else {
        message
    };
    super::words::code(message)?;
    let digits = message.get(2..)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn continue_with(words: &mut String, text: &str) {
    for character in std::iter::once(' ').chain(text.chars()) {
        if words.len() + character.len_utf8() > LONGEST_WORDS {
            return;
        }
        words.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict over these lines.
    fn judged(lines: &[&str]) -> (&'static str, String) {
        let said: Vec<_> = lines.iter().filter_map(|line| saying(line.as_bytes())).collect();
        let (reason, words) = verdict(said.iter().map(|(reason, text)| (*reason, text.as_str())));
        (reason.label(), words.unwrap_or_default())
    }

    fn at(level: &str, message: &str) -> String {
        format!("[Sun Nov 22 10:48:52.523261 2026] [{level}] [pid 12:tid 12] {message}")
    }

    #[test]
    fn what_httpd_says_when_it_cannot_go_on_gives_the_reason() {
        const SYNTAX: &str = "AH00526: Syntax error on line 5 of /x:";
        const MUTEX: &str = "AH00023: Couldn't create the proxy mutex";
        const FULL: &str = "(28)No space left on device: ";
        let emerg = |code| at(":emerg", code);
        let (pre, check, logs) = (emerg("AH00017: x"), emerg("AH00018: x"), emerg("AH00019: x"));
        let post = emerg("AH00020: Configuration Failed, exiting");
        let ssl = |message| at("ssl:emerg", message);
        let load = "Cannot load /m.so into server: /m.so: cannot open shared object file";
        let gone = format!("apache2: Syntax error on line 8 of /x: {load}: No such file");
        let fds = format!("httpd: Syntax error on line 8 of /x: {load}: Too many open files");
        let wrong = ssl("AH02580: Init: Pass phrase incorrect for key x");
        let exiting = ssl("AH02312: Fatal error initialising mod_ssl, exiting.");
        let key = ssl("AH02564: Failed to configure encrypted (?) private key x, check /k");
        let garbage = ssl("AH02562: Failed to configure certificate x, check /c");
        let mismatch = ssl("AH02565: Certificate and private key x from /c and /k do not match");
        let library = ssl("SSL Library Error: error:0480006C:PEM routines::no start line");
        let no_tty = at("ssl:error", "AH02578: Init: Unable to read pass phrase");
        let sockets = at("mpm_event:alert", "no listening sockets available, shutting down");
        let taken = "(98)Address already in use: AH00072: make_sock: could not bind to address :80";
        let no_directory = "(2)No such file or directory: AH02291: Cannot access directory '/x/'";
        let log = "AH00091: apache2: could not open error log file /x.";
        let (denied, full) = (format!("(13)Permission denied: {log}"), format!("{FULL}{log}"));
        let mutex = at("core:emerg", &format!("{FULL}{MUTEX}"));
        let proxy = at("proxy:crit", &format!("{FULL}AH02478: failed to create proxy mutex"));
        let nowhere = at("core:emerg", &format!("(2)No such file or directory: {MUTEX}"));
        let mpm = "AH00534: httpd: Configuration error: The MPM cannot be changed during restart.";
        let cases: &[(&str, &str, &[&str])] = &[
            ("config", "line 5 of /x: Invalid command 'Y'", &[SYNTAX, "Invalid command 'Y'"]),
            ("resources", "Too many", &[SYNTAX, "Cannot open /y: Too many open files"]),
            ("module", "MPM", &[mpm]),
            ("module", "Cannot load", &[&gone, &pre]),
            ("resources", "Too many open files", &[&fds]),
            ("config", "Could", &["httpd: Could not open configuration file /x: No such file"]),
            ("log", "AH02291", &[no_directory, &check]),
            ("log", "AH00091", &[&denied, &logs]),
            ("resources", "AH00091", &[&full, &logs]),
            ("bind", "AH00072", &[taken, &sockets, &logs]),
            ("bind", "no listening", &[&sockets, &logs]),
            ("tls", "AH02562", &[&garbage, &library, &post]),
            ("tls", "do not match", &[&mismatch, &post]),
            ("passphrase", "AH02580", &[&wrong, &library, &exiting, &key, &post]),
            ("passphrase", "AH02578", &[&no_tty, &exiting, &key, &post]),
            ("tls", "AH02562", &[&wrong, &library, &exiting, &garbage, &post]),
            ("resources", "AH00023", &[&mutex, &proxy, &post]),
            ("config", "AH00023", &[&nowhere, &post]),
            ("unknown", "AH00020", &[&post]),
            ("unknown", "", &[]),
        ];
        for (reason, words, lines) in cases {
            let (found, said) = judged(lines);
            assert_eq!(found, *reason, "{lines:?}");
            assert!(said.contains(words), "{said} of {lines:?}");
        }
    }

    #[test]
    fn lines_that_httpd_goes_on_after_are_no_reason() {
        for line in [
            at("cgid:crit", "AH01238: cgid daemon failed to initialize"),
            at(
                "cgid:error",
                "(98)Address already in use: AH01243: Couldn't bind unix domain socket",
            ),
            at("core:crit", "(24)Too many open files: [client 127.0.0.1:1] AH00529: /.htaccess"),
            at("core:error", "AH00046: child process 1 still did not exit, sending a SIGKILL"),
            at("mpm_event:error", "(11)Resource temporarily unavailable: AH00481: fork: Unable"),
            at("ssl:warn", "AH01906: server certificate is a CA certificate"),
            at("mpm_event:notice", "AH00493: SIGUSR1 received.  Doing graceful restart"),
            "AH00558: apache2: Could not reliably determine the server's name".to_owned(),
            String::new(),
        ] {
            assert_eq!(saying(line.as_bytes()), None, "{line}");
        }
        assert_eq!(
            judged(&[&at("core:alert", "AH00050: Child 7 returned a Fatal error")]).0,
            "crash"
        );
    }

    #[test]
    fn words_are_short_and_harmless() {
        let long = format!("AH00526: Syntax error on line 5 of /{}:", "x".repeat(2000));
        let (reason, words) = saying(long.as_bytes()).unwrap();
        assert_eq!((reason, words.len()), (Some(FailureReason::Config), LONGEST_WORDS));
        let (_, words) = saying(b"a raw \x1b[2J line\r").unwrap();
        assert_eq!(words, "a raw \\x1b[2J line");
        let more = "y".repeat(900);
        let said = [(Some(FailureReason::Config), "AH00526: x:"), (None, more.as_str())];
        assert_eq!(verdict(said.into_iter()).1.unwrap().len(), LONGEST_WORDS);
    }
}
