//! httpd's error log: followed by the reading process, asked for by the watching one.
//!
//! - [`place`]: which file it is, and how it is opened without harm
//! - [`followed`]: one file, read on from where it was left
//! - [`follower`]: the files of one server, in the order in which httpd wrote them
//! - [`report`]: what is counted of them
//! - [`stirrings`]: what the kernel tells of these files
//! - [`message`]: what the two processes say to each other
//! - [`service`]: the reading side
//! - [`client`]: the watching side

pub mod client;
pub mod followed;
pub mod follower;
pub mod message;
pub mod place;
pub mod report;
pub mod service;
pub mod stirrings;

use crate::model::time::Moment;

/// Between which two moments some bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// They were not there yet.
    pub after: Moment,
    /// They were there.
    pub before: Moment,
}

/// What followed bytes are handed to.
pub trait Sink {
    /// What is remembered of each file: its unfinished line.
    type Lines: Default;

    /// Takes the next bytes of a file.
    fn feed(&mut self, lines: &mut Self::Lines, bytes: &[u8], span: Span);

    /// Takes the unfinished line of a file, if there is one, as whole: nothing will finish it.
    fn cut(&mut self, lines: &mut Self::Lines, before: Moment);

    /// Counts bytes that nobody will look at.
    fn skipped(&mut self, bytes: u64);
}
