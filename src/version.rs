//! What this program is and what it was built from.

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from; empty where the build could not tell.
pub const REVISION: &str = env!("GRACEKEEPER_REVISION");

/// The compiler's release; empty where the build could not tell.
pub const RUSTC: &str = env!("GRACEKEEPER_RUSTC");

/// What `--version` says after the program's name: the release and, in brackets, what is known of
/// the rest.
pub const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), env!("GRACEKEEPER_ORIGIN"));
