//! Scripts as simple commands: words, quotes, substitutions, without carrying anything out.
//!
//! What is read is often no shell at all: a unit, a crontab, a table of monit's. So a quote that does
//! not end on its line is a letter, and nothing is an error.

use std::collections::BTreeMap;

/// Scripts within scripts are followed so far.
const DEEPEST: u8 = 6;
/// A text has at most this many commands; beyond it is not read.
const MOST: usize = 20_000;
/// A command has at most this many words and scripts; beyond them it is not read.
const MOST_WORDS: usize = 500;

/// One simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    /// The line on which it begins, from 1.
    pub(super) line: u32,
    /// Its words, without their quotes.
    pub(super) words: Vec<Vec<u8>>,
    /// Commands of one pipeline have the same number.
    pub(super) pipeline: usize,
    /// As it was written.
    pub(super) text: Vec<u8>,
    /// Where in that text each word begins, and where the last one ends.
    starts: Vec<usize>,
    end: usize,
    /// Quoted words and substitutions, which may be scripts.
    pub(super) scripts: Vec<(u32, Vec<u8>)>,
}

/// The commands of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    pub(super) commands: Vec<Simple>,
    /// There are more than are read.
    pub(super) is_cut: bool,
}

impl Simple {
    /// As it was written from a word on, without a comment behind it.
    pub(super) fn text_from(&self, word: usize) -> &[u8] {
        let start = self.starts.get(word).copied().unwrap_or_default();
        self.text.get(start..self.end).unwrap_or_default()
    }
}

/// Every command of a text; those of scripts within it are read by [`within`].
pub(super) fn commands(text: &[u8], line: u32) -> Commands {
    let mut reading = Reading { text, at: 0, line, ..Reading::default() };
    reading.run();
    let is_cut = reading.is_cut || reading.peek(0).is_some();
    Commands { commands: reading.done, is_cut }
}

/// The scripts within a command, as commands, with those within them.
pub(super) fn within(command: &Simple) -> Commands {
    let mut found = Commands::default();
    let mut ahead: Vec<(u8, u32, Vec<u8>)> = scripts(command, 1);
    while let Some((depth, line, text)) = ahead.pop() {
        let inner = commands(&text, line);
        found.is_cut |= inner.is_cut;
        for inner in inner.commands {
            if depth < DEEPEST {
                ahead.extend(scripts(&inner, depth + 1));
            } else {
                found.is_cut |= !inner.scripts.is_empty();
            }
            found.commands.push(inner);
        }
        if found.commands.len() > MOST {
            found.is_cut |= !ahead.is_empty();
            break;
        }
    }
    found
}

fn scripts(command: &Simple, depth: u8) -> Vec<(u8, u32, Vec<u8>)> {
    command.scripts.iter().map(|(line, text)| (depth, *line, text.clone())).collect()
}

#[derive(Default)]
struct Reading<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    pipeline: usize,
    /// The command that is read, and where it began.
    open: Option<(Simple, usize)>,
    word: Option<Word>,
    done: Vec<Simple>,
    /// Up to where what begins like this does not end: a line of quotes is not searched for each.
    unclosed: BTreeMap<u8, usize>,
    /// A command had more words or scripts than are kept.
    is_cut: bool,
}

#[derive(Default)]
struct Word {
    text: Vec<u8>,
    at: usize,
    is_quoted: bool,
    line: u32,
}

impl Reading<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            if self.done.len() >= MOST {
                return;
            }
            self.step(byte);
        }
        self.end(true);
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn step(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.end(true);
                self.at += 1;
                self.line = self.line.saturating_add(1);
            }
            b'\\' => self.escape(),
            b' ' | b'\t' | b'\r' => {
                self.end_word();
                self.at += 1;
            }
            b'#' if self.word.is_none() => self.skip_comment(),
            b'\'' | b'"' => self.quote(byte),
            b'`' => self.substitution(1, |_, byte| byte == b'`'),
            b'$' if self.peek(1) == Some(b'(') => {
                let mut open = 1_usize;
                self.substitution(2, |_, byte| {
                    open = match byte {
                        b'(' => open + 1,
                        b')' => open - 1,
                        _ => open,
                    };
                    open == 0
                });
            }
            b'$' if self.peek(1) == Some(b'{') => {
                self.push(byte);
                self.push(b'{');
            }
            b'{' | b'}' if self.word.is_none() => self.separate(1, true),
            b'|' if self.peek(1) == Some(b'|') => self.separate(2, true),
            b'|' => self.separate(1, false),
            b'&' if self.peek(1) == Some(b'&') => self.separate(2, true),
            // A redirection, as in `2>&1` and `&>`.
            b'&' if self.peek(1) == Some(b'>') || self.is_redirected() => self.push(byte),
            b';' | b'(' | b')' | b'&' => self.separate(1, true),
            _ => self.push(byte),
        }
    }

    fn is_redirected(&self) -> bool {
        self.word.as_ref().is_some_and(|word| matches!(word.text.last(), Some(b'>' | b'<')))
    }

    fn word(&mut self) -> &mut Word {
        let (line, at, pipeline) = (self.line, self.at, self.pipeline);
        self.open.get_or_insert_with(|| (Simple { line, pipeline, ..Simple::default() }, at));
        self.word.get_or_insert_with(|| Word { at, line, ..Word::default() })
    }

    fn push(&mut self, byte: u8) {
        self.word().text.push(byte);
        self.at += 1;
    }

    /// A backslash joins lines everywhere here, also within single quotes, as units want it.
    fn escape(&mut self) {
        match self.peek(1) {
            Some(b'\n') => {
                self.end_word();
                self.line = self.line.saturating_add(1);
                self.at += 2;
            }
            Some(b'\r') if self.peek(2) == Some(b'\n') => {
                self.end_word();
                self.line = self.line.saturating_add(1);
                self.at += 3;
            }
            Some(next) => {
                self.word().text.push(next);
                self.at += 2;
            }
            None => self.at += 1,
        }
    }

    fn skip_comment(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }

    /// What lies before the end of a quote or a substitution, and how long it is with that end;
    /// `None` if it does not end on its line.
    fn inner(
        &mut self,
        from: usize,
        mut ends: impl FnMut(u8, u8) -> bool,
    ) -> Option<(Vec<u8>, usize)> {
        let kind = self.peek(0)?;
        if self.unclosed.get(&kind).is_some_and(|end| self.at < *end) {
            return None;
        }
        let mut text = Vec::new();
        let rest = self.text.get(self.at + from..)?;
        let mut bytes = rest.iter().copied().enumerate().peekable();
        let mut before = 0;
        let mut end = rest.len();
        while let Some((place, byte)) = bytes.next() {
            let next = bytes.peek().map(|(_, next)| *next);
            if byte == b'\\' && next == Some(b'\n') {
                bytes.next();
                text.push(b' ');
            } else if byte == b'\n' {
                end = place;
                break;
            } else if ends(before, byte) {
                return Some((text, from + place + 1));
            } else {
                text.push(byte);
            }
            before = if before == b'\\' && byte == b'\\' { 0 } else { byte };
        }
        self.unclosed.insert(kind, self.at + from + end);
        None
    }

    fn quote(&mut self, quote: u8) {
        let ends = |before, byte| byte == quote && (quote == b'\'' || before != b'\\');
        let Some((text, length)) = self.inner(1, ends) else {
            // An apostrophe.
            self.push(quote);
            return;
        };
        let text = if quote == b'"' { unescaped(&text) } else { text };
        let word = self.word();
        word.is_quoted = true;
        word.text.extend_from_slice(&text);
        self.pass(length);
    }

    fn substitution(&mut self, from: usize, ends: impl FnMut(u8, u8) -> bool) {
        let Some((text, length)) = self.inner(from, ends) else {
            self.at += 1;
            return;
        };
        let line = self.line;
        self.word().text.extend_from_slice(&text);
        if let Some((command, _)) = &mut self.open
            && command.scripts.len() < MOST_WORDS
        {
            command.scripts.push((line, text));
        } else {
            self.is_cut = true;
        }
        self.pass(length);
    }

    fn pass(&mut self, length: usize) {
        let passed = self.text.get(self.at..self.at + length).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', passed).count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += length;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let Some((command, began)) = &mut self.open else { return };
        let script = script_of(&word.text);
        let is_script = word.is_quoted && script.contains(&b' ');
        if is_script && command.scripts.len() < MOST_WORDS {
            command.scripts.push((word.line, script.to_owned()));
        } else if is_script {
            self.is_cut = true;
        }
        if command.words.len() < MOST_WORDS {
            command.words.push(word.text);
            command.starts.push(word.at - *began);
            command.end = self.at - *began;
        } else {
            self.is_cut = true;
        }
    }

    fn separate(&mut self, length: usize, ends_pipeline: bool) {
        self.end(ends_pipeline);
        self.at += length;
    }

    fn end(&mut self, ends_pipeline: bool) {
        self.end_word();
        if let Some((mut command, began)) = self.open.take() {
            let text = self.text.get(began..self.at).unwrap_or_default();
            text.clone_into(&mut command.text);
            self.done.push(command);
        }
        self.pipeline += usize::from(ends_pipeline);
    }
}

/// What an assignment or a long option assigns, else the word itself.
pub(super) fn script_of(word: &[u8]) -> &[u8] {
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'-');
    let name = word.iter().take_while(part).count();
    match word.get(name..).and_then(|rest| rest.strip_prefix(b"=")) {
        Some(value) if name > 0 => value,
        Some(_) | None => word,
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next =
            bytes.next_if(|next| byte == b'\\' && matches!(next, b'"' | b'\\' | b'$' | b'`'));
        plain.push(next.unwrap_or(byte));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(u32, Vec<String>)> {
        let shown = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        let commands = commands(text.as_bytes(), 1).commands;
        commands.iter().map(|it| (it.line, it.words.iter().map(shown).collect())).collect()
    }

    fn one(line: u32, words: &[&str]) -> (u32, Vec<String>) {
        (line, words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn commands_end_where_a_shell_ends_them() {
        let text = "a b; c && d||e | f &\n(g) { h; }\n# i\nj '#' k#l # m\n";
        let expected = [
            one(1, &["a", "b"]),
            one(1, &["c"]),
            one(1, &["d"]),
            one(1, &["e"]),
            one(1, &["f"]),
            one(2, &["g"]),
            one(2, &["h"]),
            one(4, &["j", "#", "k#l"]),
        ];
        assert_eq!(words(text), expected);
        assert_eq!(words("x >/dev/null 2>&1 &>y"), [one(1, &["x", ">/dev/null", "2>&1", "&>y"])]);
    }

    #[test]
    fn quotes_end_on_their_line_or_are_none() {
        assert_eq!(words("a \"b 'c' \\\" d\" 'e;f'"), [one(1, &["a", "b 'c' \" d", "e;f"])]);
        assert_eq!(
            words("don't stop\nb\\ c d\\\ne"),
            [one(1, &["don't", "stop"]), one(2, &["b c", "d", "e"])]
        );
        assert_eq!(words("sh -c 'a \\\n b'\nc"), [one(1, &["sh", "-c", "a   b"]), one(3, &["c"])]);
        assert_eq!(words("${A} ${B"), [one(1, &["${A}", "${B"])]);
    }

    #[test]
    fn scripts_within_scripts_are_found() {
        let command = commands(b"x --hook=\"sh -c 'a b; c $(d e)'\" `f g`", 1).commands.remove(0);
        let found: Vec<String> = within(&command)
            .commands
            .iter()
            .map(|it| String::from_utf8_lossy(it.text_from(0)).into_owned())
            .collect();
        for expected in ["f g", "sh -c 'a b; c $(d e)'", "a b", "c $(d e)", "d e"] {
            assert!(found.iter().any(|it| it == expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_pipeline_is_one() {
        let numbers: Vec<usize> =
            commands(b"a | b; c", 1).commands.iter().map(|it| it.pipeline).collect();
        assert_eq!(numbers, [0, 0, 1]);
    }
}
