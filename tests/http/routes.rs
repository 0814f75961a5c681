//! Each route and status.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use gracekeeper::clock;
use gracekeeper::expose::publication::Publication;
use gracekeeper::expose::server::{ServerOptions, bind};

use crate::http::served::{Served, looked, patient};

#[test]
fn metrics_are_the_bytes_of_the_latest_publication() {
    let served = Served::start();
    let mut client = served.connect();
    let answer = client.get("/metrics");
    assert_eq!((answer.status, answer.text()), (200, "up 1\n"));
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answer.header("content-length"), "5");
    assert_eq!(answer.header("content-encoding"), "");

    served.publication.send_replace(looked("up 0\nmore 1\n"));
    assert_eq!(client.get("/metrics?collect[]=all").text(), "up 0\nmore 1\n");
    served.publication.send_replace(looked(""));
    let empty = client.get("/metrics");
    assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
}

#[test]
fn gzip_has_the_content_of_identity() {
    let served = Served::start();
    let exposition =
        (0..5000).map(|n| format!("httpd_sample{{n=\"{n}\"}} {n}\n")).collect::<Vec<_>>().concat();
    served.publication.send_replace(looked(exposition.clone()));
    let mut client = served.connect();
    let answer = client.ask("GET", "/metrics", "Accept-Encoding: gzip\r\n").answer();
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("vary"), "accept-encoding");
    assert!(answer.body.len() * 4 < exposition.len());
    let mut content = String::new();
    GzDecoder::new(answer.body.as_slice()).read_to_string(&mut content).unwrap();
    assert_eq!(content, exposition);

    let refused = client.ask("GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n").answer();
    assert_eq!((refused.header("content-encoding"), refused.text()), ("", exposition.as_str()));

    served.publication.send_replace(looked("up 1\n"));
    let next = client.ask("GET", "/metrics", "Accept-Encoding: gzip\r\n").answer();
    let mut content = String::new();
    GzDecoder::new(next.body.as_slice()).read_to_string(&mut content).unwrap();
    assert_eq!(content, "up 1\n");
}

#[test]
fn the_landing_page_links_to_the_routes() {
    let limits = patient();
    let options = ServerOptions { telemetry_path: "/stats".into(), limits, web_config: None };
    let served = Served::with(options);
    let mut client = served.connect();
    let answer = client.get("/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    for link in ["\"/stats\"", "\"/-/healthy\"", "\"/-/ready\""] {
        assert!(answer.text().contains(link), "{link}");
    }
    assert_eq!(client.get("/stats").text(), "up 1\n");
    assert_eq!(client.get("/metrics").status, 404);
}

#[test]
fn it_is_healthy_while_looks_succeed_and_ready_after_the_first() {
    let served = Served::start();
    let mut client = served.connect();
    let publish = |looked_at, stale_after| {
        served.publication.send_replace(Arc::new(Publication {
            looked_at,
            stale_after,
            ..Publication::default()
        }));
    };
    let hour = Duration::from_secs(3600);
    publish(None, hour);
    assert_eq!(client.get("/-/healthy").status, 200);
    let early = client.get("/-/ready");
    assert_eq!((early.status, early.text()), (503, "The first look has not ended.\n"));

    publish(Some(clock::now()), hour);
    assert_eq!(client.get("/-/healthy").status, 200);
    assert_eq!(client.get("/-/ready").status, 200);

    publish(Some(clock::now()), Duration::ZERO);
    let stale = client.get("/-/healthy");
    assert_eq!(stale.status, 503);
    assert!(stale.text().starts_with("The last look ended"), "{}", stale.text());
    assert_eq!(client.get("/-/ready").status, 200);
}

#[test]
fn head_says_what_get_says_without_the_body() {
    let served = Served::start();
    let mut client = served.connect();
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nothing"] {
        let get = client.get(path);
        let head = client.ask("HEAD", path, "").answer_to_head();
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
}

#[test]
fn other_methods_are_told_which_there_are() {
    let served = Served::start();
    let mut client = served.connect();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
        let answer = client.ask(method, "/metrics", "").answer();
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    client.send("CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n");
    assert_eq!(client.answer().status, 405);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn other_paths_are_not_found() {
    let served = Served::start();
    let mut client = served.connect();
    for path in ["/metrics/", "/metricsx", "//", "/-/", "/%6detrics", "/../metrics", "/-/reload"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(client.get("http://any.host/metrics").status, 200);
}

#[test]
fn a_body_is_not_read_and_ends_the_connection() {
    let served = Served::start();
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello"] {
        let mut client = served.connect();
        client.send(format!("GET /metrics HTTP/1.1\r\nHost: test\r\n{body}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, "close"));
        client.end();
        assert!(client.read_to_end().is_empty());
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let served = Served::start();
    let mut client = served.connect();
    let paths = ["/metrics", "/-/ready", "/nothing", "/", "/metrics"];
    let requests = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect::<Vec<_>>()
        .concat();
    client.send(requests);
    let statuses: Vec<_> = paths.iter().map(|_| client.answer().status).collect();
    assert_eq!(statuses, [200, 200, 404, 200, 200]);
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let served = Served::start();
    let mut client = served.connect();
    client.ask("GET", "/metrics", "").end();
    assert_eq!(client.answer().text(), "up 1\n");
    assert!(client.read_to_end().is_empty());
    let mut old = served.connect();
    old.send("GET /metrics HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().text(), "up 1\n");
    assert!(old.read_to_end().is_empty());
}

#[test]
fn it_listens_on_every_address_that_it_is_given() {
    let bound = bind(&["127.0.0.1:0", "127.0.0.2:0"]).unwrap();
    let hosts: Vec<_> = bound.iter().map(|bound| bound.address().ip().to_string()).collect();
    assert_eq!(hosts, ["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn when_told_to_stop_it_closes_idle_connections_and_goes() {
    let mut served = Served::start();
    let mut idle = served.connect();
    idle.get("/metrics");
    let mut silent = served.connect();
    served.tell_to_stop();
    assert!(idle.read_to_end().is_empty());
    assert!(silent.read_to_end().is_empty());
    served.wait_stopped();
}
