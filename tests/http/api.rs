//! The API: what the last look rendered, as JSON.

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use gracekeeper::clock;
use gracekeeper::expose::publication::Publication;

use crate::http::served::{Served, looked};

const PATHS: [&str; 2] = ["/api/v1/status", "/api/v1/events"];

fn publication(status: &'static str, events: &'static str) -> Arc<Publication> {
    let (status, events) = (status.into(), events.into());
    Arc::new(Publication { status, events, ..Publication::clone(&looked("up 1\n")) })
}

#[test]
fn the_api_is_the_json_of_the_latest_look() {
    let served = Served::start();
    let mut client = served.connect();
    served.publication.send_replace(publication("{\"servers\":[]}\n", "{\"events\":[]}\n"));
    for (path, expected) in PATHS.into_iter().zip(["{\"servers\":[]}\n", "{\"events\":[]}\n"]) {
        let plain = client.get(path);
        assert_eq!((plain.status, plain.text()), (200, expected));
        assert_eq!(plain.header("content-type"), "application/json");
        assert_eq!(plain.header("cache-control"), "no-store");
        assert_eq!(
            client.get(&format!("{path}?limit=1&x")).text(),
            expected,
            "queries are ignored"
        );
        let head = client.ask("HEAD", path, "").answer_to_head();
        assert_eq!(head.header("content-length"), expected.len().to_string());
        assert!(head.body.is_empty());
        let gzip = client.ask("GET", path, "Accept-Encoding: gzip\r\n").answer();
        assert_eq!(gzip.header("content-encoding"), "gzip");
        let mut content = String::new();
        GzDecoder::new(gzip.body.as_slice()).read_to_string(&mut content).unwrap();
        assert_eq!(content, expected);
        let refused = client.ask("POST", path, "").answer();
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
        assert!(client.get("/").text().contains(path), "the landing page links to {path}");
    }
    served.publication.send_replace(publication("1", "2"));
    let gzip = client.ask("GET", PATHS[1], "Accept-Encoding: gzip\r\n").answer();
    let mut content = String::new();
    GzDecoder::new(gzip.body.as_slice()).read_to_string(&mut content).unwrap();
    assert_eq!(content, "2");
}

#[test]
fn before_the_first_look_the_api_has_nothing_to_tell() {
    let served = Served::start();
    let mut client = served.connect();
    served.publication.send_replace(Arc::new(Publication::default()));
    for path in PATHS {
        assert_eq!(client.get(path).status, 503, "{path}");
    }
    let at = Some(clock::now());
    served
        .publication
        .send_replace(Arc::new(Publication { looked_at: at, ..Publication::default() }));
    assert_eq!(client.get(PATHS[0]).status, 200);
}
