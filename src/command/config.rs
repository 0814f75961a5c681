//! `gracekeeper config`: what is configured, and whether that can be.

use std::path::PathBuf;

use crate::{
    cli::{Form, Log},
    config::{DEFAULT_FILE, Flags, Settings, show},
    exit::Exit,
};

use super::{complain, print};

/// Checks a configuration file: one line that it is right, or each error with file, line and key.
pub fn check(mut flags: Flags, file: Option<PathBuf>) -> anyhow::Result<Exit> {
    if let Some(file) = file {
        flags.config_file = Some(file);
    }
    let settings = Settings::load(flags)?;
    for row in settings.rows().iter().filter(|row| row.is_set_in_vain()) {
        complain(&format!("{}: {}: has no effect in this version", row.origin, row.key));
    }
    match &settings.config_file {
        Some(file) => print(&format!("{}: ok\n", file.display()))?,
        None => print(&format!("{DEFAULT_FILE}: absent, the defaults apply\n"))?,
    }
    Ok(Exit::Success)
}

/// Prints every effective setting with its origin.
pub fn show(flags: Flags, log: &Log, form: Form) -> anyhow::Result<Exit> {
    let settings = Settings::load(flags)?;
    let mut rows = settings.rows().to_vec();
    rows.extend(log.rows());
    match form {
        Form::Json => print(&show::json(&rows)?)?,
        Form::Table | Form::Markdown => print(&show::table(&rows))?,
    }
    Ok(Exit::Success)
}
