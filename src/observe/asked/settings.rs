//! What a configuration says of children, listeners, logs and TLS, read along what httpd told of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStrExt,
};

use super::{Answer, changes, surroundings::Variables, texts::Texts};
use crate::{
    decode::{
        certificate_list::certificate_list,
        directives::{self, Told},
        inclusions::inclusions,
        modules::modules,
        run_configuration::{RunConfiguration, defines, mutexes},
    },
    model::settings::ServerSettings,
    program::Heard,
};

/// What httpd printed.
pub(super) struct Printed<'heard> {
    /// Of its files, before all else.
    included: &'heard [u8],
    /// Of all else.
    said: &'heard [u8],
    /// No name of a certificate was cut off.
    are_certificates_whole: bool,
}

impl<'heard> Printed<'heard> {
    /// `first` it was asked for its files, and for all else in the run that told `said`.
    pub(super) const fn of(first: &'heard Heard, said: &'heard Heard) -> Self {
        Self {
            included: first.output.as_slice(),
            said: said.output.as_slice(),
            are_certificates_whole: said.output_dropped == 0,
        }
    }
}

/// Reads it; `None` if it did
/// not tell of all files, or one of them cannot be read.
pub(super) fn settings(
    answer: &Answer,
    texts: &Texts,
    arguments: &[OsString],
    environment: &Variables,
    printed: &Printed<'_>,
) -> Option<ServerSettings> {
    if answer.includes_are_cut {
        return None;
    }
    let said = printed.said;
    let certificates = certificate_list(said).filter(|_| printed.are_certificates_whole);
    let told = Told {
        defined: values(arguments, "-D").collect::<BTreeSet<_>>(),
        before: values(arguments, "-C").collect(),
        after: values(arguments, "-c").collect(),
        defines: defines(said),
        modules: modules(said),
        version: answer.build.version.as_deref().and_then(directives::version),
        run: RunConfiguration {
            root: answer.server_root.clone(),
            error_log: answer.error_log.clone(),
            pid_file: answer.pid_file.clone(),
        },
        certificates,
        environment: bytes(environment),
    };
    let settings = directives::settings(&told, &inclusions(printed.included)?, texts)?;
    // Looked at last: what changed meanwhile may not be in it.
    let changed = changes::last(&answer.includes);
    Some(ServerSettings { mutexes: mutexes(said), changed, ..settings })
}

/// The values of one option, which may be joined with it.
pub(super) fn values(arguments: &[OsString], option: &str) -> impl Iterator<Item = Vec<u8>> {
    let mut arguments = arguments.iter();
    std::iter::from_fn(move || {
        loop {
            let argument = arguments.next()?.as_bytes();
            match argument {
                [b'-', _] => {
                    let value = arguments.next()?;
                    if argument == option.as_bytes() {
                        return Some(value.as_bytes().to_owned());
                    }
                }
                _ => {
                    if let Some(joined) = argument.strip_prefix(option.as_bytes()) {
                        return Some(joined.to_owned());
                    }
                }
            }
        }
    })
}

fn bytes(environment: &Variables) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let own = |text: &OsString| text.as_bytes().to_owned();
    environment.iter().map(|(name, value)| (own(name), own(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_either_form() {
        let arguments = ["-d", "-D", "-DA", "-D", "B", "-C", "Listen 80", "-DC", "-D"];
        let arguments = arguments.map(OsString::from);
        let found = |option| values(&arguments, option).collect::<Vec<_>>();
        assert_eq!(found("-D"), [b"A", b"B", b"C"].map(|name| name.to_vec()));
        assert_eq!(found("-C"), [b"Listen 80".to_vec()]);
        assert!(found("-c").is_empty());
    }
}
