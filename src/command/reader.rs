//! `gracekeeper reader`: the second process, which reads what needs a capability.

use std::{io, os::fd::AsFd, os::unix::net::UnixStream, path::PathBuf, thread};

use anyhow::Context;

use crate::{
    exit::Exit,
    observe::{error_log::service, privileges, process_table::ProcessTable, reader},
};

/// Reads for the watching process until that ends: it holds the other end of standard input, over
/// which it asks for scoreboards, and of standard output, over which it asks for error logs.
pub fn run(procfs: Option<PathBuf>) -> anyhow::Result<Exit> {
    // It was started as /proc/self/exe, which is what ps would show.
    rustix::thread::set_name(c"gracekeeper").context("take a name")?;
    privileges::keep_reading().context("give up privileges")?;
    let table = ProcessTable::new(procfs.unwrap_or_else(|| "/proc".into()));
    let input = io::stdin().as_fd().try_clone_to_owned().context("take standard input")?;
    let logs = io::stdout().as_fd().try_clone_to_owned().context("take standard output")?;
    let logs_table = table.clone();
    // A flood in a log must not delay a scoreboard. The thread ends with this process at the latest.
    let follow = move || service::serve(&logs_table, logs);
    thread::Builder::new().name("logs".to_owned()).spawn(follow).context("start a thread")?;
    let stream = UnixStream::from(input);
    reader::serve(&table, stream).context("answer on standard input")?;
    Ok(Exit::Success)
}
