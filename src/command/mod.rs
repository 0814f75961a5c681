//! What an operator types: thin, over the same parts.

pub mod config;
pub mod demo;
pub mod doctor;
pub mod forget;
pub mod history;
pub mod metrics;
pub mod reader;
pub mod run;
pub mod state_dir;

use std::io::{self, Write as _};

use crate::{
    config::ConfigError,
    demo::DemoError,
    exit::Exit,
    expose::{server::BindError, web_config::WebConfigError},
    state::directory::StateError,
};

/// Tells the operator why a command failed, and chooses the exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        complain(&error.to_string());
        return if error.is_permission() { Exit::Permission } else { Exit::Usage };
    }
    if let Some(error) = error.downcast_ref::<StateError>() {
        complain(&format!("gracekeeper: {error}"));
        return exit_of(error);
    }
    let bind = error.downcast_ref::<BindError>();
    if bind.is_some() || error.is::<WebConfigError>() {
        // These two name their cause themselves.
        complain(&format!("gracekeeper: {error}"));
    } else {
        complain(&format!("gracekeeper: {error:#}"));
    }
    if error.is::<WebConfigError>() || error.downcast_ref().is_some_and(DemoError::is_usage) {
        Exit::Usage
    } else if bind.is_some_and(BindError::is_permission) {
        Exit::Permission
    } else {
        Exit::Internal
    }
}

fn exit_of(error: &StateError) -> Exit {
    match error {
        StateError::Exposed { .. } => Exit::Usage,
        StateError::Locked { .. } => Exit::Locked,
        StateError::Unusable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::Permission
        }
        StateError::Unusable { .. } => Exit::Internal,
    }
}

/// Writes text for the operator, or for the next program of a pipe.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `gracekeeper metrics | head` has all that it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a line about what is wrong; there is nobody to tell if even that fails.
pub(crate) fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
