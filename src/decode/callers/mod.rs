//! Which lines of a script, a crontab or a configuration restart httpd, and how.
//!
//! Nothing is carried out and no other file is opened: a variable stays what it is called, and a
//! script that a line calls is another text.

mod judge;
mod place;
mod shell;

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::{
    judge::{Around, Judged, judge, names_httpd, prints},
    shell::{Commands, Simple, commands, within},
};
use super::error_log::escaped;

/// What is kept of a command, in bytes.
const LONGEST: usize = 300;
/// As many are kept of one text that are graceful, and as many that are not.
const MOST: usize = 1000;
/// What is looked for in a line before it is read as a script: each way has one of these words.
const HINTS: [&[u8]; 9] = [
    b"apache",
    b"httpd",
    b"APACHE",
    b"HTTPD",
    b"kill",
    b"systemctl",
    b"service",
    b"Apache",
    b"ACME",
];

/// What a command does to httpd, the least harm first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A graceful restart: SIGUSR1.
    Graceful,
    /// A hard restart: SIGHUP.
    Hard,
    /// A stop and a start.
    Full,
    /// A stop.
    Stop,
}

/// One command that does something to an httpd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The line on which it begins, from 1.
    pub line: u32,
    /// What it does; of a reload through the service manager, what that should do.
    pub verdict: Verdict,
    /// The command, at most 300 bytes, which does nothing to a terminal.
    pub command: String,
    /// The unit, without `.service`, whose `ExecReload` says what it really does.
    pub reloads: Option<String>,
}

/// What a text was found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    /// Its commands, in their order: the first 1000 that are graceful and the first 1000 that are not.
    pub found: Vec<Caller>,
    /// So many more were found.
    pub left_out: usize,
    /// It has more commands than are read, so that there may be others.
    pub is_cut: bool,
    graceful: usize,
    others: usize,
}

/// Every command of a text that restarts or stops an httpd of a usual name.
#[must_use]
pub fn lines(text: &[u8]) -> Callers {
    lines_naming(text, &[])
}

/// As [`lines`], for units of httpds that have these names too, without `.service`.
#[must_use]
pub fn lines_naming(text: &[u8], units: &[&str]) -> Callers {
    callers(text, units, false)
}

/// As [`lines`], of a command of an httpd's own unit, whose `$MAINPID` and `%n` are httpd's.
#[must_use]
pub fn own(command: &[u8]) -> Callers {
    callers(command, &[], true)
}

/// What the commands of an httpd's own `ExecReload` do: the worst of it. `None`: nothing that is
/// understood.
#[must_use]
pub fn reload<'a>(commands: impl IntoIterator<Item = &'a [u8]>) -> Option<Verdict> {
    let all = commands.into_iter().flat_map(|command| own(command).found);
    all.map(|caller| caller.verdict).max()
}

fn callers(text: &[u8], units: &[&str], is_own: bool) -> Callers {
    let mut told = Callers::default();
    if !is_own && !HINTS.iter().any(|hint| memchr::memmem::find(text, hint).is_some()) {
        return told;
    }
    let text = decoded(text);
    let Commands { commands: all, is_cut } = commands(&text, 1);
    told.is_cut = is_cut;
    let mut pipeline: Vec<&Simple> = Vec::new();
    for command in &all {
        if pipeline.first().is_some_and(|first| first.pipeline != command.pipeline) {
            told.take(&std::mem::take(&mut pipeline), units, is_own);
        }
        pipeline.push(command);
    }
    told.take(&pipeline, units, is_own);
    told
}

impl Callers {
    /// Those of one pipeline, and of the scripts within its commands.
    fn take(&mut self, pipeline: &[&Simple], units: &[&str], is_own: bool) {
        // Who is killed is often told by what is piped into xargs.
        let is_passed_on = |word: &Vec<u8>| word == b"xargs";
        let hands_over = pipeline.iter().any(|it| it.words.iter().any(is_passed_on));
        let pipeline_names = hands_over
            && pipeline.iter().any(|it| it.words.iter().any(|word| names_httpd(word, units)));
        let around = Around { units, is_own, pipeline_names };
        for command in pipeline {
            self.judged(command, around);
            if prints(&command.words) {
                continue;
            }
            let Commands { commands: inner, is_cut } = within(command);
            self.is_cut |= is_cut;
            for inner in inner {
                self.judged(&inner, Around { pipeline_names: false, ..around });
            }
        }
    }

    fn judged(&mut self, command: &Simple, around: Around<'_>) {
        let Some((place, Judged { verdict, reloads })) = judge(&command.words, around) else {
            return;
        };
        let is_graceful = verdict == Verdict::Graceful;
        let kept = if is_graceful { &mut self.graceful } else { &mut self.others };
        if *kept >= MOST {
            self.left_out += 1;
            return;
        }
        *kept += 1;
        let command_text = shown(command, place);
        self.found.push(Caller { line: command.line, verdict, command: command_text, reloads });
    }
}

/// What of a command is shown: from the word that does it. What stands before it, as assignments and
/// options of a wrapper, and other commands of its line, may be secret.
fn shown(command: &Simple, place: usize) -> String {
    // Without xargs it would not be seen whom it kills.
    let before = command.words.get(..place).unwrap_or_default();
    let place = before.iter().position(|word| word == b"xargs").unwrap_or(place);
    let text: Vec<u8> = command
        .text_from(place)
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\\").unwrap_or(line).trim_ascii())
        .collect::<Vec<_>>()
        .join(&b' ');
    escaped(&text, LONGEST)
}

/// acme.sh keeps its commands in Base64: `Le_ReloadCmd='__ACME_BASE64__START_..__ACME_BASE64__END_'`.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    const START: &[u8] = b"__ACME_BASE64__START_";
    const END: &[u8] = b"__ACME_BASE64__END_";
    let mut whole = Cow::Borrowed(&b""[..]);
    let mut rest = text;
    while let Some(start) = memchr::memmem::find(rest, START) {
        let (before, after) = rest.split_at_checked(start).unwrap_or((rest, b""));
        let inner = after.get(START.len()..).unwrap_or_default();
        let Some(end) = memchr::memmem::find(inner, END) else { break };
        let meant = STANDARD.decode(inner.get(..end).unwrap_or_default()).unwrap_or_default();
        whole.to_mut().extend_from_slice(before);
        // It stays on its line.
        whole.to_mut().extend(meant.iter().map(|byte| if *byte == b'\n' { b';' } else { *byte }));
        rest = inner.get(end + END.len()..).unwrap_or_default();
    }
    if whole.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    whole.to_mut().extend_from_slice(rest);
    whole
}

#[cfg(test)]
mod tests;
