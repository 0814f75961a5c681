//! Directives whose value is a number, and the last of which counts.

use std::collections::BTreeSet;

use crate::model::settings::{Mpm, ServerSettings};

/// Where the number of this directive belongs; `None` of all others.
pub(super) fn place<'settings>(
    directive: &[u8],
    settings: &'settings mut ServerSettings,
) -> Option<&'settings mut Option<u32>> {
    Some(match directive {
        b"startservers" => &mut settings.start_servers,
        b"minsparethreads" | b"minspareservers" => &mut settings.min_spare,
        b"maxsparethreads" | b"maxspareservers" => &mut settings.max_spare,
        b"threadsperchild" => &mut settings.threads_per_child,
        b"maxrequestworkers" | b"maxclients" => &mut settings.max_request_workers,
        b"serverlimit" => &mut settings.server_limit,
        b"threadlimit" => &mut settings.thread_limit,
        b"gracefulshutdowntimeout" => &mut settings.graceful_shutdown_timeout,
        b"listenbacklog" => &mut settings.listen_backlog,
        _ => return None,
    })
}

/// `atoi`: what begins with no number is 0, and less than none is none.
pub(super) fn integer(text: &[u8]) -> u32 {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

pub(super) fn mpm(modules: &BTreeSet<Vec<u8>>) -> Option<Mpm> {
    let known: [(&[u8], Mpm); 3] = [
        (b"mpm_event_module", Mpm::Event),
        (b"mpm_worker_module", Mpm::Worker),
        (b"mpm_prefork_module", Mpm::Prefork),
    ];
    known.into_iter().find(|(name, _)| modules.contains(*name)).map(|(_, mpm)| mpm)
}
