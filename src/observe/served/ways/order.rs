//! Which host a client is taken to.
//!
//! As `vhost.c` and `mod_ssl` do it: hosts of this very address go before those of every address,
//! and of either those of this very port before those of every port; these go before the server
//! without a host. Among them it is the first that has the name, or an alias that matches it, else
//! the first.

use std::{collections::BTreeMap, net::SocketAddr};

use super::specific;
use crate::model::tls::{HostAddress, TlsHost};

/// Names and aliases that are kept, those of a host once for each of its addresses; with more,
/// nobody is known to answer.
const MOST_NAMES: usize = 200_000;
/// Steps of all comparisons; thereafter nobody is known to answer.
const MOST_STEPS: usize = 10_000_000;

/// All hosts, as clients come to them.
pub(super) struct Order {
    addresses: BTreeMap<HostAddress, Names>,
    /// The server without a host.
    without: Option<usize>,
    /// Steps that are left.
    steps: usize,
}

/// The hosts of one address, by their numbers: the first of each.
struct Names {
    first: usize,
    /// In lower case, and so are all.
    whole: BTreeMap<String, usize>,
    /// What follows a `*`, without another wildcard.
    endings: BTreeMap<String, usize>,
    patterns: Vec<(usize, String)>,
}

impl Order {
    pub(super) fn of(hosts: &[TlsHost]) -> Self {
        let mut order = Self { addresses: BTreeMap::new(), without: None, steps: MOST_STEPS };
        let mut room = MOST_NAMES;
        for (number, host) in hosts.iter().enumerate() {
            if host.addresses.is_empty() {
                order.without.get_or_insert(number);
            }
            let each = host.aliases.len().saturating_add(1);
            let Some(left) = room.checked_sub(each.saturating_mul(host.addresses.len())) else {
                order.steps = 0;
                break;
            };
            room = left;
            for address in &host.addresses {
                let address = HostAddress { address: specific(address), port: address.port };
                order
                    .addresses
                    .entry(address)
                    .or_insert_with(|| Names::of(number))
                    .add(number, host);
            }
        }
        order
    }

    /// The host that a client of this name comes to; `None` too where that is not known.
    pub(super) fn answers(&mut self, place: SocketAddr, name: Option<&str>) -> Option<usize> {
        let name = name.map(str::to_ascii_lowercase);
        let (address, port) = (Some(place.ip()), Some(place.port()));
        let own = [(address, port), (address, None), (None, port), (None, None)];
        let mut own = own.into_iter().map(|(address, port)| HostAddress { address, port });
        // Even if it is the server without a host.
        self.steps = self.steps.checked_sub(1)?;
        let Some(names) = own.find_map(|own| self.addresses.get(&own)) else {
            return self.without;
        };
        match name {
            Some(name) => names.named(&name, &mut self.steps),
            None => Some(names.first),
        }
    }
}

impl Names {
    const fn of(first: usize) -> Self {
        Self { first, whole: BTreeMap::new(), endings: BTreeMap::new(), patterns: Vec::new() }
    }

    fn add(&mut self, number: usize, host: &TlsHost) {
        if let Some(name) = &host.name {
            self.whole.entry(name.to_ascii_lowercase()).or_insert(number);
        }
        for alias in &host.aliases {
            let ending = alias.strip_prefix('*').filter(|ending| !is_wild(ending));
            if let Some(ending) = ending {
                self.endings.entry(ending.to_owned()).or_insert(number);
            } else if is_wild(alias) {
                self.patterns.push((number, alias.clone()));
            } else {
                self.whole.entry(alias.clone()).or_insert(number);
            }
        }
    }

    fn named(&self, name: &str, steps: &mut usize) -> Option<usize> {
        *steps = steps.checked_sub(name.len())?;
        let whole = self.whole.get(name).copied();
        let endings = (0..=name.len()).filter_map(|at| self.endings.get(name.get(at..)?)).copied();
        let mut first = whole.into_iter().chain(endings).min();
        for (number, pattern) in &self.patterns {
            // They are in the order of the hosts.
            if first.is_some_and(|first| first <= *number) {
                break;
            }
            if matches(pattern.as_bytes(), name.as_bytes(), steps)? {
                first = Some(*number);
            }
        }
        Some(first.unwrap_or(self.first))
    }
}

/// `ap_is_matchexp`.
pub(super) fn is_wild(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// `ap_strcasecmp_match`, of what is in lower case; `None` if that takes more steps than are left.
fn matches(pattern: &[u8], name: &[u8], steps: &mut usize) -> Option<bool> {
    let (mut at, mut of) = (0, 0);
    // Where the last `*` is, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at) {
        *steps = steps.checked_sub(1)?;
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(own) if *own == b'?' || own == byte => (at, of) = (at + 1, of + 1),
            Some(_) | None => {
                let Some((place, taken)) = star else { return Some(false) };
                star = Some((place, taken + 1));
                (at, of) = (taken + 1, place + 1);
            }
        }
    }
    Some(pattern.get(of..).unwrap_or_default().iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_matches_as_httpds_wildcards_do() {
        for (pattern, name, expected) in [
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("only?.local", "only1.local", true),
            ("only?.local", "only.local", false),
            ("*", "", true),
            ("www.*", "www.", true),
            ("www.*", "www", false),
            ("w*.*l", "www.local", true),
            ("w**l", "wl", true),
            ("w*?l", "wl", false),
            ("*a*b", "ababa", false),
        ] {
            let mut steps = 1000;
            let found = matches(pattern.as_bytes(), name.as_bytes(), &mut steps);
            assert_eq!(found, Some(expected), "{pattern} {name}");
        }
        assert_eq!(matches(b"*a*a*a*b", &[b'a'; 200], &mut 100), None);
    }
}
