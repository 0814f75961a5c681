//! Drift in the status: what is owed, and certificates by their dates.

use std::collections::BTreeMap;

use serde::Serialize;

use super::api::At;
use crate::{
    model::drift::{CertificateSource, Reason},
    track::drift::{Drift, Owed},
};

/// What a restart would load.
#[derive(Serialize)]
pub(super) struct ShownOwed {
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<At>,
    kind: &'static str,
}

/// Of the certificates in one place the one with the least share of its life left, and the first
/// end of any.
#[derive(Serialize)]
pub(super) struct ShownCertificate {
    begins: At,
    ends: At,
    earliest_end: At,
}

/// What is owed; `None` while nothing of that is known.
pub(super) fn owed(it: &Drift) -> Option<Vec<ShownOwed>> {
    let owed = it.owed.iter().filter_map(|(reason, owed)| match owed {
        Owed::Nothing => None,
        Owed::Since(since) => Some(ShownOwed {
            reason: *reason,
            since: since.map(At),
            kind: if reason.needs_full_restart() { "full" } else { "graceful" },
        }),
    });
    (!it.owed.is_empty()).then(|| owed.collect())
}

/// Certificates by where they are.
pub(super) fn certificates(it: &Drift) -> BTreeMap<CertificateSource, ShownCertificate> {
    let all = it.certificates.iter().map(|(source, dates)| {
        let (begins, ends) = (At(dates.most_urgent.begins), At(dates.most_urgent.ends));
        (*source, ShownCertificate { begins, ends, earliest_end: At(dates.earliest_end) })
    });
    all.collect()
}
