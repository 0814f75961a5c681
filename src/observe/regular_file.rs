//! Files whose path somebody else may have chosen: opened without waiting, read up to a limit.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
};

use rustix::fs::{Mode, OFlags, open};

/// The file's first bytes, at most `limit` of them; `None` if it is a directory, a FIFO, a socket
/// or a device.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    // Without NONBLOCK the opening of a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(Some((content, metadata)))
}
