//! The flags of `history`.

use std::path::PathBuf;

use clap::Args;

/// What is told of the past, and how.
#[derive(Clone, Debug, Args)]
pub struct History {
    /// Reads these error logs instead of the journal; - is the standard input.
    #[arg(value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Prints one JSON object a line, oldest first.
    #[arg(long, conflicts_with = "summary")]
    json: bool,
    /// Prints a paragraph that can be pasted into a ticket.
    #[arg(long)]
    summary: bool,
    /// Reads times of logs that tell no zone, and shows times, in this zone; the default is the host's.
    #[arg(long, value_name = "NAME")]
    timezone: Option<String>,
    /// Calls the server of the logs so, httpd by default; without a LOG, tells of this server only.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

/// What the past is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Rows for people.
    Table,
    /// Lines for programs.
    Json,
    /// A paragraph.
    Summary,
}

impl History {
    /// The error logs; none means the journal.
    #[must_use]
    pub fn logs(&self) -> &[PathBuf] {
        &self.logs
    }

    /// What it is shown as.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        match self {
            Self { json: true, .. } => Shape::Json,
            Self { summary: true, .. } => Shape::Summary,
            Self { .. } => Shape::Table,
        }
    }

    /// The zone that was named.
    #[must_use]
    pub fn timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }

    /// What the server is called, if that was said.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }
}
