//! What httpd says of its configuration, for who examines what is around it.

use std::{path::PathBuf, sync::Arc};

use super::settings::ServerSettings;

/// What one httpd told, or in words why it did not.
pub type Said = Result<Arc<Told>, Arc<str>>;

/// What one httpd told when it was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The file of the main server's error log, where it goes to a file.
    pub error_log: Option<PathBuf>,
    /// Every file that its configuration is made of, the main one first.
    pub includes: Vec<PathBuf>,
    /// What the configuration says of children, listeners and logs; `None` if not all of it could
    /// be read.
    pub settings: Option<ServerSettings>,
}
