//! The file as typed: sections that are asked for their keys one by one, and remember what nobody
//! asked for.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{
    error::{Cause, ConfigError, Place, Problem},
    show::{Origin, Row},
    shown::Shown,
    value::{Fault, Typed, is_printable, must_be, quoted},
};

/// What reading has brought to light so far.
pub(super) struct Sheet<'text> {
    file: &'text Path,
    /// Where each line of the text begins.
    lines: Vec<usize>,
    pub(super) rows: Vec<Row>,
    pub(super) problems: Vec<Problem>,
}

/// A table of the file, or its absence.
pub(super) struct Section<'text, 'sheet> {
    name: String,
    at: usize,
    table: Option<&'text DeTable<'text>>,
    asked: Vec<&'static str>,
    sheet: &'sheet mut Sheet<'text>,
}

/// Reads bytes as TOML; what is not even TOML has no keys to be checked, only lines.
pub(super) fn parse<'text>(file: &Path, bytes: &'text [u8]) -> Result<DeTable<'text>, ConfigError> {
    let problem = |line, cause| Problem {
        place: Place::Line(file.to_owned(), line),
        key: String::new(),
        cause,
    };
    let text = str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = valid.split(|byte| *byte == b'\n').count();
        vec![problem(line, Cause::NotText)]
    })?;
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    let lines = line_starts(bytes);
    let mut problems: Vec<(usize, Cause)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))
        .map(|(at, message)| (line_of(&lines, at), Cause::Syntax(message)))
        .collect();
    // One mistake may confuse the parser several times; the first of a line is the one that helps.
    problems.sort_by_key(|(line, _)| *line);
    problems.dedup_by_key(|(line, _)| *line);
    Err(problems.into_iter().map(|(line, cause)| problem(line, cause)).collect::<Vec<_>>().into())
}

impl<'text> Sheet<'text> {
    pub(super) fn new(file: &'text Path, bytes: &[u8]) -> Self {
        let lines = line_starts(bytes);
        Self { file, lines, rows: Vec::new(), problems: Vec::new() }
    }

    /// The whole file; `None` if there is none.
    pub(super) fn root(&mut self, table: Option<&'text DeTable<'text>>) -> Section<'text, '_> {
        Section { name: String::new(), at: 0, table, asked: Vec::new(), sheet: self }
    }

    /// Lets a flag stand in for a key of the file.
    pub(super) fn overrule(&mut self, key: &str, value: &dyn Shown, flag: &'static str) {
        for row in self.rows.iter_mut().filter(|row| row.key == key) {
            row.value = value.shown();
            row.origin = Origin::Flag(flag);
        }
    }

    fn problem(&mut self, at: usize, key: String, cause: Cause) {
        let place = Place::Line(self.file.to_owned(), line_of(&self.lines, at));
        self.problems.push(Problem { place, key, cause });
    }
}

impl<'text> Section<'text, '_> {
    /// A setting that this version follows.
    pub(super) fn setting<T: Shown>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
        default: T,
    ) -> T {
        self.read(key, read, default, |_| true)
    }

    /// A setting that a later version follows: checked now, so that it is right then. What it
    /// switches off is off already.
    pub(super) fn planned<T: Shown>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
        default: T,
    ) -> T {
        self.read(key, read, default, |value| {
            *value == "off" || *value == "none" || *value == false
        })
    }

    fn read<T: Shown>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
        default: T,
        is_in_effect: fn(&serde_json::Value) -> bool,
    ) -> T {
        self.asked.push(key);
        let (value, origin) = match self.find(key) {
            None => (default, Origin::Default),
            Some((at, typed)) => {
                let line = line_of(&self.sheet.lines, at);
                match read(typed) {
                    Ok(value) => (value, Origin::File(self.sheet.file.to_owned(), line)),
                    Err(fault) => {
                        self.sheet.problem(fault.at, self.name_of(key), fault.cause);
                        (default, Origin::Default)
                    }
                }
            }
        };
        let shown = value.shown();
        let in_effect = is_in_effect(&shown);
        self.sheet.rows.push(Row { key: self.name_of(key), value: shown, origin, in_effect });
        value
    }

    /// The table under a key.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'text, '_> {
        self.asked.push(key);
        let (at, table) = match self.find(key) {
            None => (self.at, None),
            Some((at, typed)) => {
                let table = typed.get_ref().as_table();
                if table.is_none() {
                    let cause = must_be(typed, &format!("a table, [{}]", self.name_of(key))).cause;
                    self.sheet.problem(at, self.name_of(key), cause);
                }
                (at, table)
            }
        };
        Section { name: self.name_of(key), at, table, asked: Vec::new(), sheet: self.sheet }
    }

    /// The tables of an array of tables, each with its place.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(usize, &'text DeTable<'text>)> {
        self.asked.push(key);
        let Some((at, typed)) = self.find(key) else {
            return Vec::new();
        };
        let elements = match typed.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => vec![typed],
        };
        let mut tables = Vec::new();
        for element in elements {
            match element.get_ref().as_table() {
                Some(table) if typed.get_ref().is_array() => {
                    tables.push((element.span().start, table));
                }
                _ => {
                    let must = format!("an array of tables, [[{}]]", self.name_of(key));
                    self.sheet.problem(at, self.name_of(key), must_be(element, &must).cause);
                }
            }
        }
        tables
    }

    /// One of [`Section::tables`], or what one would be that says nothing.
    pub(super) fn element(
        &mut self,
        name: String,
        at: usize,
        table: Option<&'text DeTable<'text>>,
    ) -> Section<'text, '_> {
        Section { name, at, table, asked: Vec::new(), sheet: self.sheet }
    }

    /// Somebody wrote this section.
    pub(super) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Somebody wrote this key here, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Complains about the section, in the line in which it begins.
    pub(super) fn complain(&mut self, cause: Cause) {
        self.sheet.problem(self.at, self.name.clone(), cause);
    }

    /// Complains about one of its keys.
    pub(super) fn complain_about(&mut self, key: &str, cause: Cause) {
        let at = self.find(key).map_or(self.at, |(at, _)| at);
        self.sheet.problem(at, self.name_of(key), cause);
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self) {
        let unknown = self.table.into_iter().flat_map(DeTable::iter);
        for (key, _) in unknown.filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref())) {
            let name = self.name_of(key.get_ref());
            let cause = Cause::Unknown { nearest: nearest(key.get_ref(), &self.asked) };
            self.sheet.problem(key.span().start, name, cause);
        }
    }

    fn find(&self, key: &str) -> Option<(usize, &'text Typed<'text>)> {
        let mut entries = self.table?.iter();
        entries
            .find(|(name, _)| name.get_ref() == key)
            .map(|(name, typed)| (name.span().start, typed))
    }

    fn name_of(&self, key: &str) -> String {
        let is_bare = is_printable(key) && key.len() <= 80 && !key.contains([' ', '.', '"']);
        let key = if is_bare { key.to_owned() } else { quoted(key) };
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }
}

/// The name that was probably meant.
fn nearest(key: &str, names: &[&'static str]) -> Option<String> {
    names
        .iter()
        // The distance of texts costs their lengths' product, and a key may be the whole file.
        .filter(|name| name.len().abs_diff(key.len()) <= 8)
        .map(|name| (strsim::damerau_levenshtein(key, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name.to_owned())
}

fn line_starts(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

/// The line, counted from 1, in which a place of the text is.
fn line_of(lines: &[usize], at: usize) -> usize {
    lines.partition_point(|start| *start <= at).max(1)
}
