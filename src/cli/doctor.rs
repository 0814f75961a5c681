//! The flags of `doctor`.

use clap::Args;

use super::Form;

/// What is looked at, and how it is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct Doctor {
    /// Looks also for what on this host would restart httpd hard: units, logrotate, cron, hooks.
    #[arg(long)]
    callers: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Whether callers are looked for.
    #[must_use]
    pub const fn with_callers(self) -> bool {
        self.callers
    }

    /// The form that the flag asks for.
    #[must_use]
    pub const fn form(self) -> Form {
        if self.json { Form::Json } else { Form::Table }
    }
}
