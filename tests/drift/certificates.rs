//! Certificates and keys: renewed, touched, closed; and what listeners serve meanwhile.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::{owed, told};
use crate::harness::{
    Gracekeeper, Httpd, Mpm, eventually, httpd::unused_port, keyring::Keyring, metrics::Metrics,
};

const MODULE: &str = "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n";

/// A certificate that ends in the first days of this year, with its key; the directory is certbot's.
struct Lineage(TempDir);

impl Lineage {
    fn new() -> Self {
        let lineage = Self(TempDir::with_prefix("lineage-").unwrap());
        for place in ["live", "archive"] {
            fs::create_dir(lineage.0.path().join(place)).unwrap();
        }
        lineage.renew(1, 2090);
        lineage
    }

    /// As certbot does: another pair of files, then other links in the place of the old.
    fn renew(&self, number: u32, ends: i32) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2025, 1, 1);
        parameters.not_after = date_time_ymd(ends, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        for (name, text) in [("cert", certificate.pem()), ("key", key.serialize_pem())] {
            let target = format!("archive/{name}{number}.pem");
            fs::write(self.0.path().join(&target), text).unwrap();
            let (link, new) = (self.path(name), self.path(&format!("{name}-new")));
            symlink(Path::new("..").join(target), &new).unwrap();
            fs::rename(new, link).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("live").join(name).with_extension("pem")
    }

    fn directives(&self, port: u16) -> String {
        let mut text = MODULE.to_owned();
        write!(
            text,
            "SSLSessionCache none\nListen 127.0.0.1:{port}\n<VirtualHost *:{port}>\n\
             ServerName localhost\nSSLEngine on\nSSLCertificateFile {}\n\
             SSLCertificateKeyFile {}\n</VirtualHost>\n",
            self.path("cert").display(),
            self.path("key").display()
        )
        .unwrap();
        text
    }
}

/// When the certificate ends that lies there, or is served.
fn ends(metrics: &Metrics, source: &str) -> Option<f64> {
    metrics.value("httpd_tls_certificate_expiry_timestamp_seconds", &[("source", source)])
}

/// Connections to a host that speaks TLS.
fn handshakes(httpd: &Httpd) -> usize {
    // AH01964: Connection to child
    httpd.error_log().text().matches("AH01964").count()
}

fn prompts(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_restart_would_prompt", &[])
}

#[test]
fn a_renewed_certificate_is_owed_once_until_it_is_served() {
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let lineage = Lineage::new();
        let httpd = Httpd::builder(mpm).extra(&lineage.directives(unused_port())).start();
        let gracekeeper = Gracekeeper::watching(&httpd).start();
        let metrics = gracekeeper.wait_until("it is served as it lies there", |metrics| {
            owed(metrics, "certificate") == Some(false)
                && ends(metrics, "served").is_some()
                && ends(metrics, "served") == ends(metrics, "disk")
        });
        let old = ends(&metrics, "disk");
        lineage.renew(2, 2095);
        let metrics = gracekeeper.wait_until("it is renewed, and not loaded", |metrics| {
            owed(metrics, "certificate") == Some(true) && ends(metrics, "disk") > old
        });
        assert_eq!(ends(&metrics, "served"), old);
        assert_eq!(owed(&metrics, "config"), Some(false));
        httpd.graceful();
        gracekeeper.wait_until("it is loaded, and served", |metrics| {
            owed(metrics, "certificate") == Some(false) && ends(metrics, "served") > old
        });
        assert_eq!(told(&gracekeeper, "certificate"), [1, 1]);
        assert_eq!(handshakes(&httpd), 2, "one for each that was loaded");
    }
}

#[test]
fn what_was_loaded_before_the_first_look_is_told_by_what_is_served() {
    let lineage = Lineage::new();
    let httpd = Httpd::builder(Mpm::Event).extra(&lineage.directives(unused_port())).start();
    lineage.renew(2, 2095);
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("another one is served than lies there", |metrics| {
        owed(metrics, "certificate") == Some(true)
            && ends(metrics, "served") < ends(metrics, "disk")
    });
}

#[test]
fn a_host_whose_name_is_an_earlier_ones_alias_is_not_said_to_serve_another_certificate() {
    let [first, hidden] = [Lineage::new(), Lineage::new()];
    let port = unused_port();
    let aliases = "ServerName a.local\nServerAlias *.example.org";
    let text = first.directives(port).replace("ServerName localhost", aliases);
    let more =
        hidden.directives(port).replace("ServerName localhost", "ServerName www.example.org");
    let (_, more) = more.split_once("<VirtualHost").unwrap();
    let httpd = Httpd::builder(Mpm::Event).extra(&format!("{text}<VirtualHost{more}")).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let metrics = gracekeeper.wait_until("it is served", |it| ends(it, "served").is_some());
    assert_eq!(owed(&metrics, "certificate"), Some(false));
    assert_eq!(handshakes(&httpd), 1, "nobody comes to the other one");
}

#[test]
fn an_authority_that_changes_is_owed_until_it_is_loaded() {
    let lineage = Lineage::new();
    let authorities = lineage.0.path().join("authorities");
    fs::create_dir(&authorities).unwrap();
    let copy = |from: &str, to: &str| fs::copy(lineage.path(from), authorities.join(to)).unwrap();
    copy("cert", "one.pem");
    let line = format!("SSLEngine on\nSSLCACertificatePath {}\n", authorities.display());
    let text = lineage.directives(unused_port()).replace("SSLEngine on\n", &line);
    let httpd = Httpd::builder(Mpm::Event).extra(&text).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("nothing is owed", |it| owed(it, "certificate") == Some(false));
    copy("cert", "two.pem");
    let is_owed = |it: &Metrics| owed(it, "certificate") == Some(true);
    let metrics = gracekeeper.wait_until("another one is there", is_owed);
    assert_eq!(owed(&metrics, "config"), Some(false));
    httpd.graceful();
    gracekeeper.wait_until("it is loaded", |it| owed(it, "certificate") == Some(false));
}

#[test]
fn no_handshake_is_made_while_every_worker_is_busy() {
    let lineage = Lineage::new();
    let httpd = Httpd::builder(Mpm::Worker).extra(&lineage.directives(unused_port())).start();
    let held = httpd.hold_all_workers();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let served = |metrics: &Metrics| ends(metrics, "served").is_some();
    let metrics = gracekeeper.wait_until("the files are known", |metrics| {
        ends(metrics, "disk").is_some() && owed(metrics, "certificate") == Some(false)
    });
    assert!(!served(&metrics));
    // Some looks later still.
    let looks = |metrics: &Metrics| metrics.value("gracekeeper_look_duration_seconds_count", &[]);
    let now = looks(&metrics).unwrap();
    let metrics = gracekeeper.wait_until("it looked again", |it| looks(it) >= Some(now + 3.0));
    assert!(!served(&metrics));
    assert_eq!(handshakes(&httpd), 0);
    held.release();
    gracekeeper.wait_until("a worker is free", served);
}

#[test]
fn a_key_that_would_be_asked_for_is_told_before_anybody_restarts() {
    let keyring = Keyring::new();
    let httpd = Httpd::builder(Mpm::Event).extra(&keyring.directives("exec:")).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("its key is encrypted, and loaded", |metrics| {
        metrics.value("httpd_tls_keys_encrypted", &[]) == Some(1.0)
            && prompts(metrics) == Some(0.0)
            && owed(metrics, "certificate") == Some(false)
    });
    let key = fs::File::options().append(true).open(keyring.path().join("key.pem")).unwrap();
    let before = key.metadata().unwrap().modified().unwrap();
    key.set_modified(before + Duration::from_secs(7)).unwrap();
    let metrics = gracekeeper.wait_until("a touch is enough", |it| prompts(it) == Some(1.0));
    assert_eq!(owed(&metrics, "certificate"), Some(false), "its bytes are the same");
    httpd.graceful();
    gracekeeper.wait_until("it was asked for", |metrics| prompts(metrics) == Some(0.0));
}

#[test]
fn a_certificate_that_a_restart_would_die_of_is_no_valid_configuration() {
    let lineage = Lineage::new();
    let httpd = Httpd::builder(Mpm::Event).extra(&lineage.directives(unused_port())).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let valid = |expected: f64| move |metrics: &Metrics| super::valid(metrics) == Some(expected);
    gracekeeper.wait_until("all is well", valid(1.0));
    let certificate = fs::read(lineage.path("cert")).unwrap();
    fs::write(lineage.path("cert"), "").unwrap();
    gracekeeper.wait_until("it is empty", valid(0.0));
    fs::write(lineage.path("cert"), certificate).unwrap();
    gracekeeper.wait_until("it is there again", valid(1.0));
    fs::remove_file(lineage.path("key")).unwrap();
    gracekeeper.wait_until("its key is gone", valid(0.0));
    let log = gracekeeper.log();
    let invalid = "configuration is invalid: a restart would end httpd";
    assert_eq!(log.matches(invalid).count(), 2, "{log}");
    assert_eq!(log.matches("configuration is valid again").count(), 1, "{log}");
}

#[test]
fn an_ordinary_user_is_told_what_it_may_see() {
    let lineage = Lineage::new();
    fs::set_permissions(lineage.0.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(lineage.path("key"), Permissions::from_mode(0o600)).unwrap();
    let httpd = Httpd::builder(Mpm::Event).extra(&lineage.directives(unused_port())).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    gracekeeper.wait_until("the certificate is open, and served", |metrics| {
        ends(metrics, "disk").is_some() && ends(metrics, "served") == ends(metrics, "disk")
    });
    if !rustix::process::geteuid().is_root() {
        return crate::harness::not_tested("what is closed to others needs root to make it so");
    }
    let metrics = gracekeeper.scrape();
    assert_eq!(prompts(&metrics), None, "the key is closed");
    eventually("the log says what mends it", || {
        let log = gracekeeper.log();
        log.lines().any(|line| line.contains("source=files") && line.contains("mend="))
    });
}
