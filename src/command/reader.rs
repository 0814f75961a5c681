//! `gracekeeper reader`: the second process, which reads what needs a capability.

use anyhow::bail;

use crate::exit::Exit;

/// Reads for the watching process until that ends.
pub fn run() -> anyhow::Result<Exit> {
    bail!("not built into this binary")
}
