//! Users, headers and rate as the web configuration file says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gracekeeper::expose::server::Limits;

use crate::http::client::Client;
use crate::http::folder::{Folder, replace, served};
use crate::http::served::patient;

fn authorization(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

fn hash(password: &str, cost: u32) -> String {
    bcrypt::hash(password, cost).unwrap()
}

#[test]
fn every_route_asks_for_credentials() {
    let folder = Folder::new();
    let file = folder.open(&format!("basic_auth_users: {{alice: {}}}\n", hash("sesame", 4)));
    let served = served(&file, patient());
    let mut client = served.connect();
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nothing"] {
        let refused = client.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("www-authenticate").starts_with("Basic"), "{path}");
    }
    let mut status = |credentials: &str| {
        client.ask("GET", "/metrics", &authorization(credentials)).answer().status
    };
    assert_eq!(status("alice:sesame"), 200);
    assert_eq!(status("alice:guess"), 401);
    assert_eq!(status("mallory:sesame"), 401);
    assert_eq!(status("alice:sesame"), 200);
}

#[test]
fn during_a_brute_force_good_credentials_pass_and_guesses_are_told_to_come_again() {
    let folder = Folder::new();
    let file = folder.open(&format!("basic_auth_users: {{alice: {}}}\n", hash("sesame", 8)));
    let served = served(&file, Limits { pending_passwords: 2, ..patient() });
    let good = authorization("alice:sesame");
    assert_eq!(served.connect().ask("GET", "/metrics", &good).answer().status, 200);

    let mut guessers: Vec<Client> = (0..32).map(|_| served.connect()).collect();
    for (number, guesser) in guessers.iter_mut().enumerate() {
        guesser.ask("GET", "/metrics", &authorization(&format!("alice:guess {number}")));
        if number % 8 == 0 {
            assert_eq!(served.connect().ask("GET", "/metrics", &good).answer().status, 200);
        }
    }
    let answers: Vec<_> = guessers.iter_mut().map(Client::answer).collect();
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status)));
    let busy = answers.iter().find(|answer| answer.status == 429).expect("the queue is short");
    assert_eq!(busy.header("retry-after"), "1");
}

#[test]
fn garbage_in_the_file_leaves_the_last_good_one_in_force() {
    let folder = Folder::new();
    let users = |user: &str| format!("basic_auth_users: {{{user}: {}}}\n", hash("sesame", 4));
    let file = folder.open(&users("alice"));
    let served = served(&file, patient());
    let mut client = served.connect();
    let mut status = |credentials: &str| {
        client.ask("GET", "/metrics", &authorization(credentials)).answer().status
    };
    assert_eq!(status("alice:sesame"), 200);
    let good = file.state();
    assert!(good.last_reload_successful);

    for garbage in [
        "\u{0}\u{1}garbage",
        "",
        "basic_auth_users: {alice: sesame}\n",
        "tls_server_config: {cert: x}",
    ] {
        replace(&folder.path("web.yml"), garbage);
        assert_eq!(status("mallory:sesame"), 401);
        assert_eq!(status("alice:sesame"), 200);
        let state = file.state();
        assert!(!state.last_reload_successful, "{garbage:?}");
        assert_eq!(state.last_success, good.last_success);
    }

    replace(&folder.path("web.yml"), &users("bob"));
    assert_eq!(status("alice:sesame"), 401);
    assert_eq!(status("bob:sesame"), 200);
    assert!(file.state().last_reload_successful);
}

#[test]
fn headers_and_rate_are_those_of_the_file() {
    let folder = Folder::new();
    let file = folder.open(
        "http_server_config: {headers: {X-Frame-Options: deny}}\n\
         rate_limit: {interval: 1h, burst: 2}\n",
    );
    let served = served(&file, patient());
    let mut client = served.connect();
    let answers: Vec<_> = (0..3).map(|_| client.get("/metrics")).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert!(answers.iter().all(|answer| answer.header("x-frame-options") == "deny"));
    let wait: u64 = answers[2].header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
}
