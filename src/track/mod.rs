//! Pure state machines: snapshots in, events out.
//!
//! Every machine has one form: `observe(&mut self, look) -> Vec<Event>` and, where time alone can
//! change what is true, `next_deadline(&self) -> Option<Moment>`.

pub mod assessment;
pub mod board;
pub mod children;
mod claims;
mod count;
pub mod drain;
pub mod drift;
pub mod exhaustion;
pub mod failure;
mod family;
#[cfg(test)]
mod fixture;
pub mod full_restart;
pub mod growth;
pub mod hang;
pub mod headroom;
pub mod histogram;
mod inferred;
mod loaded;
pub mod look;
mod mark;
pub mod memory;
pub mod netns;
mod passage;
pub mod prompt;
pub mod restart;
pub mod server;
pub mod serving;
mod status;
pub mod stop;
mod stragglers;
pub mod tally;
mod unserved;
pub mod witness;
