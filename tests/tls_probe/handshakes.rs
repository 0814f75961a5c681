//! What is shown for each kind of host.

use std::{fs, path::PathBuf, sync::Arc};

use gracekeeper::model::{source::Why, tls::KeyAlgorithm};

use super::site::{Looks, Plan, connections};
use crate::harness::{Httpd, Mpm};

fn restarted(httpd: &Httpd) {
    let before = httpd.oracle().completed_restarts().len();
    httpd.graceful();
    httpd.oracle().after_restarts(before + 1);
}

pub(super) fn what_is_served_is_known_and_known_anew_after_a_restart(mpm: Mpm) {
    let mut plan = Plan::new();
    let [one, other] = ["one", "other"].map(|it| plan.certificate(it, KeyAlgorithm::Ecdsa));
    let place = plan.listen();
    // Two hosts of one certificate, and one whose name nobody knows.
    plan.host(place, "", &[&other], "");
    plan.host(place, "a.example", &[&one], "");
    plan.host(place, "b.example", &[&one], "");
    let (httpd, mut site, _kept) = plan.start(mpm, |builder| builder);
    let mut looks = Looks::at(&httpd);
    let before = site.on_disk();
    looks.until_served(&site, &before);
    assert_eq!(connections(&httpd), 2, "one for each file");

    site.write(&one, KeyAlgorithm::Ecdsa);
    looks.until_served(&site, &before);
    assert_eq!(connections(&httpd), 2, "nothing else can be served without a load");

    restarted(&httpd);
    looks.loads += 1;
    let after = site.on_disk();
    assert_ne!(before, after);
    looks.until_served(&site, &after);
    assert_eq!(connections(&httpd), 3, "only the one that is another");

    restarted(&httpd);
    looks.loads += 1;
    looks.until_served(&site, &after);
    assert_eq!(connections(&httpd), 3, "nothing is another");
}

#[test]
fn every_kind_of_host_shows_its_certificate() {
    let mut plan = Plan::new();
    let both = [
        plan.certificate("rsa", KeyAlgorithm::Rsa),
        plan.certificate("ecdsa", KeyAlgorithm::Ecdsa),
    ];
    let authority = format!("SSLCACertificateFile {}\nSSLVerifyClient require", both[1].display());
    let [second, third] = ["TLSv1.2", "TLSv1.3"].map(|it| format!("SSLProtocol -all +{it}\n"));
    for (name, more) in [
        ("both", String::new()),
        ("second", second.clone()),
        ("third", third.clone()),
        ("second-strict", second + &authority),
        ("third-strict", third + &authority),
    ] {
        let place = plan.listen();
        if name == "both" {
            plan.host(place, name, &[&both[0], &both[1]], &more);
            continue;
        }
        let algorithm = if name == "second" { KeyAlgorithm::Rsa } else { KeyAlgorithm::Ecdsa };
        let file = plan.certificate(name, algorithm);
        plan.host(place, name, &[&file], &more);
    }
    let access = "CustomLog logs/access_log %r";
    let (httpd, site, _kept) = plan.start(Mpm::Event, |builder| builder.extra(access));
    let mut looks = Looks::at(&httpd);
    looks.until_served(&site, &site.on_disk());
    assert_eq!(connections(&httpd), site.on_disk().len());

    let logs = httpd.directory().join("logs");
    let said = fs::read_to_string(logs.join("error_log")).unwrap();
    let (_, since) = said.split_once("AH01964").unwrap();
    let loud = since.lines().filter(|line| !line.contains(":info]") && line.starts_with('['));
    assert_eq!(loud.collect::<Vec<_>>(), [""; 0], "who reads warnings reads nothing of it");
    let asked = fs::read_to_string(logs.join("access_log")).unwrap();
    assert!(asked.lines().all(|line| line.starts_with("GET ")), "{asked}");
}

#[test]
fn both_certificates_of_a_host_are_shown_whatever_it_speaks() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let mut plan = Plan::new();
        let kinds = [KeyAlgorithm::Rsa, KeyAlgorithm::Ecdsa];
        let files = kinds.map(|kind| plan.certificate(&format!("{kind:?}"), kind));
        let place = plan.listen();
        let more = format!("SSLProtocol -all +{protocol}");
        plan.host(place, "h.example", &files.each_ref().map(PathBuf::as_path), &more);
        let (httpd, site, _kept) = plan.start(Mpm::Event, |builder| builder);
        Looks::at(&httpd).until_served(&site, &site.on_disk());
        assert_eq!(connections(&httpd), 2);
    }
}

#[test]
fn a_certificate_that_is_not_loaded_is_not_said_to_be_served() {
    let mut plan = Plan::new();
    let rsa = plan.certificate("rsa", KeyAlgorithm::Rsa);
    let place = plan.listen();
    plan.host(place, "h.example", &[&rsa], "");
    let (httpd, mut site, kept) = plan.start(Mpm::Event, |builder| builder);
    // As the configuration on disk would have it.
    let ecdsa = kept.path().join("ecdsa.pem");
    site.write(&ecdsa, KeyAlgorithm::Ecdsa);
    let host = &mut Arc::make_mut(&mut site.hosts)[0];
    let mut pair = host.pairs[0].clone();
    pair.certificate.clone_from(&ecdsa);
    host.pairs.push(pair);
    let tried = Looks::at(&httpd).tried(&site, 2);
    assert_eq!(tried, [Err(Why::Invalid), Ok(site.sightings.certificates[&rsa])]);
}

#[test]
fn a_thousand_hosts_cost_a_handshake_for_each_certificate() {
    let mut plan = Plan::new();
    let place = plan.listen();
    for number in 0..1000 {
        let name = format!("h{number:04}.example");
        let file = plan.certificate(&name, KeyAlgorithm::Ecdsa);
        plan.host(place, &name, &[&file], "");
    }
    let (httpd, site, _kept) = plan.start(Mpm::Event, |builder| builder);
    Looks::at(&httpd).until_served(&site, &site.on_disk());
    // Who did not answer in time, as on a busy host, is asked again after a minute.
    let connections = connections(&httpd);
    assert!((1000..1100).contains(&connections), "{connections} for 1000 certificates");
}
