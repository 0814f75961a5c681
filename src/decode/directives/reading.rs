//! One reading of a configuration, file by file in httpd's order.

use std::{collections::BTreeSet, ffi::OsStr, iter::Peekable, os::unix::ffi::OsStrExt, slice};

use super::{
    Files, Told,
    conditions::{Circumstances, holds, is_conditional},
    limits::Work,
    lines::Lines,
    listen::listen,
    logs::Logs,
    macros::Macro,
    named::Named,
    words::{resolved, word, words},
};
use crate::{
    decode::inclusions::Inclusion,
    model::settings::{Listen, Mpm, ServerSettings},
};

/// As many bytes as macros make of theirs: each may use others.
const MOST_MADE: usize = 4 << 20;
/// What the reading of a text costs, however short it is, in bytes of it.
const EACH: usize = 256;
/// The same of a line.
const EACH_LINE: usize = 8;
/// The same of asking whether there is a file.
const EACH_FILE: usize = 4096;
/// A server that listens at more addresses is not followed to its end.
const MOST_LISTENS: usize = 1024;
/// Sections of one text that are open at a time.
const MOST_OPEN: usize = 1000;
/// httpd follows 20 files that include each other; macros have no such limit.
const DEEPEST: usize = 64;
/// Directives of the questions themselves.
const ASKED: [&[u8]; 3] = [b"DUMP_RUN_CFG", b"DUMP_INCLUDES", b"DUMP_MODULES"];

type Inclusions<'a> = Peekable<slice::Iter<'a, Inclusion>>;

/// What is passed over until its end.
enum Passed {
    /// A section whose condition does not hold, with as many sections open within it.
    Section(usize),
    /// A macro that is told.
    Macro(Vec<u8>, Macro),
    /// What is no configuration, such as a program in Perl.
    Other(Vec<u8>),
}

pub(super) struct Reading<'a> {
    told: &'a Told,
    files: &'a dyn Files,
    named: Named,
    logs: Logs,
    listens: Vec<Listen>,
    settings: ServerSettings,
    /// Sections around this whose condition is not known.
    doubts: usize,
    depth: usize,
    work: Work,
    /// Bytes that macros may still make.
    makes: usize,
    is_unread: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(told: &'a Told, files: &'a dyn Files) -> Self {
        let built_in = told.modules.as_ref().map(|modules| modules.built_in.clone());
        Self {
            told,
            files,
            named: Named::new(told.defined.clone(), built_in.unwrap_or_default()),
            logs: Logs::new(),
            listens: Vec::new(),
            settings: ServerSettings::default(),
            doubts: 0,
            depth: 0,
            work: Work::whole(),
            makes: MOST_MADE,
            is_unread: false,
        }
    }

    /// What was read; httpd's own word of modules and definitions proves that it was read alike.
    pub(super) fn settings(mut self) -> Option<ServerSettings> {
        if let Some(modules) = &self.told.modules {
            let all = modules.built_in.union(&modules.loaded);
            self.settings.is_partial |= !all.eq(&self.named.modules);
        }
        let theirs = self.told.defines.keys().filter(|name| !ASKED.contains(&name.as_slice()));
        self.settings.is_partial |= !theirs.eq(&self.named.defines);
        self.settings.logs_are_partial |= self.settings.is_partial;
        self.settings.listens = self.listens.into();
        self.settings.logs = self.logs.descriptors();
        self.settings.mpm = mpm(&self.named.modules);
        Some(self.settings).filter(|_| !self.is_unread)
    }

    /// Directives of the command line, each a line of its own.
    pub(super) fn directives(&mut self, lines: &[Vec<u8>], within: &mut Inclusions<'_>) {
        self.text(&lines.join(&b'\n'), within);
    }

    /// The main configuration, and then what the command line has to add.
    pub(super) fn main(&mut self, main: &Inclusion) {
        let mut within = main.within.iter().peekable();
        self.contents(main, &mut within);
        self.directives(&self.told.after, &mut within);
        // httpd included what is left, and this reading did not.
        self.settings.is_partial |= within.next().is_some();
    }

    fn file(&mut self, inclusion: &Inclusion) {
        let mut within = inclusion.within.iter().peekable();
        self.contents(inclusion, &mut within);
        self.settings.is_partial |= within.next().is_some();
    }

    fn contents(&mut self, inclusion: &Inclusion, within: &mut Inclusions<'_>) {
        let files = self.files;
        match files.text(&inclusion.path) {
            Some(text) => self.text(text, within),
            None => self.is_unread = true,
        }
    }

    fn text(&mut self, text: &[u8], within: &mut Inclusions<'_>) {
        if self.depth >= DEEPEST || !self.spend(text.len().saturating_add(EACH)) {
            self.settings.is_partial = true;
            return;
        }
        self.depth += 1;
        let doubts = self.doubts;
        let mut passed = None;
        let mut open = Vec::new();
        for (number, line) in Lines::of(text) {
            if !self.spend(EACH_LINE) || open.len() > MOST_OPEN {
                self.settings.is_partial = true;
                break;
            }
            passed = match passed.take() {
                Some(what) => self.pass(what, &line),
                None => self.line(number, &line, within, &mut open),
            };
        }
        self.doubts = doubts;
        self.depth -= 1;
    }

    /// A line of what is passed over; what is left of that.
    fn pass(&mut self, passed: Passed, line: &[u8]) -> Option<Passed> {
        let name = section(line);
        match passed {
            Passed::Section(open) => match name {
                Some((true, _)) => open.checked_sub(1).map(Passed::Section),
                Some((false, _)) => Some(Passed::Section(open + 1)),
                None => Some(Passed::Section(open)),
            },
            Passed::Macro(own, mut told) => {
                if matches!(name, Some((true, name)) if name == b"macro") {
                    self.named.tell(own, told);
                    return None;
                }
                told.add(line);
                Some(Passed::Macro(own, told))
            }
            Passed::Other(own) => match name {
                Some((true, name)) if name == own => None,
                Some(_) | None => Some(Passed::Other(own)),
            },
        }
    }

    /// A line that counts; `open` are the sections around it and whether each is in doubt.
    fn line(
        &mut self,
        number: u32,
        line: &[u8],
        within: &mut Inclusions<'_>,
        open: &mut Vec<(Vec<u8>, bool)>,
    ) -> Option<Passed> {
        let Some((is_end, name)) = section(line) else {
            if !line.is_empty() {
                self.directive(number, line, within);
            }
            return None;
        };
        if is_end {
            let (own, is_doubted) = open.pop().unwrap_or_default();
            self.doubts = self.doubts.saturating_sub(usize::from(is_doubted));
            if own == b"virtualhost" {
                self.settings.logs_are_partial |= !self.logs.leave_host(&mut self.named.room);
            }
            return None;
        }
        let mut rest = line;
        word(&mut rest);
        match name.as_slice() {
            b"macro" => {
                let (name, told) = Macro::named(rest);
                return Some(Passed::Macro(name, told));
            }
            b"perl" => {
                self.settings.is_partial = true;
                return Some(Passed::Other(name));
            }
            b"virtualhost" => {
                self.settings.logs_are_partial |= !self.logs.enter_host(&mut self.named.room);
            }
            b"iffile" => {
                self.spend(EACH_FILE);
            }
            _ => {}
        }
        let rest = self.resolved_now(rest);
        let verdict = if is_conditional(&name) { self.holds(&name, &rest) } else { Some(true) };
        if verdict == Some(false) {
            return Some(Passed::Section(0));
        }
        self.doubts += usize::from(verdict.is_none());
        open.push((name, verdict.is_none()));
        None
    }

    fn holds(&self, section: &[u8], rest: &[u8]) -> Option<bool> {
        let around = Circumstances {
            modules: self.told.modules.as_ref().map(|_| &self.named.modules),
            defines: &self.named.defines,
            version: self.told.version,
            exists: &|name| self.files.exists(name),
        };
        holds(section, rest, &around)
    }

    /// Whether there is as much work left; beyond it nothing is read.
    const fn spend(&mut self, cost: usize) -> bool {
        let can = self.work.take(cost);
        self.settings.is_partial |= !can;
        can
    }

    /// A word with the values that its variables have while httpd reads.
    fn resolved_now(&mut self, word: &[u8]) -> Vec<u8> {
        let environment = &self.told.environment;
        let word = resolved(word, |name| {
            self.named.value(name).or_else(|| environment.get(name)).cloned()
        });
        self.spend(word.len());
        word
    }

    /// A word with the values that they have in the end, when directives are carried out.
    fn resolved_at_last(&mut self, word: &[u8]) -> Vec<u8> {
        let Told { defines, environment, .. } = self.told;
        let word = resolved(word, |name| {
            let defined = defines.get(name).and_then(Option::as_ref);
            defined.or_else(|| environment.get(name)).cloned()
        });
        self.spend(word.len());
        word
    }

    fn directive(&mut self, number: u32, line: &[u8], within: &mut Inclusions<'_>) {
        let mut rest = line;
        let name = word(&mut rest).to_ascii_lowercase();
        match name.as_slice() {
            b"include" | b"includeoptional" => self.include(number, rest, within),
            b"use" => self.use_macro(rest, within),
            b"define" | b"undefine" | b"loadmodule" => self.carry_out(&name, rest),
            b"errorlog" | b"customlog" | b"transferlog" | b"globallog" | b"forensiclog" => {
                self.log(&name, rest);
            }
            b"listen" => self.listen(rest),
            _ => self.number(&name, rest),
        }
    }

    /// The files that httpd included here: one of this name, or all that a pattern names.
    fn include(&mut self, number: u32, mut rest: &[u8], within: &mut Inclusions<'_>) {
        let name = self.resolved_now(&word(&mut rest));
        while let Some(inclusion) = within.next_if(|inclusion| inclusion.line == number) {
            self.file(inclusion);
            // The next use of a macro has the same line.
            if inclusion.path.ends_with(OsStr::from_bytes(&name)) {
                break;
            }
        }
    }

    /// What is carried out while httpd reads.
    fn carry_out(&mut self, directive: &[u8], rest: &[u8]) {
        self.settings.is_partial |= self.doubts > 0;
        let mut words = words(rest);
        let (Some(name), value) = (words.next(), words.next()) else { return };
        let (name, value) =
            (self.resolved_now(&name), value.map(|value| self.resolved_now(&value)));
        match directive {
            b"loadmodule" => {
                self.settings.is_partial |= !self.named.load(name);
            }
            b"undefine" => self.named.undefine(&name),
            _ => self.settings.is_partial |= !self.named.define(name, value),
        }
    }

    /// What a macro makes of its text; httpd counts the lines of that anew.
    fn use_macro(&mut self, rest: &[u8], within: &mut Inclusions<'_>) {
        let mut words = words(rest);
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let told = self.named.told(&name);
        let Some(text) = told.and_then(|told| told.text(words, self.makes, &mut self.work)) else {
            self.settings.is_partial = true;
            return;
        };
        self.makes = self.makes.saturating_sub(text.len().saturating_add(EACH));
        self.text(&text, within);
    }

    fn log(&mut self, directive: &[u8], mut rest: &[u8]) {
        self.settings.logs_are_partial |= self.doubts > 0;
        let name = self.resolved_at_last(&word(&mut rest));
        match directive {
            b"errorlog" => self.logs.error(name),
            b"forensiclog" => self.logs.forensic(name),
            _ => self.logs.add(&name),
        }
    }

    fn listen(&mut self, mut rest: &[u8]) {
        let address = self.resolved_at_last(&word(&mut rest));
        match listen(&address) {
            Some(listen) if self.listens.len() < MOST_LISTENS => self.listens.push(listen),
            Some(_) | None => self.settings.is_partial = true,
        }
        self.settings.is_partial |= self.doubts > 0;
    }

    fn number(&mut self, directive: &[u8], mut rest: &[u8]) {
        let place: fn(&mut ServerSettings) -> &mut Option<u32> = match directive {
            b"startservers" => |it| &mut it.start_servers,
            b"minsparethreads" | b"minspareservers" => |it| &mut it.min_spare,
            b"maxsparethreads" | b"maxspareservers" => |it| &mut it.max_spare,
            b"threadsperchild" => |it| &mut it.threads_per_child,
            b"maxrequestworkers" | b"maxclients" => |it| &mut it.max_request_workers,
            b"serverlimit" => |it| &mut it.server_limit,
            b"threadlimit" => |it| &mut it.thread_limit,
            _ => return,
        };
        let number = integer(&self.resolved_at_last(&word(&mut rest)));
        *place(&mut self.settings) = Some(number);
        self.settings.is_partial |= self.doubts > 0;
    }
}

/// The name of a section that begins or, if the first is true, ends here.
fn section(line: &[u8]) -> Option<(bool, Vec<u8>)> {
    let rest = line.strip_prefix(b"<")?;
    let (is_end, rest) = match rest.strip_prefix(b"/") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>');
    Some((is_end, rest.get(..end.unwrap_or(rest.len()))?.to_ascii_lowercase()))
}

/// `atoi`: what begins with no number is 0, and less than none is none.
fn integer(text: &[u8]) -> u32 {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

fn mpm(modules: &BTreeSet<Vec<u8>>) -> Option<Mpm> {
    let known: [(&[u8], Mpm); 3] = [
        (b"mpm_event_module", Mpm::Event),
        (b"mpm_worker_module", Mpm::Worker),
        (b"mpm_prefork_module", Mpm::Prefork),
    ];
    known.into_iter().find(|(name, _)| modules.contains(*name)).map(|(_, mpm)| mpm)
}
