//! What `mod_status` says: the generations by httpd's own account, while a worker is free to answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::http;

const TIMEOUT: Duration = Duration::from_secs(2);

/// `ParentServerMPMGeneration`; none while no worker is free or nobody listens.
pub(super) fn generation(httpd: SocketAddr) -> Option<u32> {
    number(
        &http::get(httpd, "/server-status?auto", TIMEOUT).ok()?.body,
        "ParentServerMPMGeneration",
    )
}

/// How many workers have started; none while no worker is free or nobody listens.
pub(super) fn workers(httpd: SocketAddr) -> Option<u32> {
    let page = http::get(httpd, "/server-status?auto", TIMEOUT).ok()?.body;
    Some(number(&page, "BusyWorkers")? + number(&page, "IdleWorkers")?)
}

fn number(page: &str, field: &str) -> Option<u32> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(": ")?.trim().parse().ok())
}

/// The generation of each child by pid, from the column `Srv` (`slot-generation`) of the page.
pub(super) fn generations_of_children(httpd: SocketAddr) -> Option<BTreeMap<u32, u32>> {
    let response = http::get(httpd, "/server-status", TIMEOUT).ok()?;
    Some(workers_in(&response.body))
}

fn workers_in(page: &str) -> BTreeMap<u32, u32> {
    let rows = page.split("<tr><td><b>").skip(1);
    rows.filter_map(|row| {
        let (worker, rest) = row.split_once("</b></td><td>")?;
        let (_slot, generation) = worker.split_once('-')?;
        // A dead slot has a hyphen in place of the pid.
        let (pid, _) = rest.split_once("</td>")?;
        Some((pid.parse().ok()?, generation.parse().ok()?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_and_generations_are_read_from_the_page() {
        let page = "<table><tr><th>Srv</th></tr>\n\
                    <tr><td><b>0-1</b></td><td>4711</td><td>0/1/2</td></tr>\n\
                    <tr><td><b>1-0</b></td><td>-</td><td>0/0/9</td></tr></table>";
        assert_eq!(workers_in(page), BTreeMap::from([(4711, 1)]));
    }
}
