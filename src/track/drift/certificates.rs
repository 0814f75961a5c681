//! Certificates by their dates, and keys that a restart would ask a pass phrase for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{CertificateDates, contents::ContentTracker};
use crate::model::{
    drift::CertificateSource,
    files::FileSightings,
    time::Timestamp,
    tls::{Certificate, ServedCertificates, life_left},
};

/// Shares of life move so slowly that they are compared so often, in microseconds.
const COMPARED_EVERY: i64 = 60_000_000;

/// Tells dates, and works only where something may be new.
#[derive(Clone, Debug, Default)]
pub(super) struct DateTracker {
    files: Option<Arc<FileSightings>>,
    served: Option<Arc<ServedCertificates>>,
    compared: Option<Timestamp>,
    dates: BTreeMap<CertificateSource, CertificateDates>,
}

/// Tells of keys, and works only where something may be new.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyTracker {
    latest: Option<(u64, Keys)>,
}

/// What is known of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    /// Files of them that are encrypted; `None` where one cannot be read.
    pub(super) encrypted: Option<u64>,
    /// A restart now would ask for a pass phrase.
    pub(super) would_prompt: Option<bool>,
}

impl DateTracker {
    /// The dates of certificates by where these are; without any in a place, it is left out.
    pub(super) fn observe(
        &mut self,
        files: Option<&Arc<FileSightings>>,
        served: Option<&Arc<ServedCertificates>>,
        now: Timestamp,
    ) -> BTreeMap<CertificateSource, CertificateDates> {
        let is_young = self.compared.is_some_and(|compared| {
            // A clock that is set back makes nothing young.
            (0..COMPARED_EVERY).contains(&now.as_micros().saturating_sub(compared.as_micros()))
        });
        let is_known = is_same(self.files.as_ref(), files) && is_same(self.served.as_ref(), served);
        if !is_young || !is_known {
            self.dates = dates(files.map(AsRef::as_ref), served.map(AsRef::as_ref), now);
            (self.files, self.served) = (files.cloned(), served.cloned());
            self.compared = Some(now);
        }
        self.dates.clone()
    }
}

impl KeyTracker {
    /// What is known of the keys of these files, which `contents` folded.
    pub(super) fn observe(
        &mut self,
        files: &FileSightings,
        contents: &ContentTracker,
        began: Timestamp,
    ) -> Keys {
        let edition = contents.edition();
        if let Some((_, keys)) = self.latest.filter(|(latest, _)| *latest == edition) {
            return keys;
        }
        let keys = keys(files, contents, began);
        self.latest = Some((edition, keys));
        keys
    }
}

fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The dates of certificates by where these are; without any in a place, it is left out.
fn dates(
    files: Option<&FileSightings>,
    served: Option<&ServedCertificates>,
    now: Timestamp,
) -> BTreeMap<CertificateSource, CertificateDates> {
    let disk = files.and_then(|files| {
        let used = files.list.certificates.iter();
        of(used.filter_map(|path| files.certificates.get(path)), now)
    });
    let served = served.and_then(|served| of(served.values().flat_map(|it| &it.result), now));
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
fn keys(files: &FileSightings, contents: &ContentTracker, began: Timestamp) -> Keys {
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
