//! The connections that are held, and which of them goes when there is no room.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::progress::Progress;

/// One task a connection, each named by its entry here, none outliving the set.
pub(super) struct Connections {
    tasks: JoinSet<()>,
    held: HashMap<Id, Held>,
    limit: usize,
}

struct Held {
    origin: Origin,
    progress: Arc<Progress>,
    task: AbortHandle,
}

/// Where connections come from, as far as one client cannot choose it at will: an address, or in
/// IPv6 the network of 64 bits that a host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin(IpAddr);

impl Origin {
    fn of(client: IpAddr) -> Self {
        // A dual-stack listener shows IPv4 clients in their mapped form.
        Self(match client.to_canonical() {
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
            }
            IpAddr::V4(address) => address.into(),
        })
    }
}

impl Connections {
    /// Room for this many.
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: JoinSet::new(), held: HashMap::new(), limit: limit.max(1) }
    }

    /// Starts the task of a connection, in the place of another one where it must be.
    pub(super) fn admit(
        &mut self,
        client: IpAddr,
        progress: Arc<Progress>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        while self.held.len() >= self.limit {
            self.drop_longest_waiting();
        }
        let task = self.tasks.spawn(connection);
        self.held.insert(task.id(), Held { origin: Origin::of(client), progress, task });
    }

    /// Ends the connection that has the least claim to its place.
    ///
    /// It is one of the origin that holds the most: a host that floods drops its own connections,
    /// and a scraper on another host notices nothing.
    pub(super) fn drop_longest_waiting(&mut self) {
        let mut crowds: HashMap<Origin, usize> = HashMap::new();
        for held in self.held.values() {
            *crowds.entry(held.origin).or_default() += 1;
        }
        let first = self.held.iter().min_by_key(|(_, held)| {
            let crowd = crowds.get(&held.origin).copied();
            (held.progress.is_answering(), Reverse(crowd), held.progress.precedence())
        });
        if let Some(held) = first.map(|(id, _)| *id).and_then(|id| self.held.remove(&id)) {
            held.task.abort();
        }
    }

    /// Ends a quarter of the connections, for want of descriptors.
    ///
    /// One at a time would not keep pace with a flood, and the rest of the program needs some too.
    pub(super) fn give_back_some(&mut self) {
        for _ in 0..self.held.len().div_ceil(4) {
            self.drop_longest_waiting();
        }
    }

    /// Takes note of the tasks that have ended, and is woken by the next.
    pub(super) fn forget_ended(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) {
            self.forget(ended);
        }
    }

    /// Ready when no task is left.
    pub(super) fn poll_all_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.forget_ended(cx);
        if self.tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
                error.id()
            }
        };
        self.held.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_origin_that_holds_the_most_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut connections = Connections::new(3);
            let origins = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.2"];
            for origin in origins {
                let progress = Arc::new(Progress::new(clock::now()));
                connections.admit(origin.parse().unwrap(), progress, std::future::pending());
            }
            let held = |origin: &str| {
                let origin = Origin::of(origin.parse().unwrap());
                connections.held.values().filter(|held| held.origin == origin).count()
            };
            assert_eq!((held("10.0.0.1"), held("::ffff:10.0.0.2")), (1, 2));
        });
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_origin() {
        let origin = |address: &str| Origin::of(address.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    }
}
