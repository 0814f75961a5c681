//! Which files are to be watched, by what httpd answered.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Answer, settings::values};
use crate::{
    decode::digest::digest,
    model::files::{Digest, FileList},
};

/// Lists them; `program` is the executable file that answered.
pub(super) fn file_list(answer: &Answer, program: &Path, arguments: &[OsString]) -> FileList {
    let mut list = FileList {
        configuration: answer.includes.clone(),
        programs: vec![program.to_owned()],
        told: told(arguments),
        ..FileList::default()
    };
    let Some(settings) = &answer.settings else { return list };
    list.patterns = settings.include_patterns.to_vec();
    list.programs.extend(settings.module_files.iter().cloned());
    let pairs = || settings.tls_hosts.iter().flat_map(|host| &host.pairs);
    let named = settings.certificates.iter().flat_map(|it| it.iter());
    list.certificates = once_each(pairs().map(|pair| &pair.certificate).chain(named));
    list.trusted = settings.tls_files.to_vec();
    list.keys = once_each(pairs().map(|pair| &pair.key));
    list
}

fn once_each<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    paths.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// What the command line says beside paths, which differ between equal hosts.
fn told(arguments: &[OsString]) -> Digest {
    let mut said = Vec::new();
    for option in ["-D", "-C", "-c"] {
        for value in values(arguments, option) {
            said.extend_from_slice(option.as_bytes());
            said.extend_from_slice(&value);
            said.push(0);
        }
    }
    digest([said.as_slice()])
}

/// The files of an earlier list, and those that httpd told of before it refused the rest.
#[must_use]
pub fn joined(earlier: &FileList, told: &[PathBuf]) -> FileList {
    let known: BTreeSet<&PathBuf> = earlier.configuration.iter().collect();
    let new = told.iter().filter(|path| !known.contains(path)).cloned();
    let configuration = earlier.configuration.iter().cloned().chain(new).collect();
    FileList { configuration, ..earlier.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_line_says_is_told_apart_but_not_where_files_lie() {
        let of = |words: &[&str]| told(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["-d", "/a", "-f", "/b", "-D", "X"]), of(&["-f", "/c", "-DX"]));
        assert_ne!(of(&["-D", "X"]), of(&["-D", "Y"]));
        assert_ne!(of(&["-D", "X"]), of(&["-c", "X"]));
    }

    #[test]
    fn a_file_that_breaks_the_configuration_is_watched_with_the_others() {
        let path = |name: &str| PathBuf::from(name);
        let earlier =
            FileList { configuration: vec![path("/a"), path("/b")], ..FileList::default() };
        let list = joined(&earlier, &[path("/a"), path("/new")]);
        assert_eq!(list.configuration, [path("/a"), path("/b"), path("/new")]);
    }
}
