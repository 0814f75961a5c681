//! Servers that come from the state directory, and servers that go from it.

use tracing::{info, warn};

use super::{Choices, MOST_DISCOVERED, Watch, server::Server};
use crate::{model::time::Moment, observe::server::Target, state::orders::Outcome};

impl Watch {
    /// What an earlier run discovered exists, though it may be down, until it is forgotten.
    pub(super) fn take_up_discovered(&mut self) {
        let room = MOST_DISCOVERED.saturating_sub(self.servers.len());
        for known in self.memory.take_discovered(room) {
            if self.servers.values().any(|server| server.name == known.name) {
                // An operator gave its name to another one; it waits until the name is free.
                self.memory.put(known);
                continue;
            }
            let (name, choices) = (known.name.clone(), Choices::default());
            self.add(name, Target::default(), &choices, Some(&known));
        }
    }

    /// After a look: keeps what it told, and forgets what is to be forgotten.
    pub(super) fn obey_the_state_directory(&mut self, at: Moment) {
        for order in self.memory.orders(at, self.options.interval) {
            let name = order.name.clone();
            let outcome = self.forget(&name);
            if outcome == Outcome::Forgotten {
                info!(server = name, "forgotten");
                self.memory.answer_when_kept(order);
                continue;
            }
            if let Err(error) = order.answer(&outcome) {
                warn!(%error, "order not answered");
            }
        }
        let waits = self.servers.values().any(Server::holds_entries);
        self.memory.keep(at, self.servers.values(), waits);
    }

    fn forget(&mut self, name: &str) -> Outcome {
        let watched = self.servers.iter().find(|(_, server)| server.name == name);
        let Some((number, server)) = watched else {
            let mut names: Vec<String> =
                self.servers.values().map(|server| server.name.clone()).collect();
            return match self.memory.forget(name) {
                Outcome::Unknown(others) => {
                    names.extend(others);
                    Outcome::Unknown(names)
                }
                outcome @ (Outcome::Forgotten
                | Outcome::Unwritten(_)
                | Outcome::Up
                | Outcome::Configured) => outcome,
            };
        };
        if !self.options.servers.is_empty() {
            return Outcome::Configured;
        }
        if server.may_be_up() {
            return Outcome::Up;
        }
        let number = *number;
        self.moments.forget(number);
        self.side.forget(number);
        self.servers.remove(&number);
        Outcome::Forgotten
    }
}
