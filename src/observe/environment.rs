//! The environment that a process was started with: httpd's configuration may refer to it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
};

use super::process_table::{ProcessTable, why};
use crate::model::{process::ProcessId, source::Why};

/// The longest environment that is read, in bytes: many times what a service manager gives.
pub const LONGEST: u64 = 128 << 10;

/// Reads `/proc/PID/environ`: assignments that end in NUL. `Permission` where the process is not
/// one's own, `Limit` beyond [`LONGEST`].
pub fn of(table: &ProcessTable, process: ProcessId) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    let file = File::open(table.path(process.pid, "environ")).map_err(|error| why(&error))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    // The number may have changed hands meanwhile.
    if table.row(process.pid)?.id != process {
        return Err(Why::Missing);
    }
    if bytes.len() as u64 > LONGEST {
        return Err(Why::Limit);
    }
    Ok(bytes)
}

/// The variables of an environment, without those that change how any program is loaded: `LD_*`.
#[must_use]
pub fn variables(environment: &[u8]) -> Vec<(OsString, OsString)> {
    let assignments = environment.split(|byte| *byte == 0);
    let variables = assignments.filter_map(|assignment| {
        let end = assignment.iter().position(|byte| *byte == b'=')?;
        let (name, value) = assignment.split_at_checked(end)?;
        let value = value.strip_prefix(b"=")?;
        let is_kept = !name.is_empty() && !name.starts_with(b"LD_");
        is_kept.then(|| (OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
    });
    variables.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    #[test]
    fn variables_are_told_apart_and_those_of_the_loader_left_out() {
        let read = variables(b"A=1\0B=x=y\0C=\0=z\0nothing\0LD_PRELOAD=/x.so\0LD_=\0D=\xff\n\0");
        let read: Vec<(&[u8], &[u8])> =
            read.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"A", b"1"), (b"B", b"x=y"), (b"C", b""), (b"D", b"\xff\n")];
        assert_eq!(read, expected);
        assert!(variables(b"").is_empty());
    }

    #[test]
    fn the_environment_of_this_process_is_read_and_nobody_elses_in_its_place() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let id = table.row(own).unwrap().id;
        let read = variables(&of(&table, id).unwrap());
        assert!(read.iter().any(|(name, _)| name == "PATH"));
        let earlier = ProcessId { started: Uptime::from_micros(1), ..id };
        assert_eq!(of(&table, earlier), Err(Why::Missing));
    }
}
