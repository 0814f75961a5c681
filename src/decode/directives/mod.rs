//! httpd's configuration as text: what it says of children, listeners, logs and TLS.
//!
//! httpd prints which files it read, and where each was included, which modules it has and what is
//! defined; of its MPM it prints nothing. So the files are read as httpd reads them, along that
//! tree: nothing here looks for files, and a condition that cannot be told is said to be one.

mod alternatives;
mod conditions;
mod hosts;
mod limits;
mod lines;
mod listen;
pub mod loads;
mod logs;
mod macros;
mod named;
mod numbers;
mod paths;
mod reading;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::reading::Reading;
use super::{inclusions::Inclusions, modules::Modules, run_configuration::RunConfiguration};
use crate::model::settings::ServerSettings;

/// What httpd was told and said of its configuration, beside the text of the files.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// `-D` of its command line.
    pub defined: BTreeSet<Vec<u8>>,
    /// `-C`: directives that are read before the main configuration.
    pub before: Vec<Vec<u8>>,
    /// `-c`: directives that are read after it.
    pub after: Vec<Vec<u8>>,
    /// What is defined once all is read, with its value if it has one.
    pub defines: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Its modules; `None` where it tells of none.
    pub modules: Option<Modules>,
    /// Its version; `None` where that is not known.
    pub version: Option<[u32; 3]>,
    /// What it says of itself: names are relative to its `ServerRoot`.
    pub run: RunConfiguration,
    /// The names of its certificates; `None` where it tells of none.
    pub certificates: Option<BTreeSet<Vec<u8>>>,
    /// Its environment.
    pub environment: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What is asked while the configuration is read.
///
/// Nothing here opens a file or looks for one; whoever implements this answers. Which names are
/// asked for depends on what was read so far, so that they cannot be told beforehand: the answer may
/// be a look of that moment, and a reading is as pure as what it is given.
pub trait Files {
    /// The text of a file that is part of the configuration; `None` if it cannot be read.
    fn text(&self, path: &Path) -> Option<&[u8]>;

    /// Whether there is a file of this name, which may be relative to the server's root; `None`
    /// where that cannot be told.
    fn exists(&self, name: &[u8]) -> Option<bool>;
}

/// Reads a configuration; `None` if one of its files cannot be read.
#[must_use]
pub fn settings(told: &Told, tree: &Inclusions, files: &dyn Files) -> Option<ServerSettings> {
    let mut reading = Reading::new(told, files);
    reading.directives(&told.before, &mut tree.before.iter().peekable());
    reading.main(&tree.main);
    reading.settings()
}

/// The numbers of a version such as `2.4.71`; `None` if it is none, or one with more to it.
#[must_use]
pub fn version(text: &str) -> Option<[u32; 3]> {
    conditions::numbers(text.as_bytes())
}

#[cfg(test)]
mod tests;
