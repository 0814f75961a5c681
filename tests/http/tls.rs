//! TLS as the web configuration file says.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use gracekeeper::expose::server::Limits;
use gracekeeper::expose::web_config::WebConfigFile;
use rcgen::KeyPair;
use tokio_rustls::rustls::ClientConfig;

use crate::http::client::Client;
use crate::http::folder::{Folder, replace, served};
use crate::http::served::{Served, looked, patient};

const TLS: &str = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n";

#[test]
fn metrics_are_served_over_tls_and_garbage_is_dropped() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let served = served(&folder.open(TLS), patient());
    let mut client = Client::connect_tls(served.address, folder.client(None));
    for _ in 0..2 {
        assert_eq!(client.get("/metrics").text(), "up 1\n", "the connection is kept");
    }
    for garbage in ["GET /metrics HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\0\u{5}hello", "\0\0\0\0\0\0"]
    {
        let mut rude = served.connect();
        rude.send(garbage).end();
        assert!(!rude.read_to_end().starts_with(b"HTTP"), "{garbage:?}");
    }
    assert_eq!(tls_status(&served, &folder.client(None)), Some(200));
}

#[test]
fn a_handshake_that_does_not_end_is_cut() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let limits = Limits { request: Duration::from_millis(200), ..patient() };
    let served = served(&folder.open(TLS), limits);
    let mut client = served.connect();
    client.send("\u{16}\u{3}\u{1}");
    assert!(client.read_to_end().is_empty());
}

#[test]
fn an_answer_over_tls_that_is_not_read_is_cut() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let limits = Limits { answer: Duration::from_millis(300), ..patient() };
    let served = served(&folder.open(TLS), limits);
    served.publication.send_replace(looked(vec![b'x'; 32 * 1024 * 1024]));
    let mut client = Client::connect_tls(served.address, folder.client(None));
    client.ask("GET", "/metrics", "");
    Client::of(client.stream.sock).wait_reset();
}

#[test]
fn a_new_certificate_is_served_to_the_next_connection() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let served = served(&folder.open(TLS), patient());
    let presented = || {
        let mut client = Client::connect_tls(served.address, folder.client(None));
        client.get("/metrics");
        client.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = presented();
    folder.issue("server", "localhost");
    let second = presented();
    assert_ne!(first, second);
    // A key that does not fit, as half-way through a renewal.
    replace(&folder.path("server.key"), &KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(presented(), second);
}

#[test]
fn a_client_needs_its_certificate_where_the_file_says_so() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    folder.issue("prometheus", "prometheus.example");
    folder.issue("other", "other.example");
    let stranger = Folder::new();
    stranger.issue("stranger", "prometheus.example");
    for name in ["stranger.pem", "stranger.key"] {
        fs::copy(stranger.path(name), folder.path(name)).unwrap();
    }
    let clients = [None, Some("prometheus"), Some("other"), Some("stranger")];
    let names = "client_allowed_sans: [10.0.0.1, prometheus.example]";
    let table = [
        ("RequireAndVerifyClientCert, client_ca_file: ca.pem", [false, true, true, false]),
        ("VerifyClientCertIfGiven, client_ca_file: ca.pem", [true, true, true, false]),
        ("RequireAnyClientCert", [false, true, true, true]),
        ("RequestClientCert", [true, true, true, true]),
        (
            &format!("RequireAndVerifyClientCert, client_ca_file: ca.pem, {names}"),
            [false, true, false, false],
        ),
        (&format!("RequireAnyClientCert, {names}"), [false, true, false, true]),
    ];
    for (policy, admitted) in table {
        let text = tls_and(&format!("client_auth_type: {policy}"));
        let served = served(&folder.open(&text), patient());
        for (client, is_admitted) in clients.iter().zip(admitted) {
            let status = tls_status(&served, &folder.client(*client));
            assert_eq!(status == Some(200), is_admitted, "{policy}: {client:?}: {status:?}");
        }
    }
}

/// `tls_server_config` with more keys.
fn tls_and(more: &str) -> String {
    TLS.replace('}', &format!(", {more}}}"))
}

fn assert_refused(folder: &Folder, text: &str, cause: &str) {
    let path = folder.path("web.yml");
    replace(&path, text);
    let error = WebConfigFile::open(&path, Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains(cause), "{text}: {error}");
    assert!(error.starts_with(&path.display().to_string()), "{error}");
}

#[test]
fn certificates_and_keys_that_do_not_fit_are_refused_at_the_start() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    folder.issue("other", "localhost");
    fs::write(folder.path("empty.pem"), "").unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
    fs::write(folder.path("locked.key"), locked).unwrap();
    let named = |old: &str, new: &str| TLS.replace(old, new);
    let refused = |text: &str, cause: &str| assert_refused(&folder, text, cause);
    refused(&named("server.key", "other.key"), "key_file");
    refused(&named("server.key", "missing.key"), "missing.key: No such file");
    refused(&named("server.key", "locked.key"), "the key is encrypted");
    refused(&named("server.pem", "empty.pem"), "empty.pem: no certificate in it");
    refused(&tls_and("cert: x"), "both cert and cert_file are given");
}

#[test]
fn what_cannot_be_honoured_is_refused_at_the_start() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let any = "client_auth_type: RequireAnyClientCert";
    for (more, cause) in [
        ("client_ca_file: ca.pem", "client_ca needs a client_auth_type"),
        ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
        ("client_auth_type: Maybe", "unknown variant `Maybe`"),
        ("client_allowed_sans: [a]", "client_allowed_sans needs client_auth_type"),
        (&format!("{any}, client_allowed_sans: [a@b.c]"), "e-mail addresses are not compared"),
        ("min_version: TLS13, max_version: TLS12", "max_version is older"),
        ("min_version: TLS11", "TLS11 is not offered"),
        ("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]", "unknown or not offered"),
        ("curve_preferences: [CurveP521]", "CurveP521 is not offered"),
        ("sni: true", "unknown field `sni`"),
    ] {
        assert_refused(&folder, &tls_and(more), cause);
    }
}

#[test]
fn tls_is_not_switched_off_by_a_change_of_the_file() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let file = folder.open(TLS);
    let served = served(&file, patient());
    replace(&folder.path("web.yml"), "http_server_config: {http2: false}\n");
    assert_eq!(tls_status(&served, &folder.client(None)), Some(200));
    assert!(!file.state().last_reload_successful);
}

#[test]
fn only_the_versions_of_the_file_are_spoken() {
    let folder = Folder::new();
    folder.issue("server", "localhost");
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let text = tls_and(&format!("max_version: TLS12, cipher_suites: [{suite}]"));
    let served = served(&folder.open(&text), patient());
    let mut client = Client::connect_tls(served.address, folder.client(None));
    assert_eq!(client.get("/metrics").status, 200);
    let spoken = client.stream.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(format!("{spoken:?}"), suite);
}

/// The status over TLS; `None` where the handshake fails.
fn tls_status(served: &Served, config: &Arc<ClientConfig>) -> Option<u16> {
    let mut client = Client::connect_tls(served.address, Arc::clone(config));
    client.try_send("GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
    client.try_answer(true).ok().map(|answer| answer.status)
}
