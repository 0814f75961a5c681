//! What one command does to an httpd, by its words.

use super::{Verdict, place, shell::script_of};

/// What httpd and its units are called, by its authors and by distributions.
const NAMES: [&[u8]; 13] = [
    b"apache2",
    b"httpd",
    b"apache",
    b"httpd2",
    b"apache22",
    b"apache24",
    b"httpd24",
    b"httpd24-httpd",
    b"httpd-prefork",
    b"httpd-worker",
    b"httpd-event",
    b"httpd2-prefork",
    b"httpd2-worker",
];
/// What only speaks of commands, or looks for them.
const TALKERS: [&[u8]; 17] = [
    b"echo", b"printf", b"logger", b"mail", b"grep", b"egrep", b"sed", b"awk", b"man", b"which",
    b"test", b"[", b"[[", b"apt-get", b"apt", b"dnf", b"yum",
];

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// It asks the service manager to reload this unit: what that does stands in the unit.
    pub(super) reloads: Option<String>,
}

/// What is known where a command stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// Further names of httpd's units, without `.service`.
    pub(super) units: &'a [&'a str],
    /// Its own unit: `$MAINPID` is httpd's, and `%n` the unit.
    pub(super) is_own: bool,
    /// The words of the whole pipeline name an httpd or the file of its pid.
    pub(super) pipeline_names: bool,
}

/// What these words do to an httpd, and with which of them that begins; `None`: nothing.
pub(super) fn judge(words: &[Vec<u8>], around: Around<'_>) -> Option<(usize, Judged)> {
    let called = place::of_program(words, talks);
    if words.get(called).is_some_and(|word| talks(&program(word))) {
        return None;
    }
    // An unknown program may call another one, and what looks like an assignment may be a setting.
    let others = (0..words.len()).filter(|place| *place != called);
    for place in [called].into_iter().chain(others) {
        let word = words.get(place)?;
        let arguments = words.get(place + 1..).unwrap_or_default();
        let is_first = place == called || script_of(word).starts_with(b"/");
        let Known::Program(judged) = judge_at(word, arguments, around, is_first) else { continue };
        // What is called like a program may be another word, as the file of a lock.
        if judged.is_some() || place == called {
            return judged.map(|judged| (place, judged));
        }
    }
    None
}

/// Whether a word is a program that does something to httpds, and what these arguments make it do.
enum Known {
    Program(Option<Judged>),
    No,
}

fn judge_at(word: &[u8], arguments: &[Vec<u8>], around: Around<'_>, is_first: bool) -> Known {
    let name = program(word);
    Known::Program(match name.as_slice() {
        b"systemctl" => systemctl(arguments, around),
        b"busctl" | b"dbus-send" | b"gdbus" => bus(arguments, around),
        b"service" | b"invoke-rc.d" | b"rc-service" => service(arguments, around),
        b"apachectl" | b"apache2ctl" | b"apachectl2" | b"start_apache2" => control(arguments, true),
        b"rcapache2" | b"rchttpd" | b"rcapache" => {
            arguments.first().and_then(|word| action(word, "apache2"))
        }
        b"kill" => kill(arguments, around),
        b"pkill" | b"killall" => kill_by_name(arguments, around),
        other if is_script(word) && is_name(other, around.units) => {
            arguments.first().and_then(|word| action(word, &text(other)))
        }
        // Of many a word it is only an argument.
        other if is_name(other, &[]) => match control(arguments, is_first) {
            Some(judged) => Some(judged),
            None => return Known::No,
        },
        _ => return Known::No,
    })
}

fn talks(name: &[u8]) -> bool {
    TALKERS.contains(&name)
}

/// Whether a command does nothing with its words but to print them, or to look for them.
pub(super) fn prints(words: &[Vec<u8>]) -> bool {
    let name = words.get(place::of_program(words, talks)).map(|word| program(word));
    let printers = [&b"echo"[..], b"printf", b"logger", b"grep", b"sed", b"awk"];
    name.is_some_and(|name| printers.contains(&name.as_slice()))
}

/// Whether a text names an httpd, or the file of its pid.
pub(super) fn names_httpd(word: &[u8], units: &[&str]) -> bool {
    let part = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    word.split(part).any(|token| is_name(token, units))
}

/// The name of the program that a word calls: `ExecStart=-/bin/kill` and `${APACHECTL}` too.
pub(super) fn program(word: &[u8]) -> Vec<u8> {
    let word = script_of(word);
    let word = word.trim_ascii_start();
    let start = word.iter().position(|byte| !b"-@+!:".contains(byte)).unwrap_or(word.len());
    let word = word.get(start..).unwrap_or_default();
    let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or(word);
    let plain = name.iter().filter(|byte| !matches!(byte, b'$' | b'{' | b'}'));
    plain.map(u8::to_ascii_lowercase).collect()
}

fn is_script(word: &[u8]) -> bool {
    let word = script_of(word);
    [&b"/etc/init.d/"[..], b"/etc/rc.d/init.d/"]
        .iter()
        .any(|folder| word.windows(folder.len()).take(8).any(|part| part == *folder))
}

fn is_name(name: &[u8], units: &[&str]) -> bool {
    NAMES.contains(&name) || units.iter().any(|unit| unit.as_bytes() == name)
}

/// The unit that a word names, if that is httpd's.
fn unit(word: &[u8], around: Around<'_>) -> Option<String> {
    let name = word.strip_suffix(b".service").unwrap_or(word);
    // What no unit is called would be more than a name where it is put into a command.
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@*%".contains(byte)) {
        return None;
    }
    if around.is_own && matches!(name, b"%n" | b"%N" | b"%p") {
        return Some(text(name));
    }
    let template = name.split(|byte| *byte == b'@').next().unwrap_or(name);
    let plain = template.strip_suffix(b"*").unwrap_or(template);
    (is_name(plain, around.units) || is_name(name, around.units)).then(|| text(name))
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

const fn plain(verdict: Verdict) -> Judged {
    Judged { verdict, reloads: None }
}

fn systemctl(arguments: &[Vec<u8>], around: Around<'_>) -> Option<Judged> {
    let mut verb = None;
    let mut units = Vec::new();
    let (mut signal, mut is_now) = (None, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_slice() {
            b"-s" | b"--signal" => signal = arguments.next().cloned(),
            b"-t" | b"-p" | b"-o" | b"-n" | b"-P" | b"--kill-who" | b"--kill-whom" => {
                arguments.next();
            }
            // Elsewhere, or a user's own.
            b"-H" | b"--host" | b"-M" | b"--machine" | b"--user" => return None,
            b"--now" => is_now = true,
            flag if flag.starts_with(b"-") => {
                signal = flag.strip_prefix(b"--signal=").map(<[u8]>::to_vec).or(signal);
            }
            word if verb.is_none() => verb = Some(word.to_owned()),
            word => units.push(word),
        }
    }
    let unit = units.into_iter().find_map(|word| unit(word, around))?;
    match verb?.as_slice() {
        b"restart" | b"try-restart" | b"condrestart" => Some(plain(Verdict::Full)),
        b"reload"
        | b"reload-or-restart"
        | b"try-reload-or-restart"
        | b"reload-or-try-restart"
        | b"force-reload"
        | b"condreload" => Some(Judged { verdict: Verdict::Graceful, reloads: Some(unit) }),
        b"stop" => Some(plain(Verdict::Stop)),
        b"disable" | b"mask" if is_now => Some(plain(Verdict::Stop)),
        b"kill" => Some(plain(of_signal(signal.as_deref().unwrap_or(b"TERM"))?)),
        _ => None,
    }
}

/// A method of the service manager's, called over D-Bus.
fn bus(arguments: &[Vec<u8>], around: Around<'_>) -> Option<Judged> {
    let is_elsewhere = |word: &Vec<u8>| {
        let flags = [&b"-H"[..], b"--host", b"-M", b"--machine", b"--user", b"--session"];
        flags.contains(&word.as_slice())
            || word.starts_with(b"--host=")
            || word.starts_with(b"--machine=")
    };
    if arguments.iter().any(is_elsewhere) {
        return None;
    }
    let method = |word: &Vec<u8>| {
        let name = word.rsplit(|byte| *byte == b'.').next()?;
        match name {
            b"RestartUnit" | b"TryRestartUnit" => Some(Verdict::Full),
            b"ReloadUnit" | b"ReloadOrRestartUnit" | b"ReloadOrTryRestartUnit" => {
                Some(Verdict::Graceful)
            }
            b"StopUnit" | b"KillUnit" => Some(Verdict::Stop),
            _ => None,
        }
    };
    let (place, verdict) =
        arguments.iter().enumerate().find_map(|(place, word)| Some((place, method(word)?)))?;
    let kills = arguments.get(place).is_some_and(|word| word.ends_with(b"KillUnit"));
    let mut rest = arguments.get(place + 1..)?.iter().map(|word| typed(word));
    let unit = rest.by_ref().find_map(|word| unit(word, around))?;
    match verdict {
        Verdict::Graceful => Some(Judged { verdict, reloads: Some(unit) }),
        // Which of its processes, and the signal.
        Verdict::Stop if kills => Some(plain(of_signal(rest.nth(1)?)?)),
        Verdict::Hard | Verdict::Full | Verdict::Stop => Some(plain(verdict)),
    }
}

/// A value without its type, as `string:apache2.service`, and without quotes.
fn typed(word: &[u8]) -> &[u8] {
    let types = [&b"string:"[..], b"int32:"];
    let value = types.iter().find_map(|kind| word.strip_prefix(*kind)).unwrap_or(word);
    let is_quote = |byte: &u8| matches!(byte, b'\'' | b'"');
    let start = value.iter().take_while(|byte| is_quote(byte)).count();
    let value = value.get(start..).unwrap_or_default();
    let end = value.iter().rev().take_while(|byte| is_quote(byte)).count();
    value.get(..value.len() - end).unwrap_or_default()
}

fn service(arguments: &[Vec<u8>], around: Around<'_>) -> Option<Judged> {
    let mut words = arguments.iter().filter(|word| !word.starts_with(b"-"));
    let unit = unit(words.next()?, around)?;
    action(words.next()?, &unit)
}

/// The actions of a script in `/etc/init.d`.
fn action(word: &[u8], unit: &str) -> Option<Judged> {
    match word {
        b"restart" | b"try-restart" | b"condrestart" | b"try_restart" => Some(plain(Verdict::Full)),
        b"reload" | b"force-reload" | b"graceful" => {
            Some(Judged { verdict: Verdict::Graceful, reloads: Some(unit.to_owned()) })
        }
        b"stop" | b"graceful-stop" => Some(plain(Verdict::Stop)),
        _ => None,
    }
}

/// httpd itself, or its control script: `-k restart`, and where `bare` is allowed, `restart`.
fn control(arguments: &[Vec<u8>], bare: bool) -> Option<Judged> {
    let flag = arguments.iter().position(|word| word.starts_with(b"-k"));
    let word = match flag.and_then(|place| arguments.get(place..)) {
        Some([joined, ..]) if joined.len() > 2 => joined.get(2..)?,
        Some([_, word, ..]) => word.as_slice(),
        Some(_) => return None,
        None => arguments.iter().find(|word| bare && !word.starts_with(b"-"))?.as_slice(),
    };
    match word {
        // `-k restart` is SIGHUP.
        b"restart" => Some(plain(Verdict::Hard)),
        b"graceful" => Some(plain(Verdict::Graceful)),
        b"stop" | b"graceful-stop" => Some(plain(Verdict::Stop)),
        _ => None,
    }
}

fn kill(arguments: &[Vec<u8>], around: Around<'_>) -> Option<Judged> {
    let (verdict, targets) = signalled(arguments)?;
    let named = |word: &&Vec<u8>| {
        names_httpd(word, around.units)
            || around.is_own && word.windows(7).any(|part| part == b"MAINPID")
    };
    let is_meant = around.pipeline_names || targets.iter().any(named);
    is_meant.then_some(plain(verdict))
}

fn kill_by_name(arguments: &[Vec<u8>], around: Around<'_>) -> Option<Judged> {
    let (verdict, targets) = signalled(arguments)?;
    let is_meant = targets.iter().any(|word| names_httpd(word, around.units));
    is_meant.then_some(plain(verdict))
}

/// What a signal does, and the words that are neither it nor another option.
fn signalled(arguments: &[Vec<u8>]) -> Option<(Verdict, Vec<&Vec<u8>>)> {
    let mut signal: Option<&[u8]> = None;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_slice() {
            b"-s" | b"--signal" | b"-n" if signal.is_none() => signal = Some(words.next()?),
            b"-l" | b"-L" => return None,
            flag if flag.starts_with(b"-") => {
                let named = flag.strip_prefix(b"--signal=").or_else(|| flag.get(1..));
                let is_signal =
                    named.is_some_and(|name| of_signal(name).is_some() || is_other(name));
                signal = signal.or(named.filter(|_| is_signal));
            }
            _ => targets.push(word),
        }
    }
    Some((of_signal(signal.unwrap_or(b"TERM"))?, targets))
}

fn bare_signal(name: &[u8]) -> Vec<u8> {
    let name = name.to_ascii_uppercase();
    name.strip_prefix(b"SIG").map_or_else(|| name.clone(), <[u8]>::to_vec)
}

/// What a signal to the parent does; `None`: it is another one.
fn of_signal(name: &[u8]) -> Option<Verdict> {
    match bare_signal(name).as_slice() {
        b"HUP" | b"1" => Some(Verdict::Hard),
        b"USR1" | b"10" => Some(Verdict::Graceful),
        b"TERM" | b"15" | b"INT" | b"2" | b"WINCH" | b"28" | b"KILL" | b"9" | b"QUIT" | b"3"
        | b"ABRT" | b"6" => Some(Verdict::Stop),
        _ => None,
    }
}

/// A signal that ends nothing, as 0, which only asks whether there is a process.
fn is_other(name: &[u8]) -> bool {
    let name = bare_signal(name);
    name.iter().all(u8::is_ascii_digit) && !name.is_empty()
        || [&b"USR2"[..], b"CONT", b"STOP", b"CHLD", b"PIPE"].contains(&name.as_slice())
}
