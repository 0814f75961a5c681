//! How each certificate is come by: the listener and the name at which httpd would take a client to
//! a host that has it.
//!
//! As `vhost.c` does it: a host of this very address goes before those of every address, these go
//! before the server without a host; among them the first that has the name, else the first. A host
//! that no client comes to shows nothing, and a client with its name would be shown another's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::pki_types::DnsName;

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
    let order = Order::of(hosts);
    let mut found: BTreeMap<PathBuf, Vec<Way>> = BTreeMap::new();
    for (number, host) in hosts.iter().enumerate() {
        let wanted: Vec<_> = wanted(host, on_disk)
            .filter(|(file, _)| found.get(*file).is_none_or(|ways| ways.len() < MOST_WAYS))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let name = host.name.as_deref().filter(|name| DnsName::try_from(*name).is_ok());
        for places in places(host, &listens) {
            let Some(place) = places.first() else { continue };
            if order.answers(*place, name) != Some(number) {
                continue;
            }
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

/// Which host a client is taken to.
struct Order {
    /// The first of each address.
    firsts: BTreeMap<HostAddress, usize>,
    /// The first of each address that has this name, in lower case.
    named: BTreeMap<(HostAddress, String), usize>,
    /// The server without a host.
    without: Option<usize>,
}

impl Order {
    fn of(hosts: &[TlsHost]) -> Self {
        let mut order = Self { firsts: BTreeMap::new(), named: BTreeMap::new(), without: None };
        for (number, host) in hosts.iter().enumerate() {
            if host.addresses.is_empty() {
                order.without.get_or_insert(number);
            }
            for address in &host.addresses {
                let address = HostAddress { address: specific(address), port: address.port };
                order.firsts.entry(address).or_insert(number);
                if let Some(name) = &host.name {
                    order.named.entry((address, name.to_ascii_lowercase())).or_insert(number);
                }
            }
        }
        order
    }

    fn answers(&self, place: SocketAddr, name: Option<&str>) -> Option<usize> {
        let name = name.map(str::to_ascii_lowercase);
        for address in [Some(place.ip()), None] {
            let own = [Some(place.port()), None].map(|port| HostAddress { address, port });
            let first = own.iter().filter_map(|own| self.firsts.get(own)).min();
            let Some(first) = first else { continue };
            let named = name.as_ref().and_then(|name| {
                own.iter().filter_map(|own| self.named.get(&(*own, name.clone()))).min()
            });
            return Some(*named.unwrap_or(first));
        }
        self.without
    }
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
