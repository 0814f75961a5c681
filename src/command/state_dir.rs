//! Where the state directory is, and whether an operator said so.

use std::path::PathBuf;

use crate::{
    config::{Settings, show::Origin},
    state::directory::{Folder, StateError},
};

const KEY: &str = "watch.state_dir";

/// The state directory of these settings.
#[must_use]
pub fn state_dir(settings: &Settings) -> PathBuf {
    settings.watch.state_dir.clone()
}

/// As root, refuses a directory that others may write if an operator chose it. The default one is
/// only not used then, which the run says.
pub fn refuse_exposed(settings: &Settings) -> Result<(), StateError> {
    let is_chosen = |key: &str, origin: &Origin| key == KEY && *origin != Origin::Default;
    if !settings.rows().iter().any(|row| is_chosen(&row.key, &row.origin)) {
        return Ok(());
    }
    match Folder::open(&state_dir(settings)) {
        Err(error @ StateError::Exposed { .. }) => Err(error),
        Ok(_) | Err(StateError::Unusable { .. } | StateError::Locked { .. }) => Ok(()),
    }
}
