//! The routes: what each path answers.

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::clock;
use crate::expose::publication::Publication;
use crate::model::time::Moment;

use super::answer::{page, sentence};
use super::compressed::{Page, admits_gzip};
use super::site::Site;

const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Answers a request that was let in.
pub(super) async fn answer<B>(site: &Site, request: &Request<B>) -> Response<Bytes> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = sentence(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        path if path == site.telemetry_path => {
            looked(site, request.headers(), Page::Metrics, EXPOSITION).await
        }
        "/api/v1/status" => looked(site, request.headers(), Page::Status, JSON).await,
        "/api/v1/events" => looked(site, request.headers(), Page::Events, JSON).await,
        "/" => page(StatusCode::OK, HTML, landing(&site.telemetry_path).into()),
        "/-/healthy" => health(&site.publication.borrow(), site.began, clock::now()),
        "/-/ready" => readiness(&site.publication.borrow()),
        _ => sentence(StatusCode::NOT_FOUND, "Not found.\n"),
    }
}

/// What the last look rendered; of JSON there is none before the first.
async fn looked(
    site: &Site,
    headers: &HeaderMap,
    asked: Page,
    kind: HeaderValue,
) -> Response<Bytes> {
    let publication = std::sync::Arc::clone(&site.publication.borrow());
    if asked != Page::Metrics && publication.looked_at.is_none() {
        return readiness(&publication);
    }
    let mut response = page(StatusCode::OK, kind, asked.plain(&publication));
    if admits_gzip(headers)
        && let Some(gzip) = site.compressed.of(&publication, asked).await
    {
        let length = HeaderValue::from(gzip.len());
        *response.body_mut() = gzip;
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Healthy while the last look is young enough; the first look has as long from the beginning.
fn health(publication: &Publication, began: Moment, now: Moment) -> Response<Bytes> {
    let age = now.since(publication.looked_at.unwrap_or(began));
    if age <= publication.stale_after {
        return sentence(StatusCode::OK, "gracekeeper is healthy.\n");
    }
    let text = match publication.looked_at {
        Some(_) => format!("The last look ended {} s ago.\n", age.as_secs()),
        None => format!("No look has ended in {} s.\n", age.as_secs()),
    };
    sentence(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn readiness(publication: &Publication) -> Response<Bytes> {
    match publication.looked_at {
        Some(_) => sentence(StatusCode::OK, "gracekeeper is ready.\n"),
        None => sentence(StatusCode::SERVICE_UNAVAILABLE, "The first look has not ended.\n"),
    }
}

fn landing(telemetry_path: &str) -> String {
    let path = escape(telemetry_path);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <title>gracekeeper</title></head>\n<body>\n<h1>gracekeeper</h1>\n\
         <p>Watches restarts of Apache httpd.</p>\n<ul>\n\
         <li><a href=\"{path}\">Metrics</a></li>\n\
         <li><a href=\"/api/v1/status\">Status</a> (JSON)</li>\n\
         <li><a href=\"/api/v1/events\">Events</a> (JSON)</li>\n\
         <li><a href=\"/-/healthy\">Healthy</a></li>\n\
         <li><a href=\"/-/ready\">Ready</a></li>\n\
         </ul>\n</body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        Moment { uptime: Uptime::from_micros(seconds * 1_000_000), wall: Timestamp::from_micros(0) }
    }

    #[test]
    fn health_follows_the_age_of_the_last_look() {
        let publication = |looked_at| Publication {
            looked_at,
            stale_after: Duration::from_secs(5),
            ..Publication::default()
        };
        let table = [
            (None, 105, StatusCode::OK, "gracekeeper is healthy.\n"),
            (None, 106, StatusCode::SERVICE_UNAVAILABLE, "No look has ended in 6 s.\n"),
            (Some(at(200)), 205, StatusCode::OK, "gracekeeper is healthy.\n"),
            (
                Some(at(200)),
                210,
                StatusCode::SERVICE_UNAVAILABLE,
                "The last look ended 10 s ago.\n",
            ),
        ];
        for (looked_at, now, status, text) in table {
            let answer = health(&publication(looked_at), at(100), at(now));
            assert_eq!((answer.status(), answer.body().as_ref()), (status, text.as_bytes()));
        }
    }

    #[test]
    fn a_telemetry_path_cannot_write_html() {
        assert!(landing("/\"><script>").contains("href=\"/&quot;&gt;&lt;script&gt;\""));
    }
}
