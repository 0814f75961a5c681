//! Names and numbers as people read them.

use std::time::Duration;

const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name that Linux has for a signal; of one without a name, its number.
#[must_use]
pub fn signal(number: u32) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let name = index.and_then(|index| SIGNALS.get(index));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// `54 ms`, `1.2 s`, `2 min 5 s`, `3 h 2 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let (seconds, millis) = (span.as_secs(), span.as_millis());
    if millis < 1000 {
        format!("{millis} ms")
    } else if seconds < 60 {
        format!("{}.{} s", seconds, span.subsec_millis() / 100)
    } else if seconds < 3600 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
    }
}

/// `once`, `twice`, `3 times`.
#[must_use]
pub fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_as_many_digits_as_people_want() {
        for (seconds, words) in [
            (0.0, "0 ms"),
            (0.0545, "54 ms"),
            (1.26, "1.2 s"),
            (125.0, "2 min 5 s"),
            (10_925.0, "3 h 2 min"),
            (-1.0, "0 ms"),
            (f64::NAN, "0 ms"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn a_signal_without_a_name_is_its_number() {
        assert_eq!(
            [signal(9), signal(11), signal(0), signal(64)],
            ["SIGKILL", "SIGSEGV", "0", "64"]
        );
    }
}
