//! gracekeeper's own process, for the standard `process_*` metrics.

use procfs::{WithCurrentSystemInfo, process::Process};

use super::process_table::proc_why;
use crate::model::{process::OwnProcess, source::Why};

/// Reads this process.
#[expect(clippy::cast_precision_loss, reason = "ticks and seconds of one process' life")]
pub fn own_process() -> Result<OwnProcess, Why> {
    let process = Process::myself().map_err(|error| proc_why(&error))?;
    let stat = process.stat().map_err(|error| proc_why(&error))?;
    let limits = process.limits().map_err(|error| proc_why(&error))?;
    let ticks = procfs::ticks_per_second().max(1) as f64;
    let boot = procfs::boot_time_secs().map_err(|error| proc_why(&error))?;
    Ok(OwnProcess {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        open_fds: u64::try_from(process.fd_count().map_err(|error| proc_why(&error))?).unwrap_or(0),
        max_fds: match limits.max_open_files.soft_limit {
            procfs::process::LimitValue::Value(limit) => Some(limit),
            procfs::process::LimitValue::Unlimited => None,
        },
        virtual_bytes: stat.vsize,
        resident_bytes: stat.rss_bytes().get(),
        start_seconds: boot as f64 + stat.starttime as f64 / ticks,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
    })
}
