//! Virtual hosts and the server without one: where they listen, and what they say of TLS.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use super::limits::Room;
use crate::model::tls::{HostAddress, TlsHost, TlsPair};

/// As many certificates, or keys, of a host take the places of the main server's; `mod_ssl` adds
/// further ones to them.
const REPLACED: usize = 3;

/// What one of them says.
#[derive(Clone, Debug, Default)]
struct Host {
    addresses: Vec<HostAddress>,
    name: Option<String>,
    /// `ServerAlias`.
    aliases: Vec<String>,
    /// `SSLEngine`.
    is_on: Option<bool>,
    /// `None` is one that is no file.
    certificates: Vec<Option<PathBuf>>,
    keys: Vec<Option<PathBuf>>,
    /// An address is the name of a host.
    is_named: bool,
}

/// All of them, in their order; there is room for so many.
#[derive(Debug)]
pub(super) struct Hosts {
    main: Host,
    others: Vec<Host>,
    /// The virtual host whose directives are read now.
    current: Option<Host>,
    /// There is room for it.
    keeps_current: bool,
    room: Room,
    /// So that certificates have theirs, whatever hosts are called.
    room_for_aliases: Room,
    /// Not all could be kept, or understood.
    is_partial: bool,
}

/// Those that speak TLS.
#[derive(Debug)]
pub(super) struct TlsHosts {
    pub(super) hosts: Vec<TlsHost>,
    pub(super) is_partial: bool,
}

impl Hosts {
    pub(super) fn new() -> Self {
        let main = Host::default();
        Self {
            main,
            others: Vec::new(),
            current: None,
            keeps_current: false,
            room: Room::whole(),
            room_for_aliases: Room::whole(),
            is_partial: false,
        }
    }

    /// `<VirtualHost>` at these addresses.
    pub(super) fn enter(&mut self, addresses: impl Iterator<Item = Vec<u8>>) {
        self.leave();
        let mut host = Host::default();
        self.keeps_current = self.room.take(size_of::<Host>());
        for text in addresses {
            self.keeps_current = self.keeps_current && self.room.take(size_of::<HostAddress>());
            if !self.keeps_current {
                break;
            }
            let (address, is_named) = address(&text);
            host.is_named |= is_named;
            host.addresses.push(address);
        }
        self.is_partial |= !self.keeps_current;
        self.current = Some(host);
    }

    /// Its end.
    pub(super) fn leave(&mut self) {
        let host = self.current.take();
        self.others.extend(host.filter(|_| self.keeps_current));
    }

    /// `ServerName`, with or without scheme and port.
    pub(super) fn name(&mut self, text: &[u8]) {
        let name = std::str::from_utf8(text).ok().map(|text| {
            let name = text.split_once("://").map_or(text, |(_, name)| name);
            name.split_once(':').map_or(name, |(name, _)| name).to_owned()
        });
        let name = name.filter(|name| !name.is_empty() && self.room.take(name.len()));
        self.current().name = name;
    }

    /// One of `ServerAlias`, which the server without a host cannot have.
    pub(super) fn alias(&mut self, text: &[u8]) {
        let Some(host) = self.current.as_mut() else { return };
        let alias = std::str::from_utf8(text).ok().map(str::to_ascii_lowercase);
        let alias = alias.filter(|alias| self.room_for_aliases.take(alias.len()));
        self.is_partial |= alias.is_none();
        // One that is not known may be any: whoever comes after this host may not be reached.
        let alias = alias.unwrap_or_else(|| "*".to_owned());
        if host.aliases.last() != Some(&alias) {
            host.aliases.push(alias);
        }
    }

    /// `SSLEngine`. What `optional` is depends on the version, and is TLS of no listener.
    pub(super) fn engine(&mut self, text: &[u8]) {
        self.is_partial |= text.eq_ignore_ascii_case(b"optional");
        self.current().is_on = Some(text.eq_ignore_ascii_case(b"on"));
    }

    /// `SSLCertificateFile`.
    pub(super) fn certificate(&mut self, file: Option<PathBuf>) {
        if self.has_room(file.as_ref()) {
            self.current().certificates.push(file);
        }
    }

    /// `SSLCertificateKeyFile`.
    pub(super) fn key(&mut self, file: Option<PathBuf>) {
        if self.has_room(file.as_ref()) {
            self.current().keys.push(file);
        }
    }

    /// Something else has its say.
    pub(super) const fn doubt(&mut self) {
        self.is_partial = true;
    }

    /// Those that speak TLS. `told` are the certificates of all servers that httpd itself names.
    pub(super) fn tls(mut self, told: Option<&BTreeSet<PathBuf>>) -> TlsHosts {
        self.leave();
        let Self { main, others, mut room, mut is_partial, .. } = self;
        if let Some(told) = told {
            let all = [&main].into_iter().chain(&others).flat_map(|host| &host.certificates);
            let all: BTreeSet<&PathBuf> = all.flatten().collect();
            is_partial |= !told.iter().eq(all);
        }
        let mut found = Vec::new();
        let alone = main.clone();
        let merged = others
            .into_iter()
            .filter(|host| host.is_on.or(main.is_on) == Some(true))
            .map(|host| host.merged(&main, &mut room));
        let alone = Some(Some(alone)).filter(|_| main.is_on == Some(true));
        for host in alone.into_iter().chain(merged) {
            let Some(host) = host else {
                is_partial = true;
                continue;
            };
            // Without one of its own it has one of another module.
            is_partial |= host.is_named || host.certificates.is_empty();
            found.push(host.tls());
        }
        TlsHosts { hosts: found, is_partial }
    }

    fn current(&mut self) -> &mut Host {
        self.current.as_mut().unwrap_or(&mut self.main)
    }

    fn has_room(&mut self, file: Option<&PathBuf>) -> bool {
        let has_room = self.room.take(file.map_or(0, |file| file.as_os_str().as_bytes().len()));
        self.is_partial |= !has_room;
        has_room
    }
}

impl Host {
    /// With what it has of the main server; `None` if there is no room for that.
    fn merged(mut self, main: &Self, room: &mut Room) -> Option<Self> {
        self.name = self.name.or_else(|| main.name.clone());
        self.certificates = merged(self.certificates, &main.certificates, room)?;
        self.keys = merged(self.keys, &main.keys, room)?;
        Some(self)
    }

    /// The key of a certificate is the one of the same place, else in the file of the certificate.
    fn tls(self) -> TlsHost {
        let keys = self.keys.into_iter().map(Some).chain(std::iter::repeat(None));
        let pairs = self.certificates.into_iter().zip(keys).filter_map(|(certificate, key)| {
            let certificate = certificate?;
            let key = key.flatten().unwrap_or_else(|| certificate.clone());
            Some(TlsPair { certificate, key })
        });
        let pairs = pairs.collect();
        TlsHost { addresses: self.addresses, name: self.name, aliases: self.aliases, pairs }
    }
}

/// `ssl_engine_config.c`, `modssl_ctx_cfg_merge_certkeys_array`.
fn merged(
    mut own: Vec<Option<PathBuf>>,
    main: &[Option<PathBuf>],
    room: &mut Room,
) -> Option<Vec<Option<PathBuf>>> {
    let added = own.split_off(own.len().min(REPLACED));
    for file in main.iter().skip(own.len()) {
        let length = file.as_ref().map_or(0, |file| file.as_os_str().as_bytes().len());
        if !room.take(length) {
            return None;
        }
        own.push(file.clone());
    }
    own.extend(added);
    Some(own)
}

/// `*`, `*:443`, `_default_:443`, `127.0.0.1`, `[::1]:*`; and whether it is the name of a host.
fn address(text: &[u8]) -> (HostAddress, bool) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        Some(_) | None => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => {
            let address = inner.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().ok().map(IpAddr::from)
        }
        None => host.parse().ok(),
    };
    let is_every = host == "*" || host.eq_ignore_ascii_case("_default_");
    let port = port.filter(|port| *port != 0);
    (HostAddress { address, port }, address.is_none() && !is_every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_httpd_writes_them() {
        for (text, expected, is_named) in [
            ("*", (None, None), false),
            ("*:*", (None, None), false),
            ("_default_:443", (None, Some(443)), false),
            ("127.0.0.1", (Some("127.0.0.1"), None), false),
            ("127.0.0.1:8443", (Some("127.0.0.1"), Some(8443)), false),
            ("[::1]", (Some("::1"), None), false),
            ("[fe80::1%eth0]:443", (Some("fe80::1"), Some(443)), false),
            ("[::1]:*", (Some("::1"), None), false),
            ("localhost:99", (None, Some(99)), true),
            ("*:0", (None, None), false),
            ("*:99999", (None, None), false),
            ("", (None, None), true),
            ("[x]:1", (None, Some(1)), true),
        ] {
            let (ip, port) = expected;
            let expected = HostAddress { address: ip.map(|ip| ip.parse().unwrap()), port };
            assert_eq!(address(text.as_bytes()), (expected, is_named), "{text}");
        }
        assert!(address(b"\xff:1").1);
    }

    /// Each was printed by 2.4.71, whose main server has five.
    #[test]
    fn what_a_host_has_takes_the_places_of_what_the_main_server_has() {
        let files = |names: &str| names.chars().map(|name| Some(name.to_string().into())).collect();
        let base: Vec<Option<PathBuf>> = files("abcde");
        for (own, expected) in
            [("", "abcde"), ("1", "1bcde"), ("122", "122de"), ("1225", "122de5"), ("12", "12cde")]
        {
            let expected: Vec<_> = files(expected);
            assert_eq!(merged(files(own), &base, &mut Room::whole()), Some(expected), "{own}");
        }
    }
}
