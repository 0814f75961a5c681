//! `http_server_config` and `rate_limit`.

use std::fmt;
use std::time::Duration;

use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Wrong;

/// `http_server_config` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpSection {
    pub(super) http2: Option<bool>,
    headers: Option<HeadersSection>,
}

/// The headers that the toolkit admits; the same set keeps exporters alike.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadersSection {
    #[serde(rename = "Content-Security-Policy")]
    content_security_policy: Option<String>,
    #[serde(rename = "X-Frame-Options")]
    x_frame_options: Option<String>,
    #[serde(rename = "X-Content-Type-Options")]
    x_content_type_options: Option<String>,
    #[serde(rename = "X-XSS-Protection")]
    x_xss_protection: Option<String>,
    #[serde(rename = "Strict-Transport-Security")]
    strict_transport_security: Option<String>,
}

impl HttpSection {
    /// The headers that every answer gets; blank ones are unset.
    pub(super) fn headers(self) -> Result<Vec<(HeaderName, HeaderValue)>, Wrong> {
        let written = self.headers.unwrap_or_default();
        let free: &[&str] = &[];
        let all = [
            (CONTENT_SECURITY_POLICY, written.content_security_policy, free),
            (X_FRAME_OPTIONS, written.x_frame_options, &["deny", "sameorigin"]),
            (X_CONTENT_TYPE_OPTIONS, written.x_content_type_options, &["nosniff"]),
            (X_XSS_PROTECTION, written.x_xss_protection, free),
            (STRICT_TRANSPORT_SECURITY, written.strict_transport_security, free),
        ];
        let mut headers = Vec::new();
        for (name, value, admitted) in all {
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                continue;
            };
            let wrong =
                |cause: &str| ("http_server_config.headers", format!("{name}: {value:?}: {cause}"));
            if !admitted.is_empty() && !admitted.contains(&value.as_str()) {
                return Err(wrong(&format!("expected {}", admitted.join(" or "))));
            }
            let parsed =
                HeaderValue::from_str(&value).map_err(|error| wrong(&error.to_string()))?;
            headers.push((name, parsed));
        }
        Ok(headers)
    }
}

/// A token bucket: one request an interval, and `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time in which one more request is admitted.
    pub interval: Duration,
    /// How many may come at once, at least one.
    pub burst: u32,
}

/// `rate_limit` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimitSection {
    interval: Option<Interval>,
    burst: Option<u32>,
}

impl RateLimitSection {
    /// The limit; none for an interval of zero.
    pub(super) fn build(self) -> Result<Option<RateLimit>, Wrong> {
        let Some(Interval(interval)) = self.interval.filter(|Interval(time)| !time.is_zero())
        else {
            return Ok(None);
        };
        match self.burst {
            Some(burst) if burst > 0 => Ok(Some(RateLimit { interval, burst })),
            _ => Err(("rate_limit.burst", "0 or absent: nobody would ever be answered".to_owned())),
        }
    }
}

/// A Go duration: `1s`, `1m30s`, `250ms`, or a number of nanoseconds.
#[derive(Debug)]
struct Interval(Duration);

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntervalVisitor)
    }
}

struct IntervalVisitor;

impl Visitor<'_> for IntervalVisitor {
    type Value = Interval;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 1s")
    }

    fn visit_u64<E: Error>(self, nanoseconds: u64) -> Result<Interval, E> {
        Ok(Interval(Duration::from_nanos(nanoseconds)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Interval, E> {
        if text == "0" {
            return Ok(Interval(Duration::ZERO));
        }
        let duration: SignedDuration =
            text.parse().map_err(|error| E::custom(format!("{text:?}: {error}")))?;
        Duration::try_from(duration)
            .map(Interval)
            .map_err(|_| E::custom(format!("{text:?}: a negative duration")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate_limit(yaml: &str) -> Result<Option<RateLimit>, String> {
        let section: RateLimitSection =
            serde_norway::from_str(yaml).map_err(|error| error.to_string())?;
        section.build().map_err(|(key, cause)| format!("{key}: {cause}"))
    }

    #[test]
    fn a_rate_limit_is_read_as_go_reads_it() {
        let limit =
            |millis, burst| Some(RateLimit { interval: Duration::from_millis(millis), burst });
        assert_eq!(rate_limit("{interval: 1s, burst: 20}"), Ok(limit(1000, 20)));
        assert_eq!(rate_limit("{interval: 1m30s, burst: 1}"), Ok(limit(90_000, 1)));
        assert_eq!(rate_limit("{interval: 1.5s, burst: 1}"), Ok(limit(1500, 1)));
        assert_eq!(rate_limit("{interval: 250000000, burst: 3}"), Ok(limit(250, 3)));
        assert_eq!(rate_limit("{interval: 0, burst: 3}"), Ok(None));
        assert_eq!(rate_limit("{interval: \"0\"}"), Ok(None));
        assert!(rate_limit("{interval: 1s}").unwrap_err().contains("rate_limit.burst"));
        assert!(rate_limit("{interval: soon}").unwrap_err().contains("soon"));
        assert!(rate_limit("{interval: -1s, burst: 1}").unwrap_err().contains("negative"));
        assert!(rate_limit("{intervall: 1s}").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn only_the_toolkits_headers_and_values_are_admitted() {
        let headers = |yaml: &str| -> Result<Vec<_>, String> {
            let section: HttpSection =
                serde_norway::from_str(yaml).map_err(|error| error.to_string())?;
            section.headers().map_err(|(key, cause)| format!("{key}: {cause}"))
        };
        let good = headers("headers: {X-Frame-Options: deny, X-XSS-Protection: ''}").unwrap();
        assert_eq!(good, [(X_FRAME_OPTIONS, HeaderValue::from_static("deny"))]);
        assert!(headers("headers: {X-Frame-Options: maybe}").unwrap_err().contains("sameorigin"));
        assert!(headers("headers: {Server: me}").unwrap_err().contains("unknown field `Server`"));
        let split = headers("headers: {Content-Security-Policy: \"a\\r\\nSet-Cookie: b\"}");
        assert!(split.unwrap_err().contains("content-security-policy"));
    }
}
