//! `gracekeeper run`: watches, and serves what it saw.

use anyhow::bail;

use crate::{config::Settings, exit::Exit};

/// Watches until it is told to end.
pub fn run(settings: Settings) -> anyhow::Result<Exit> {
    for key in &settings.without_effect {
        tracing::warn!(key, "setting has no effect in this version");
    }
    drop(settings);
    bail!("not built into this binary")
}
