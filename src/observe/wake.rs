//! How another thread gets the watch's attention: a byte into the pipe that it waits at.

use std::{io, os::fd::OwnedFd};

/// The writing end of the watch's ear.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// Takes the writing end of a pipe that does not block.
    #[must_use]
    pub const fn new(pipe: OwnedFd) -> Self {
        Self(pipe)
    }

    /// Another one for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Wakes the watch. A full pipe has woken it already, and one that is gone needs no waking.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.0, &[1]);
    }
}
