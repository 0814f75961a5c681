//! The state directory: what one run leaves to the next.
//!
//! - [`directory`]: the directory, its lock, and files that are whole at any moment
//! - [`document`]: `servers.json` as values and as bytes
//! - [`journal`]: what happened, a line each
//! - [`path_text`]: paths as JSON can hold them
//! - [`pid_space`]: where process numbers mean the same processes
//! - [`writer`]: the thread that writes, so that no look waits for a disk
//! - [`orders`]: what `forget` asks of a run that has the lock

pub mod directory;
pub mod document;
pub mod journal;
pub mod orders;
pub mod path_text;
pub mod pid_space;
pub mod writer;
