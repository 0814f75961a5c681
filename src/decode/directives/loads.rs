//! Everything that a configuration may have httpd read or load, whichever of its conditions hold.
//!
//! httpd has loaded a module before it can be asked which files it reads, so here nothing is asked
//! of it: what is under a condition counts as if it held.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    alternatives::{Alternatives, Meaning, Meanings, Name},
    conditions::is_conditional,
    limits::Work,
    lines::{Lines, section},
    macros::Macro,
    words::{word, words},
};
use crate::decode::server_path::absolute;

/// Files and macros within each other.
const DEEPEST: usize = 64;
/// Sections of one text that are open at a time.
const MOST_OPEN: usize = 1000;
/// As many paths as one name with variables is followed to.
const MOST_PATHS: usize = 256;
/// As many bytes as one use of a macro makes.
const MOST_MADE: usize = 4 << 20;

/// What is known before a configuration is read.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// httpd's own `ServerRoot`; `None` if it is not known.
    pub root: Option<PathBuf>,
    /// `-D` of its command line.
    pub defined: BTreeSet<Vec<u8>>,
    /// `-C`: directives that are read before the main configuration.
    pub before: Vec<Vec<u8>>,
    /// `-c`: directives that are read after it.
    pub after: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One file of a configuration.
#[derive(Debug)]
pub struct Text {
    /// The absolute path, as it was named.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is done with what is reached; an error ends the reading.
pub trait Reached {
    /// Why it ends.
    type Error;

    /// The files that an absolute path names, which may have wildcards.
    fn include(&mut self, pattern: &Path) -> Result<Rc<[Text]>, Self::Error>;

    /// A module, or a library.
    fn load(&mut self, file: &Path) -> Result<(), Self::Error>;

    /// Where this argument leads cannot be told. What it leads to is left out if that is no error.
    fn unknown(&mut self, argument: &[u8]) -> Result<(), Self::Error>;

    /// It is too much to be followed.
    fn too_much(&mut self, what: &'static str) -> Self::Error;

    /// One more text is read.
    fn step(&mut self) -> Result<(), Self::Error>;
}

/// Reads what is reached from the main configuration and the command line, in httpd's order.
pub fn loads<R: Reached>(
    given: &Given,
    main: Option<&Path>,
    reached: &mut R,
) -> Result<(), R::Error> {
    let mut reading = Reading {
        given,
        reached,
        names: Alternatives::default(),
        read: BTreeMap::new(),
        depth: 0,
        work: Work::whole(),
    };
    for name in &given.defined {
        reading.names.set(Name::Variable(name.clone()), [Meaning::Bare].into());
    }
    if let Some(root) = &given.root {
        let root = Meaning::Value(root.as_os_str().as_bytes().to_owned());
        reading.names.set(Name::Root, [root].into());
    }
    reading.text(&given.before.join(&b'\n'))?;
    if let Some(main) = main {
        reading.files(main)?;
    }
    reading.text(&given.after.join(&b'\n'))
}

/// What is passed over until its end.
enum Passed {
    /// A macro that is told.
    Macro(Vec<u8>, Macro),
    /// A program in Perl.
    Perl,
}

struct Reading<'a, R> {
    given: &'a Given,
    reached: &'a mut R,
    names: Alternatives,
    /// What the names stood for when each file was read last.
    read: BTreeMap<PathBuf, u64>,
    depth: usize,
    work: Work,
}

impl<R: Reached> Reading<'_, R> {
    fn files(&mut self, pattern: &Path) -> Result<(), R::Error> {
        for text in self.reached.include(pattern)?.iter() {
            let changes = self.names.changes();
            // With the same names it leads to the same; so it does if it includes itself.
            if self.read.insert(text.path.clone(), changes) != Some(changes) {
                self.text(&text.bytes)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), R::Error> {
        self.reached.step()?;
        if self.depth >= DEEPEST {
            return Err(self.reached.too_much("its files include each other too deep"));
        }
        self.depth += 1;
        let mut passed = None;
        let mut open = Vec::new();
        for (_, line) in Lines::of(text) {
            passed = match passed.take() {
                Some(what) => self.pass(what, &line),
                None => self.line(&line, &mut open)?,
            };
        }
        for _ in open.iter().filter(|is_conditional| **is_conditional) {
            self.names.leave();
        }
        self.depth -= 1;
        Ok(())
    }

    /// A line of what is passed over; what is left of that.
    fn pass(&mut self, passed: Passed, line: &[u8]) -> Option<Passed> {
        let is_end = |own: &[u8]| section(line).is_some_and(|(is_end, name)| is_end && name == own);
        match passed {
            Passed::Macro(name, told) if is_end(b"macro") => {
                self.names.set_macro(name, told);
                None
            }
            Passed::Macro(name, mut told) => {
                told.add(line);
                Some(Passed::Macro(name, told))
            }
            Passed::Perl => (!is_end(b"perl")).then_some(Passed::Perl),
        }
    }

    /// `open` are the sections around it, and whether each has a condition.
    fn line(&mut self, line: &[u8], open: &mut Vec<bool>) -> Result<Option<Passed>, R::Error> {
        let Some((is_end, name)) = section(line) else {
            if !line.is_empty() {
                self.directive(line)?;
            }
            return Ok(None);
        };
        if is_end {
            if open.pop() == Some(true) {
                self.names.leave();
            }
            return Ok(None);
        }
        if open.len() >= MOST_OPEN {
            return Err(self.reached.too_much("too many of its sections are within each other"));
        }
        let mut rest = line;
        word(&mut rest);
        match name.as_slice() {
            b"macro" => {
                let (name, told) = Macro::named(rest);
                return Ok(Some(Passed::Macro(name, told)));
            }
            b"perl" => return Ok(Some(Passed::Perl)),
            b"ifdefine" => self.enter_if_defined(rest),
            name if is_conditional(name) => self.names.enter(),
            _ => {}
        }
        open.push(is_conditional(&name));
        Ok(None)
    }

    fn enter_if_defined(&mut self, rest: &[u8]) {
        let end = rest.iter().rposition(|byte| *byte == b'>').unwrap_or(rest.len());
        let rest = rest.get(..end).unwrap_or_default().trim_ascii();
        let inverted = rest.strip_prefix(b"!");
        let name = word(&mut inverted.unwrap_or(rest));
        if name.contains(&b'$') {
            self.names.enter();
        } else {
            self.names.enter_if_defined(Name::Variable(name), inverted.is_some());
        }
    }

    fn directive(&mut self, line: &[u8]) -> Result<(), R::Error> {
        let mut rest = line;
        let name = word(&mut rest);
        for name in self.values(&name)? {
            match name.to_ascii_lowercase().as_slice() {
                b"include" | b"includeoptional" => {
                    for path in self.paths(&word(&mut { rest }))? {
                        self.files(&path)?;
                    }
                }
                b"loadmodule" => self.load(words(rest).skip(1).take(1))?,
                b"loadfile" => self.load(words(rest))?,
                b"serverroot" => {
                    let roots = self.values(&word(&mut { rest }))?;
                    self.names.set(Name::Root, roots.into_iter().map(Meaning::Value).collect());
                }
                b"define" => self.define(rest)?,
                b"undefine" => {
                    let name = Name::Variable(word(&mut { rest }));
                    self.names.set(name, [Meaning::Nothing].into());
                }
                b"undefmacro" => {
                    let name = Name::Macro(word(&mut { rest }).to_ascii_lowercase());
                    self.names.set(name, [Meaning::Nothing].into());
                }
                b"use" => self.use_macro(rest)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn load(&mut self, names: impl Iterator<Item = Vec<u8>>) -> Result<(), R::Error> {
        for name in names {
            for path in self.paths(&name)? {
                self.reached.load(&path)?;
            }
        }
        Ok(())
    }

    fn define(&mut self, rest: &[u8]) -> Result<(), R::Error> {
        let mut words = words(rest);
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        let meanings: Meanings = match value {
            Some(value) => self.values(&value)?.into_iter().map(Meaning::Value).collect(),
            None => [Meaning::Bare].into(),
        };
        for name in self.values(&name)? {
            self.names.set(Name::Variable(name), meanings.clone());
        }
        Ok(())
    }

    fn use_macro(&mut self, rest: &[u8]) -> Result<(), R::Error> {
        let mut told = words(rest);
        let name = told.next().unwrap_or_default().to_ascii_lowercase();
        let values: Vec<Vec<u8>> = told.collect();
        for meaning in self.names.of(&Name::Macro(name)) {
            let place = match meaning {
                Meaning::Macro(place) => place,
                Meaning::Anything => return Err(self.ambiguous()),
                Meaning::Nothing | Meaning::Bare | Meaning::Value(_) => continue,
            };
            let told = self.names.macro_at(place);
            let made =
                told.and_then(|told| told.text(values.iter().cloned(), MOST_MADE, &mut self.work));
            let Some(text) = made else {
                return Err(self.reached.too_much("its macros make too much of themselves"));
            };
            self.text(&text)?;
        }
        Ok(())
    }

    /// Where an argument may lead. What a variable without a value is in, httpd takes as it stands.
    fn paths(&mut self, argument: &[u8]) -> Result<Vec<PathBuf>, R::Error> {
        let names = self.values(argument)?;
        let is_told = |name: &Vec<u8>| !has_variable(directory(name));
        if !names.iter().any(is_told) {
            self.reached.unknown(argument)?;
            return Ok(Vec::new());
        }
        let roots = self.names.of(&Name::Root);
        let mut paths = Vec::new();
        for name in &names {
            if name.starts_with(b"/") {
                paths.extend(absolute(None, name));
                continue;
            }
            for root in &roots {
                match root {
                    Meaning::Value(root) => {
                        paths.extend(absolute(Some(Path::new(OsStr::from_bytes(root))), name));
                    }
                    Meaning::Anything => return Err(self.ambiguous()),
                    Meaning::Nothing | Meaning::Bare | Meaning::Macro(_) => {
                        if roots.len() == 1 {
                            self.reached.unknown(argument)?;
                        }
                    }
                }
            }
        }
        if paths.len() > MOST_PATHS { Err(self.ambiguous()) } else { Ok(paths) }
    }

    /// A word with everything that its variables may stand for.
    fn values(&mut self, word: &[u8]) -> Result<Vec<Vec<u8>>, R::Error> {
        let mut whole = vec![Vec::new()];
        let mut rest = word;
        while let Some((before, name, after)) = variable(rest) {
            let values = self.values_of(name)?;
            if whole.len().saturating_mul(values.len()) > MOST_PATHS {
                return Err(self.ambiguous());
            }
            whole = whole
                .iter()
                .flat_map(|start| {
                    values.iter().map(move |value| [start.as_slice(), before, value].concat())
                })
                .collect();
            rest = after;
        }
        for it in &mut whole {
            it.extend_from_slice(rest);
        }
        Ok(whole)
    }

    fn values_of(&mut self, name: &[u8]) -> Result<BTreeSet<Vec<u8>>, R::Error> {
        let mut values = BTreeSet::new();
        for meaning in self.names.of(&Name::Variable(name.to_owned())) {
            values.insert(match meaning {
                Meaning::Value(value) => value,
                Meaning::Anything => return Err(self.ambiguous()),
                Meaning::Nothing | Meaning::Bare | Meaning::Macro(_) => {
                    let given = self.given.environment.get(name).cloned();
                    given.unwrap_or_else(|| [b"${", name, b"}"].concat())
                }
            });
        }
        Ok(values)
    }

    fn ambiguous(&mut self) -> R::Error {
        self.reached.too_much("its variables or macros may stand for too many things")
    }
}

/// What comes before a `${VARIABLE}`, its name, and what follows it.
fn variable(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let start = text.windows(2).position(|two| two == b"${")?;
    let (before, after) = text.split_at_checked(start)?;
    let named = after.get(2..)?;
    let end = named.iter().position(|byte| *byte == b'}')?;
    Some((before, named.get(..end)?, named.get(end + 1..)?))
}

fn has_variable(text: &[u8]) -> bool {
    variable(text).is_some()
}

/// All but the last name of a path.
fn directory(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by their paths, and what was reached.
    #[derive(Default)]
    struct Paper {
        files: BTreeMap<PathBuf, Vec<u8>>,
        included: Vec<String>,
        loaded: Vec<String>,
    }

    impl Reached for Paper {
        type Error = String;

        fn include(&mut self, pattern: &Path) -> Result<Rc<[Text]>, String> {
            self.included.push(pattern.display().to_string());
            let text = self.files.get(pattern).cloned();
            let text = text.map(|bytes| Text { path: pattern.to_owned(), bytes });
            Ok(text.into_iter().collect())
        }

        fn load(&mut self, file: &Path) -> Result<(), String> {
            self.loaded.push(file.display().to_string());
            Ok(())
        }

        fn unknown(&mut self, argument: &[u8]) -> Result<(), String> {
            Err(format!("unknown {}", String::from_utf8_lossy(argument)))
        }

        fn too_much(&mut self, what: &'static str) -> String {
            what.to_owned()
        }

        fn step(&mut self) -> Result<(), String> {
            Ok(())
        }
    }

    fn given() -> Given {
        Given {
            root: Some("/r".into()),
            defined: [b"TOLD".to_vec()].into(),
            environment: [(b"ENV".to_vec(), b"/env".to_vec())].into(),
            ..Given::default()
        }
    }

    fn reached(given: &Given, files: &[(&str, &str)]) -> Result<Paper, String> {
        let files = files.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
        let mut paper = Paper { files: files.collect(), ..Paper::default() };
        loads(given, Some(Path::new("/m")), &mut paper)?;
        paper.included.retain(|path| path != "/m");
        Ok(paper)
    }

    fn included(main: &str) -> Result<Vec<String>, String> {
        reached(&given(), &[("/m", main)]).map(|paper| paper.included)
    }

    #[test]
    fn conditions_and_sections_hide_nothing() {
        let main = "IncludeOptional a/*.conf\n<IfModule no.c>\n<Directory /x>\n\
            INCLUDE \"/b c\"\n</Directory>\n</IfModule>\n# Include /no\nLoadFile x.so /y.so\n\
            <IfDefine !TOLD>\nLoadModule m mo\\\ndules/m.so\n</IfDefine>\n";
        let paper = reached(&given(), &[("/m", main)]).unwrap();
        assert_eq!(paper.included, ["/r/a/*.conf", "/b c"]);
        assert_eq!(paper.loaded, ["/r/x.so", "/y.so", "/r/modules/m.so"]);
    }

    #[test]
    fn variables_stand_for_all_that_they_may() {
        for (main, expected) in [
            ("Include ${ENV}/a", &["/env/a"][..]),
            ("Define ENV /x\nInclude ${ENV}/a", &["/x/a"]),
            ("Define A ${ENV}/b\nDefine B x\nInclude ${A}/${B}.conf", &["/env/b/x.conf"]),
            ("<IfModule x>\nDefine ENV /x\n</IfModule>\nInclude ${ENV}/a", &["/env/a", "/x/a"]),
            (
                "<IfModule x>\nDefine A /x\n</IfModule>\n<IfModule !x>\nDefine A /y\n</IfModule>\n\
                 Include ${A}/a",
                &["/r/${A}/a", "/x/a", "/y/a"],
            ),
            ("<IfDefine !A>\nDefine A /x\n</IfDefine>\nInclude ${A}/a", &["/x/a"]),
            ("Define ENV /x\nUnDefine ENV\nInclude ${ENV}/a", &["/env/a"]),
            ("ServerRoot /s\nInclude a", &["/s/a"]),
            ("<IfFile x>\nServerRoot /s\n</IfFile>\nInclude a", &["/r/a", "/s/a"]),
            ("Define X Include\n${X} /a", &["/a"]),
            ("Include conf/${NO}.conf", &["/r/conf/${NO}.conf"]),
        ] {
            let mut told = included(main).unwrap();
            told.sort();
            assert_eq!(told, expected, "{main}");
        }
        assert_eq!(included("Include ${NO}/a").unwrap_err(), "unknown ${NO}/a");
        assert_eq!(included("Define A ${NO}/x\nInclude ${A}/a").unwrap_err(), "unknown ${A}/a");
        let rootless = Given::default();
        assert_eq!(reached(&rootless, &[("/m", "Include a")]).err().unwrap(), "unknown a");
    }

    #[test]
    fn macros_are_followed_where_they_are_used() {
        let told = "<Macro Host $dir %x>\nInclude $dir/%x.conf\n</Macro>\n";
        let main = format!("{told}use HOST /a b\nUse Host /c d\nUndefMacro Host\nUse Host /e f");
        assert_eq!(included(&main).unwrap(), ["/a/b.conf", "/c/d.conf"]);
        let circle = "<Macro M>\nUse M\n</Macro>\nUse M\n";
        assert_eq!(included(circle).unwrap_err(), "its files include each other too deep");
    }

    #[test]
    fn the_command_line_counts_and_files_that_include_each_other_end() {
        let given = Given {
            before: vec![b"Define A /a".to_vec()],
            after: vec![b"Include ${A}/last".to_vec()],
            ..given()
        };
        let files = [("/m", "Include ${A}/x\n"), ("/a/x", "Define A /b\nInclude /m\n")];
        let paper = reached(&given, &files).unwrap();
        assert_eq!(paper.included, ["/a/x", "/b/x", "/b/last"]);
    }

    #[test]
    fn each_of_many_hosts_may_have_its_own_value() {
        let each = |number: usize| {
            format!("<IfModule ssl>\nDefine D d{number}\nInclude /${{D}}\n</IfModule>\n")
        };
        let main: String = (0..1000).map(each).collect();
        assert_eq!(included(&main).unwrap().len(), 1000);
        let error = included(&format!("{main}Include /${{D}}/x")).unwrap_err();
        assert!(error.contains("too many things"), "{error}");
    }
}
