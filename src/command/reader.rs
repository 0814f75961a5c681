//! `gracekeeper reader`: the second process, which reads what needs a capability.

use std::{io, os::fd::AsFd, os::unix::net::UnixStream, path::PathBuf};

use anyhow::Context;

use crate::{
    exit::Exit,
    observe::{privileges, process_table::ProcessTable, reader},
};

/// Reads for the watching process, which holds the other end of standard input, until that ends.
pub fn run(procfs: Option<PathBuf>) -> anyhow::Result<Exit> {
    // It was started as /proc/self/exe, which is what ps would show.
    rustix::thread::set_name(c"gracekeeper").context("take a name")?;
    privileges::keep_reading().context("give up privileges")?;
    let table = ProcessTable::new(procfs.unwrap_or_else(|| "/proc".into()));
    let input = io::stdin().as_fd().try_clone_to_owned().context("take standard input")?;
    let stream = UnixStream::from(input);
    reader::serve(&table, stream).context("answer on standard input")?;
    Ok(Exit::Success)
}
