//! What listeners are called: a closed set, so that no configuration makes endless series.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// So many are told apart.
const MOST: usize = 8;

/// What all others are called together.
pub(super) fn other() -> String {
    "other".to_owned()
}

/// Addresses with a label of their own: those that were seen first keep it as long as they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    own: BTreeSet<SocketAddr>,
}

impl Labels {
    /// The label of an address, one of its own as long as there are any.
    pub(super) fn take(&mut self, address: SocketAddr) -> String {
        if self.own.len() < MOST {
            self.own.insert(address);
        }
        self.of(address)
    }

    /// Whether an address has a label of its own.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.own.contains(&address)
    }

    /// The label of an address.
    pub(super) fn of(&self, address: SocketAddr) -> String {
        if self.has(address) { address.to_string() } else { other() }
    }

    /// Those of all other addresses are free for who comes.
    pub(super) fn retain<T>(&mut self, addresses: &BTreeMap<SocketAddr, T>) {
        self.own.retain(|address| addresses.contains_key(address));
    }
}
