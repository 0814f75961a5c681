//! A prompt that was there before gracekeeper was.

use super::{PROMPTS, httpd_with, is, pending};
use crate::harness::{Gracekeeper, Mpm, eventually, keyring::Keyring, process::children_of};

/// The old children of event live on while httpd asks, if they have a request.
#[test]
fn an_ordinary_user_who_comes_during_a_prompt_is_told_of_it() {
    let keyring = Keyring::new();
    let httpd = httpd_with(&keyring, Mpm::Event, "exec:").start();
    let held = httpd.hold_requests(1);
    keyring.asks();
    httpd.graceful();
    let asks = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"localhost:443\0RSA\0")
    };
    eventually("httpd asks", || children_of(httpd.pid()).iter().any(asks));
    let gracekeeper =
        Gracekeeper::watching(&httpd).server("error_log = \"none\"").run_by_nobody().start();
    gracekeeper.wait_until("the prompt is seen", |metrics| {
        pending(metrics, 1.0) && is(metrics, "httpd_restart_in_progress", 1.0)
    });
    keyring.answer();
    let metrics = gracekeeper.wait_until("httpd has resumed", |metrics| {
        pending(metrics, 0.0)
            && is(metrics, "httpd_serving", 1.0)
            && metrics.total("httpd_restarts_total", &[]) == 1.0
    });
    for never in ["httpd_restart_duration_seconds_count", "httpd_restart_unserved_seconds_count"] {
        assert_eq!(metrics.total(never, &[]), 0.0, "nobody saw it begin");
    }
    assert_eq!(gracekeeper.log().matches(PROMPTS).count(), 1);
    drop(held);
}
