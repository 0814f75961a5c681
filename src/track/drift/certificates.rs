//! Certificates by their dates, and keys that a restart would ask a pass phrase for.

use std::collections::{BTreeMap, BTreeSet};

use super::{CertificateDates, contents::ContentTracker};
use crate::model::{
    drift::CertificateSource,
    files::FileSightings,
    time::Timestamp,
    tls::{Certificate, ServedCertificates, life_left},
};

/// What is known of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    /// Files of them that are encrypted; `None` where one cannot be read.
    pub(super) encrypted: Option<u64>,
    /// A restart now would ask for a pass phrase.
    pub(super) would_prompt: Option<bool>,
}

/// The dates of certificates by where these are; without any in a place, it is left out.
pub(super) fn dates(
    files: Option<&FileSightings>,
    served: Option<&ServedCertificates>,
    now: Timestamp,
) -> BTreeMap<CertificateSource, CertificateDates> {
    let disk = files.and_then(|files| {
        let used = files.list.certificates.iter();
        of(used.filter_map(|path| files.certificates.get(path)), now)
    });
    let served = served.and_then(|served| of(served.values().flatten(), now));
    let all = [(CertificateSource::Disk, disk), (CertificateSource::Served, served)];
    all.into_iter().filter_map(|(source, dates)| Some((source, dates?))).collect()
}

fn of<'a>(
    certificates: impl Iterator<Item = &'a Certificate> + Clone,
    now: Timestamp,
) -> Option<CertificateDates> {
    let earliest_end = certificates.clone().map(|certificate| certificate.ends).min()?;
    let most_urgent = certificates.min_by(|one, other| {
        // Of those that have ended, the one that did so first.
        let left = life_left(one, now).total_cmp(&life_left(other, now));
        left.then(one.ends.cmp(&other.ends)).then(one.begins.cmp(&other.begins))
    })?;
    Some(CertificateDates { most_urgent: *most_urgent, earliest_end })
}

/// Which keys are encrypted, and whether `mod_ssl` would read one of these that it has not read
/// before: it keeps what it decrypted, as long as the time of the file is the same.
pub(super) fn keys(files: &FileSightings, contents: &ContentTracker, began: Timestamp) -> Keys {
    let paths: BTreeSet<_> = files.list.keys.iter().collect();
    let is_readable = paths.iter().all(|path| files.keys.contains_key(*path));
    let encrypted = || {
        let all =
            paths.iter().filter(|path| files.keys.get(**path).is_some_and(|it| it.is_encrypted));
        all.copied()
    };
    let prompts = encrypted().any(|path| contents.is_another_key(path, began));
    Keys {
        encrypted: is_readable.then(|| u64::try_from(encrypted().count()).unwrap_or(u64::MAX)),
        would_prompt: (is_readable || prompts).then_some(prompts),
    }
}
