//! One reading of a configuration, file by file in httpd's order.

mod directive;

use std::{
    collections::BTreeSet, ffi::OsStr, iter::Peekable, os::unix::ffi::OsStrExt, path::PathBuf,
    slice,
};

use super::{
    Files, Told,
    conditions::{Circumstances, holds, is_conditional},
    hosts::Hosts,
    limits::Work,
    lines::{Lines, section},
    logs::Logs,
    macros::Macro,
    named::Named,
    numbers::mpm,
    paths::Paths,
    words::{resolved, word, words},
};
use crate::{
    decode::{inclusions::Inclusion, server_path::absolute},
    model::settings::{Listen, ServerSettings},
};

/// As many bytes as macros make of theirs: each may use others.
const MOST_MADE: usize = 4 << 20;
/// What the reading of a text costs, however short it is, in bytes of it.
const EACH: usize = 256;
/// The same of a line.
const EACH_LINE: usize = 8;
/// The same of asking whether there is a file.
const EACH_FILE: usize = 4096;
/// Sections of one text that are open at a time.
const MOST_OPEN: usize = 1000;
/// httpd follows 20 files that include each other; macros have no such limit.
const DEEPEST: usize = 64;
/// A configuration that includes more patterns is not followed to its end.
const MOST_PATTERNS: usize = 4096;
/// Directives of the questions themselves.
const ASKED: [&[u8]; 4] = [b"DUMP_RUN_CFG", b"DUMP_INCLUDES", b"DUMP_MODULES", b"DUMP_CERTS"];

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
    hosts: Hosts,
    patterns: Paths,
    modules: Paths,
    trusted: Paths,
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
        let root = || told.run.root.clone();
        let built_in = told.modules.as_ref().map(|modules| modules.built_in.clone());
        Self {
            told,
            files,
            named: Named::new(told.defined.clone(), built_in.unwrap_or_default()),
            logs: Logs::below(root()),
            hosts: Hosts::new(),
            patterns: Paths::below(root()),
            modules: Paths::below(root()),
            trusted: Paths::below(root()),
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
        let logs = self.logs.all(self.told.run.error_log.as_ref());
        self.settings.logs_are_partial |= self.settings.is_partial || !logs.are_all_kept;
        self.settings.listens = self.listens.into();
        self.settings.logs = logs.descriptors;
        self.settings.log_files = logs.files;
        self.settings.mpm = mpm(&self.named.modules);
        self.settings.include_patterns = self.patterns.all();
        self.settings.module_files = self.modules.all();
        self.settings.tls_files = self.trusted.all();
        let certificates = self.told.certificates.as_ref().map(|names| {
            names.iter().filter_map(|name| file(self.told, name)).collect::<BTreeSet<_>>()
        });
        let tls = self.hosts.tls(certificates.as_ref());
        self.settings.tls_is_partial |= self.settings.is_partial || tls.is_partial;
        self.settings.tls_hosts = tls.hosts.into();
        self.settings.certificates = certificates.map(|files| files.into_iter().collect());
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
                self.hosts.leave();
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
                self.enter_host(rest);
            }
            b"iffile" => {
                self.spend(EACH_FILE);
            }
            b"mdomainset" | b"manageddomain" => self.hosts.doubt(),
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

    /// The files that httpd included here: one of this name, or all that a pattern names.
    fn include(
        &mut self,
        number: u32,
        mut rest: &[u8],
        within: &mut Inclusions<'_>,
        is_optional: bool,
    ) {
        let name = self.resolved_now(&word(&mut rest));
        let mut is_file = false;
        while let Some(inclusion) = within.next_if(|inclusion| inclusion.line == number) {
            self.file(inclusion);
            // The next use of a macro has the same line.
            is_file = inclusion.path.ends_with(OsStr::from_bytes(&name));
            if is_file {
                break;
            }
        }
        // What must be there, and is one file, is among the files that httpd read.
        if (is_optional || !is_file) && self.patterns.len() < MOST_PATTERNS {
            self.patterns.add(&name);
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
}

/// The path of a certificate or a key, unless it is the name of one in a token.
fn file(told: &Told, name: &[u8]) -> Option<PathBuf> {
    absolute(told.run.root.as_deref(), name).filter(|_| !name.starts_with(b"pkcs11:"))
}
