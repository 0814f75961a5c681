//! Drift, as metrics.

use super::{Page, truth};
use crate::{
    expose::catalogue::{self, Metric},
    model::time::Timestamp,
    track::drift::{Drift, Owed},
};

/// Everything that is known of it.
#[expect(clippy::cast_precision_loss, reason = "counts of files, and a number below 2^52")]
pub(super) fn drift(page: &mut Page, name: &str, it: &Drift) {
    let mut gauge = |metric: &Metric, value: Option<f64>| page.gauge(metric, &[name], value);
    gauge(&catalogue::SHUTDOWN_TIMEOUT, it.graceful_shutdown_timeout.map(f64::from));
    gauge(&catalogue::KEYS_ENCRYPTED, it.keys_encrypted.map(|count| count as f64));
    gauge(&catalogue::WOULD_PROMPT, it.would_prompt.map(truth));
    gauge(&catalogue::CONFIG_VALID, it.config_valid.map(truth));
    gauge(&catalogue::CONFIG_HASH, it.config_hash.map(|hash| hash as f64));
    gauge(&catalogue::INSECURE_PATHS, it.insecure_paths.map(f64::from));
    for (role, count) in &it.rotated_logs {
        page.gauge(&catalogue::ROTATED_LOGS, &[name, role.label()], Some(*count as f64));
    }
    for (source, dates) in &it.certificates {
        let labels = [name, source.label()];
        let urgent = dates.most_urgent;
        page.gauge(&catalogue::CERTIFICATE_EXPIRY, &labels, Some(urgent.ends.as_seconds()));
        page.gauge(&catalogue::CERTIFICATE_START, &labels, Some(urgent.begins.as_seconds()));
        let earliest = dates.earliest_end.as_seconds();
        page.gauge(&catalogue::CERTIFICATE_EARLIEST_EXPIRY, &labels, Some(earliest));
    }
    for (reason, owed) in &it.owed {
        let labels = [name, reason.label()];
        let required = truth(matches!(owed, Owed::Since(_)));
        page.gauge(&catalogue::RESTART_REQUIRED, &labels, Some(required));
        let since = owed.since().map(Timestamp::as_seconds);
        page.gauge(&catalogue::RESTART_REQUIRED_SINCE, &labels, since);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{
            drift::{CertificateSource, Reason},
            files::Digest,
            headroom::Role,
            tls::{Certificate, KeyAlgorithm},
        },
        track::drift::CertificateDates,
    };

    fn shown(it: &Drift) -> Vec<String> {
        let mut page = Page::default();
        drift(&mut page, "main", it);
        let text = prometheus::TextEncoder::new();
        let families: Vec<_> = page.families.into_values().collect();
        let text = text.encode_to_string(&families).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_known_is_absent() {
        assert_eq!(shown(&Drift::default()), [""; 0]);
    }

    #[test]
    fn what_is_owed_and_what_is_not_is_shown_in_the_catalogues_order() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let most_urgent = Certificate {
            begins: at(10),
            ends: at(90),
            fingerprint: Digest::default(),
            algorithm: KeyAlgorithm::Rsa,
        };
        let dates = CertificateDates { most_urgent, earliest_end: at(80) };
        let it = Drift {
            owed: BTreeMap::from([
                (Reason::Config, Owed::Nothing),
                (Reason::Limits, Owed::Since(Some(at(7)))),
                (Reason::Binary, Owed::Since(None)),
            ]),
            config_valid: Some(false),
            config_hash: Some((1 << 52) - 1),
            certificates: BTreeMap::from([(CertificateSource::Disk, dates)]),
            keys_encrypted: Some(2),
            would_prompt: Some(true),
            rotated_logs: BTreeMap::from([(Role::Old, 3)]),
            insecure_paths: Some(0),
            graceful_shutdown_timeout: Some(30),
        };
        let expected = [
            "httpd_rotated_log_fds{server=\"main\",role=\"old\"} 3",
            "httpd_graceful_shutdown_timeout_seconds{server=\"main\"} 30",
            "httpd_tls_keys_encrypted{server=\"main\"} 2",
            "httpd_restart_would_prompt{server=\"main\"} 1",
            "httpd_tls_certificate_expiry_timestamp_seconds{server=\"main\",source=\"disk\"} 90",
            "httpd_tls_certificate_start_timestamp_seconds{server=\"main\",source=\"disk\"} 10",
            "httpd_tls_certificate_earliest_expiry_timestamp_seconds{server=\"main\",source=\"disk\"} 80",
            "httpd_config_valid{server=\"main\"} 0",
            "httpd_config_hash{server=\"main\"} 4503599627370495",
            "httpd_restart_required{server=\"main\",reason=\"config\"} 0",
            "httpd_restart_required{server=\"main\",reason=\"limits\"} 1",
            "httpd_restart_required{server=\"main\",reason=\"binary\"} 1",
            "httpd_restart_required_since_timestamp_seconds{server=\"main\",reason=\"limits\"} 7",
            "httpd_insecure_paths{server=\"main\"} 0",
        ];
        assert_eq!(shown(&it), expected);
    }
}
