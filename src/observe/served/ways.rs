//! How each certificate is come by: the listener and the name at which httpd would take a client to
//! a host that has it.
//!
//! Which host that is tells `order`. A host that no client comes to shows nothing, and a client with
//! its name would be shown another's.

mod order;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::pki_types::DnsName;

use self::order::{Order, is_wild};
use crate::{
    model::tls::{Certificate, HostAddress, KeyAlgorithm, TlsHost},
    observe::tls_probe::Way,
};

/// Of a certificate that many hosts have so many ways are known: the next is for when one fails.
const MOST_WAYS: usize = 4;
const HTTPS: u16 = 443;

/// The ways to each file of a certificate; one without any is left out.
pub(super) fn ways(
    hosts: &[TlsHost],
    listens: &[SocketAddr],
    on_disk: &BTreeMap<PathBuf, Certificate>,
) -> BTreeMap<PathBuf, Vec<Way>> {
    let listens = in_order(listens);
    let mut order = Order::of(hosts);
    let mut found: BTreeMap<PathBuf, Vec<Way>> = BTreeMap::new();
    for (number, host) in hosts.iter().enumerate() {
        let wanted: Vec<_> = wanted(host, on_disk)
            .filter(|(file, _)| found.get(*file).is_none_or(|ways| ways.len() < MOST_WAYS))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let names = names(host);
        for places in places(host, &listens) {
            let Some(place) = places.first() else { continue };
            let mut leads = |name: Option<&str>| order.answers(*place, name) == Some(number);
            let Some(name) = names.iter().copied().find(|name| leads(*name)) else { continue };
            for (file, algorithm) in &wanted {
                let ways = found.entry((*file).to_owned()).or_default();
                if ways.len() < MOST_WAYS {
                    let name = name.map(str::to_owned);
                    ways.push(Way { places: places.clone(), name, algorithm: *algorithm });
                }
            }
        }
    }
    found
}

/// Those that a client may ask for, its own before its aliases; without any, it asks for none.
fn names(host: &TlsHost) -> Vec<Option<&str>> {
    let aliases = host.aliases.iter().map(String::as_str).filter(|alias| !is_wild(alias));
    let names = host.name.as_deref().into_iter().chain(aliases);
    let names: Vec<_> = names.filter(|name| DnsName::try_from(*name).is_ok()).map(Some).collect();
    if names.is_empty() { vec![None] } else { names }
}

/// Each once, the usual port first.
fn in_order(listens: &[SocketAddr]) -> Vec<SocketAddr> {
    let each: BTreeSet<(bool, SocketAddr)> =
        listens.iter().map(|listen| (listen.port() != HTTPS, *listen)).collect();
    each.into_iter().map(|(_, listen)| listen).collect()
}

/// The files of a host that a client can be shown, and what it must ask for to be shown them.
fn wanted<'a>(
    host: &'a TlsHost,
    on_disk: &'a BTreeMap<PathBuf, Certificate>,
) -> impl Iterator<Item = (&'a Path, Option<KeyAlgorithm>)> {
    let algorithm = |file: &Path| on_disk.get(file).map(|certificate| certificate.algorithm);
    host.pairs.iter().enumerate().filter_map(move |(index, pair)| {
        let file = pair.certificate.as_path();
        if host.pairs.len() == 1 {
            return Some((file, None));
        }
        // OpenSSL keeps the last of each algorithm.
        let own = algorithm(file)?;
        let mut later = host.pairs.iter().skip(index + 1);
        let is_last = later.all(|pair| algorithm(&pair.certificate).is_some_and(|it| it != own));
        is_last.then_some((file, Some(own)))
    })
}

/// Where a host is reached: of each listener that may be its own the addresses to try.
fn places(host: &TlsHost, listens: &[SocketAddr]) -> Vec<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for listen in listens {
        if host.addresses.is_empty() {
            found.push(reached(*listen));
        }
        for own in &host.addresses {
            if own.port.is_some_and(|port| port != listen.port()) {
                continue;
            }
            match specific(own) {
                None => found.push(reached(*listen)),
                Some(address) if listen.ip() == address || is_every(listen.ip(), address) => {
                    found.push(vec![SocketAddr::new(address, listen.port())]);
                }
                Some(_) => {}
            }
        }
    }
    found.dedup();
    found
}

/// An address of its own.
fn specific(address: &HostAddress) -> Option<IpAddr> {
    address.address.filter(|address| !address.is_unspecified())
}

/// Where a listener is reached from this host.
fn reached(listen: SocketAddr) -> Vec<SocketAddr> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let addresses = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => vec![v4],
        // It takes IPv4 as well where IPv6 has no loopback.
        IpAddr::V6(address) if address.is_unspecified() => vec![v6, v4],
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![address],
    };
    addresses.into_iter().map(|address| SocketAddr::new(address, listen.port())).collect()
}

/// A listener of every address takes this one; that of IPv6 takes IPv4 too.
fn is_every(listen: IpAddr, address: IpAddr) -> bool {
    listen.is_unspecified() && (listen.is_ipv6() || address.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{files::Digest, time::Timestamp, tls::TlsPair};

    fn host(addresses: &[&str], name: &str, files: &[&str]) -> TlsHost {
        let address = |text: &&str| {
            let (address, port) = text.rsplit_once(':').unwrap();
            HostAddress { address: address.parse().ok(), port: port.parse().ok() }
        };
        let pair = |file: &&str| TlsPair { certificate: file.into(), key: "k".into() };
        TlsHost {
            addresses: addresses.iter().map(address).collect(),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            aliases: Vec::new(),
            pairs: files.iter().map(pair).collect(),
        }
    }

    fn certificate(algorithm: KeyAlgorithm) -> Certificate {
        let (begins, ends) = (Timestamp::from_micros(0), Timestamp::from_micros(1));
        Certificate { begins, ends, fingerprint: Digest::default(), algorithm }
    }

    /// Each way in a word: its places, its name, its algorithm.
    fn told(hosts: &[TlsHost], listens: &[&str], disk: &[(&str, KeyAlgorithm)]) -> Vec<String> {
        let listens: Vec<SocketAddr> = listens.iter().map(|it| it.parse().unwrap()).collect();
        let disk =
            disk.iter().map(|(file, algorithm)| (file.into(), certificate(*algorithm))).collect();
        let each = ways(hosts, &listens, &disk);
        let word = |file: &PathBuf, way: &Way| {
            let places: Vec<String> = way.places.iter().map(ToString::to_string).collect();
            let algorithm = way.algorithm.map(|it| format!(" {it:?}")).unwrap_or_default();
            let name = way.name.as_deref().unwrap_or("-");
            format!("{}: {} {name}{algorithm}", file.display(), places.join("|"))
        };
        each.iter().flat_map(|(file, ways)| ways.iter().map(|way| word(file, way))).collect()
    }

    #[test]
    fn a_host_of_every_address_is_reached_where_somebody_listens() {
        let hosts = [host(&["*:443"], "a.example", &["a"]), host(&["*:443"], "b.example", &["b"])];
        for (listen, expected) in [
            ("0.0.0.0:443", "127.0.0.1:443"),
            ("[::]:443", "[::1]:443|127.0.0.1:443"),
            ("192.0.2.1:443", "192.0.2.1:443"),
        ] {
            let expected = [format!("a: {expected} a.example"), format!("b: {expected} b.example")];
            assert_eq!(told(&hosts, &["127.0.0.1:80", listen], &[]), expected);
        }
        assert_eq!(told(&hosts, &["0.0.0.0:8443"], &[]), [""; 0], "nobody of httpd's listens");
        assert_eq!(told(&hosts, &[], &[]), [""; 0], "where it listens is not known");
    }

    #[test]
    fn a_host_of_an_address_goes_before_those_of_every_address() {
        let hosts = [
            host(&[":443"], "same.example", &["every"]),
            host(&["192.0.2.1:443"], "same.example", &["one"]),
            host(&[], "same.example", &["server"]),
        ];
        assert_eq!(
            told(&hosts, &["192.0.2.1:443", "192.0.2.2:443", "192.0.2.2:444"], &[]),
            [
                "every: 192.0.2.2:443 same.example",
                "one: 192.0.2.1:443 same.example",
                "server: 192.0.2.2:444 same.example",
            ]
        );
        assert_eq!(told(&hosts[1..2], &["[::]:443"], &[]), ["one: 192.0.2.1:443 same.example"]);
    }

    #[test]
    fn a_host_that_no_client_comes_to_is_not_asked_for() {
        let hosts = [
            host(&["*:443"], "", &["first"]),
            host(&["*:443"], "A.example", &["a"]),
            host(&["*:443"], "a.EXAMPLE", &["hidden"]),
            host(&["*:443"], "*.example", &["no-name"]),
            host(&["*:443"], "192.0.2.7", &["an-address"]),
        ];
        assert_eq!(
            told(&hosts, &["0.0.0.0:443"], &[]),
            ["a: 127.0.0.1:443 A.example", "first: 127.0.0.1:443 -"]
        );
    }

    fn called(host: TlsHost, aliases: &[&str]) -> TlsHost {
        TlsHost { aliases: aliases.iter().map(|it| (*it).to_owned()).collect(), ..host }
    }

    /// Each was tried with 2.4.71.
    #[test]
    fn a_host_whose_name_is_an_alias_of_an_earlier_one_is_reached_by_its_own_aliases() {
        let first = called(host(&["*:443"], "a.local", &["a"]), &["*.example.org", "only?.local"]);
        let hidden = host(&["*:443"], "WWW.example.org", &["hidden"]);
        let same = ["*.own.example", "mail.example.org", "alias.local"];
        let hosts = [
            first,
            hidden.clone(),
            called(host(&["*:443"], "b.example.org", &["b"]), &same),
            host(&["*:443"], "only1.local", &["hidden too"]),
            host(&["*:443"], "only.local", &["c"]),
            host(&["*:443"], "example.org", &["d"]),
            host(&["127.0.0.1:443"], "x.example.org", &["elsewhere"]),
        ];
        let ways = told(&hosts[..6], &["0.0.0.0:443"], &[]);
        let expected = ["a: 127.0.0.1:443 a.local", "b: 127.0.0.1:443 alias.local"];
        assert_eq!(ways[..2], expected);
        assert_eq!(ways[2..], ["c: 127.0.0.1:443 only.local", "d: 127.0.0.1:443 example.org"]);
        let elsewhere = told(&hosts, &["127.0.0.1:443"], &[]);
        assert_eq!(elsewhere, ["elsewhere: 127.0.0.1:443 x.example.org"]);
        let all = called(host(&["*:443"], "a.local", &["a"]), &["*"]);
        assert_eq!(told(&[all, hidden], &["0.0.0.0:443"], &[]), ["a: 127.0.0.1:443 a.local"]);
    }

    /// It was tried with 2.4.71.
    #[test]
    fn a_host_of_every_port_is_hidden_by_one_of_this_very_port() {
        let hosts = [host(&["*:*"], "any.local", &["any"]), host(&["*:443"], "a.local", &["a"])];
        let ways = told(&hosts, &["0.0.0.0:443", "0.0.0.0:444"], &[]);
        assert_eq!(ways, ["a: 127.0.0.1:443 a.local", "any: 127.0.0.1:444 any.local"]);
    }

    #[test]
    fn very_many_aliases_come_to_an_end() {
        let wild = |from: usize| -> Vec<String> {
            let each = (from..from + 500).map(|it| format!("{}{it}", "*a".repeat(100)));
            each.collect()
        };
        let name = "a".repeat(60);
        let hosts: Vec<TlsHost> = (0..2000)
            .map(|number| TlsHost {
                aliases: if number < 2 { wild(number * 500) } else { Vec::new() },
                ..host(&["*:443"], &format!("{name}.{name}.{name}.h{number}"), &["one"])
            })
            .collect();
        assert!(told(&hosts, &["0.0.0.0:443"], &[]).len() <= 4);
        let many = |count: usize| {
            let aliases = (0..count).map(|it| format!("h{it}.example"));
            let first = host(&["*:443"], "a.local", &["a"]);
            told(&[TlsHost { aliases: aliases.collect(), ..first }], &["0.0.0.0:443"], &[]).len()
        };
        assert_eq!((many(50_000), many(300_000)), (1, 0), "who answers is not known any more");
    }

    #[test]
    fn of_two_certificates_of_a_host_each_is_asked_for_by_its_algorithm() {
        use KeyAlgorithm::{Ecdsa, Rsa};
        let hosts = [host(&["*:443"], "h", &["r", "e"])];
        assert_eq!(
            told(&hosts, &["127.0.0.1:443"], &[("r", Rsa), ("e", Ecdsa)]),
            ["e: 127.0.0.1:443 h Ecdsa", "r: 127.0.0.1:443 h Rsa"]
        );
        let last = [("r", Rsa), ("e", Rsa)];
        assert_eq!(told(&hosts, &["127.0.0.1:443"], &last), ["e: 127.0.0.1:443 h Rsa"]);
        assert_eq!(told(&hosts, &["127.0.0.1:443"], &[("r", Rsa)]), [""; 0], "which is shown?");
    }

    #[test]
    fn a_certificate_of_many_hosts_has_few_ways_the_usual_port_first() {
        let many: Vec<TlsHost> =
            (0..1000).map(|number| host(&["*:*"], &format!("h{number}"), &["one"])).collect();
        let ways = told(&many, &["0.0.0.0:80", "0.0.0.0:443"], &[]);
        assert_eq!(
            ways,
            [
                "one: 127.0.0.1:443 h0",
                "one: 127.0.0.1:80 h0",
                "one: 127.0.0.1:443 h1",
                "one: 127.0.0.1:80 h1",
            ]
        );
    }
}
