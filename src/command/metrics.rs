//! `gracekeeper metrics`: the catalogue of metrics.

use anyhow::bail;

use crate::{cli::Form, exit::Exit};

/// Prints the catalogue.
pub fn run(form: Form) -> anyhow::Result<Exit> {
    let _ = form;
    bail!("not built into this binary")
}
