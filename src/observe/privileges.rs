//! Privileges: the watching process keeps none, the reading process keeps two and loses the network.

use super::kernel::leave_network;
use rustix::{
    io,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

/// What reading another process's memory and links needs.
const READING: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Gives up every capability, for this process and every program that it starts.
///
/// To be called before there is a second thread: capabilities belong to threads.
pub fn keep_none() -> io::Result<()> {
    set_no_new_privs(true)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Keeps what reading needs, as far as there is any, and leaves the network.
pub fn keep_reading() -> io::Result<()> {
    set_no_new_privs(true)?;
    let held = capabilities(None)?;
    if held.effective.contains(CapabilitySet::SYS_ADMIN) {
        leave_network()?;
    }
    let kept = held.permitted & READING;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

/// A pidfd for each child: as many descriptors as the hard limit allows.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
}

/// How many descriptors may be open.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
