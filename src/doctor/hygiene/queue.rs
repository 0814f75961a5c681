//! `ListenBacklog` against what the kernel grants.

use std::fs;

use super::Subject;
use crate::doctor::{Check, Finding};

/// `DEFAULT_LISTENBACKLOG`, httpd's own.
const DEFAULT: u32 = 511;

pub(super) fn finding(subject: &Subject<'_>) -> Finding {
    let settings = subject.answer.ok().and_then(|answer| answer.settings.as_ref());
    let told = settings.and_then(|settings| settings.listen_backlog);
    let wanted = told.unwrap_or(DEFAULT);
    let thing = match (told, settings) {
        (Some(_), _) => format!("ListenBacklog {wanted}"),
        (None, Some(_)) => format!("ListenBacklog (default {wanted})"),
        (None, None) => format!("ListenBacklog (not told, default {wanted})"),
    };
    let file = subject.procfs.join("sys/net/core/somaxconn");
    let granted = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    match granted {
        None => Check::ListenBacklog.unknown(thing, "net.core.somaxconn cannot be read"),
        Some(granted) if granted >= wanted => {
            Check::ListenBacklog.ok(thing, format!("net.core.somaxconn is {granted}"))
        }
        Some(granted) => Check::ListenBacklog.warning(
            thing,
            format!("net.core.somaxconn is {granted}: no more connections than that may wait"),
            format!(
                "echo 'net.core.somaxconn = {wanted}' > /etc/sysctl.d/60-httpd.conf && sysctl \
                 --system, and stop and start httpd"
            ),
        ),
    }
}
