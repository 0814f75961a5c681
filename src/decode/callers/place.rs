//! Which word of a command is the program that it calls: what stands before it only says when, as
//! whom and how.

use super::{judge::program, shell::script_of};

/// A program that calls another one.
struct Wrapper {
    name: &'static [u8],
    /// Options whose value is the next word.
    options: &'static [&'static [u8]],
    /// Words of its own before the program.
    own: usize,
}

const fn wrapper(name: &'static [u8], options: &'static [&'static [u8]], own: usize) -> Wrapper {
    Wrapper { name, options, own }
}

const WRAPPERS: [Wrapper; 28] = [
    wrapper(
        b"sudo",
        &[
            b"-u",
            b"--user",
            b"-g",
            b"--group",
            b"-h",
            b"--host",
            b"-p",
            b"--prompt",
            b"-C",
            b"-D",
            b"--chdir",
            b"-R",
            b"--chroot",
            b"-T",
            b"-r",
            b"-t",
            b"-U",
        ],
        0,
    ),
    wrapper(b"doas", &[b"-u", b"-C"], 0),
    wrapper(b"runuser", &[b"-u", b"--user", b"-g", b"--group", b"-G", b"--supp-group"], 0),
    wrapper(b"env", &[b"-u", b"--unset", b"-C", b"--chdir"], 0),
    wrapper(b"nice", &[b"-n", b"--adjustment"], 0),
    wrapper(b"ionice", &[b"-c", b"--class", b"-n", b"--classdata"], 0),
    wrapper(b"chrt", &[b"-T", b"-P", b"-D"], 1),
    wrapper(b"taskset", &[], 1),
    wrapper(b"timeout", &[b"-s", b"--signal", b"-k", b"--kill-after"], 1),
    wrapper(b"flock", &[b"-w", b"--wait", b"--timeout", b"-E", b"--conflict-exit-code"], 1),
    wrapper(b"setlock", &[], 1),
    wrapper(b"lckdo", &[b"-W"], 1),
    wrapper(b"chronic", &[], 0),
    wrapper(b"cronic", &[], 0),
    wrapper(b"nohup", &[], 0),
    wrapper(b"setsid", &[], 0),
    wrapper(b"exec", &[b"-a"], 0),
    wrapper(b"command", &[], 0),
    wrapper(b"builtin", &[], 0),
    wrapper(b"time", &[b"-f", b"--format", b"-o", b"--output"], 0),
    wrapper(b"stdbuf", &[b"-i", b"-o", b"-e"], 0),
    wrapper(b"xargs", &[b"-I", b"-n", b"-P", b"-L", b"-d", b"-E", b"-s", b"-a"], 0),
    wrapper(b"busybox", &[], 0),
    wrapper(b"systemd-run", &[b"-p", b"--property", b"-u", b"--unit", b"-E", b"--setenv"], 0),
    wrapper(b"systemd-cat", &[b"-t", b"--identifier", b"-p", b"--priority"], 0),
    wrapper(b"systemd-inhibit", &[], 0),
    wrapper(b"chroot", &[], 1),
    wrapper(b"eatmydata", &[], 0),
];
/// Words of a shell's that a command follows.
const KEYWORDS: [&[u8]; 8] = [b"then", b"do", b"else", b"if", b"elif", b"while", b"until", b"!"];
/// Users who are called like programs that talk.
const USERS: [&[u8]; 2] = [b"mail", b"man"];

/// The place of the program; as many as there are words where there is none. `talks` tells names of
/// programs that cannot be users.
pub(super) fn of_program(words: &[Vec<u8>], talks: impl Fn(&[u8]) -> bool) -> usize {
    let mut place = after_times(words, talks);
    loop {
        let Some(word) = words.get(place) else { return words.len() };
        let name = program(word);
        if words.get(place + 1).is_some_and(|next| next == b"=") {
            // A setting, as `post_hook = systemctl ..`.
            place += 2;
        } else if KEYWORDS.contains(&word.as_slice()) || is_assignment(word) {
            place += 1;
        } else if let Some(wrapper) = WRAPPERS.iter().find(|it| it.name == name) {
            place = after(wrapper, words, place + 1);
        } else {
            return place;
        }
    }
}

fn is_assignment(word: &[u8]) -> bool {
    script_of(word).len() < word.len() && !word.starts_with(b"-")
}

/// Behind a wrapper's options and its own words.
fn after(wrapper: &Wrapper, words: &[Vec<u8>], from: usize) -> usize {
    let (mut place, mut own) = (from, wrapper.own);
    while let Some(word) = words.get(place) {
        if word == b"--" {
            place += 1;
        } else if wrapper.options.contains(&word.as_slice()) {
            place += 2;
        } else if word.len() > 1 && word.starts_with(b"-") {
            place += 1;
        } else if own > 0 {
            own -= 1;
            place += 1;
        } else {
            break;
        }
    }
    place
}

/// Behind the times of a line of a crontab, and the user whom that of the system names.
fn after_times(words: &[Vec<u8>], talks: impl Fn(&[u8]) -> bool) -> usize {
    let is_time = |word: &Vec<u8>| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"*/,-~".contains(byte);
        word.iter().all(is_part)
            && word.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'*')
    };
    let is_name = |word: &Vec<u8>| word.iter().all(u8::is_ascii_alphanumeric);
    // Months and days may be names.
    let is_line = words.len() > 5
        && words.iter().take(3).all(is_time)
        && words.iter().skip(3).take(2).all(|word| is_time(word) || is_name(word));
    let is_named = words.first().is_some_and(|first| first.starts_with(b"@"));
    let times = match (is_named, is_line) {
        (true, _) => 1,
        (false, true) => 5,
        (false, false) => return 0,
    };
    let (user, next) = (words.get(times), words.get(times + 1));
    let is_user = user.zip(next).is_some_and(|(user, next)| {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        user.iter().all(is_plain)
            && !next.starts_with(b"-")
            && (!talks(user) || USERS.contains(&user.as_slice()))
            && !WRAPPERS.iter().any(|wrapper| wrapper.name == user.as_slice())
            && !is_program(user)
    });
    times + usize::from(is_user)
}

/// What a crontab of a user's often calls without a path.
fn is_program(word: &[u8]) -> bool {
    [&b"systemctl"[..], b"service", b"apachectl", b"apache2ctl", b"kill", b"pkill", b"killall"]
        .contains(&word)
        || [&b"invoke-rc.d"[..], b"rc-service", b"busctl", b"httpd", b"sh", b"bash"].contains(&word)
}
