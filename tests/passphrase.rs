//! Restarts that hang, above all for a key's pass phrase: told to root and to an ordinary user,
//! from the process table alone.

mod late;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::harness::{
    Gracekeeper, Httpd, Mpm, configuration::Builder, eventually, keyring::Keyring,
    metrics::Metrics, program,
};

const PROMPTS: &str = "waits for a key's pass phrase";

/// A virtual host whose key is asked for with `dialog`, beside all that a restart starts anyway.
fn httpd_with(keyring: &Keyring, mpm: Mpm, dialog: &str) -> Builder {
    without_key(mpm).extra(&keyring.directives(dialog))
}

fn without_key(mpm: Mpm) -> Builder {
    Httpd::builder(mpm).with_cgid().with_piped_log().log_level("warn")
}

/// By the user of the test, and by an ordinary one.
fn watched(httpd: &Httpd, restart_timeout: &str) -> [Gracekeeper; 2] {
    let watching = || {
        let limits = format!("[limits]\nrestart_timeout = \"{restart_timeout}\"");
        Gracekeeper::watching(httpd).server("error_log = \"none\"").config(&limits)
    };
    let both = [watching().start(), watching().run_by_nobody().start()];
    all(&both, "the server is seen serving", |metrics| is(metrics, "httpd_serving", 1.0));
    both
}

fn all(both: &[Gracekeeper], what: &str, condition: impl Fn(&Metrics) -> bool) {
    for gracekeeper in both {
        gracekeeper.wait_until(what, &condition);
    }
}

fn all_say(both: &[Gracekeeper], words: &[&str]) {
    for gracekeeper in both {
        eventually("it is said", || {
            let log = gracekeeper.log();
            log.lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }
}

fn is(metrics: &Metrics, name: &str, value: f64) -> bool {
    metrics.value(name, &[]) == Some(value)
}

fn pending(metrics: &Metrics, value: f64) -> bool {
    let start = metrics.value("httpd_passphrase_prompt_start_timestamp_seconds", &[]);
    is(metrics, "httpd_passphrase_prompt_pending", value) && start.is_some() == (value > 0.0)
}

fn a_prompt_is_told_until_it_is_over(mpm: Mpm, prefix: &str, dialog: &str) {
    let keyring = Keyring::new();
    let mut httpd = httpd_with(&keyring, mpm, prefix).start();
    let both = watched(&httpd, "1s");
    for (count, hard) in [(1.0, false), (2.0, true)] {
        keyring.asks();
        if hard {
            httpd.hard();
        } else {
            httpd.graceful();
        }
        all(&both, "the prompt and the hang are seen", |metrics| {
            pending(metrics, 1.0)
                && is(metrics, "httpd_restart_in_progress", 1.0)
                && is(metrics, "httpd_restart_hung", 1.0)
        });
        all_say(&both, &[PROMPTS, &format!("dialog={dialog}")]);
        keyring.answer();
        all(&both, "httpd has resumed", |metrics| {
            pending(metrics, 0.0)
                && is(metrics, "httpd_restart_hung", 0.0)
                && metrics.total("httpd_restarts_total", &[]) == count
        });
    }
    all_say(&both, &["restart hangs", "cause=passphrase"]);
    all_say(&both, &["prompt is over", "outcome=answered"]);
    keyring.asks();
    httpd.graceful();
    all(&both, "the prompt is seen", |metrics| pending(metrics, 1.0));
    httpd.kill_parent();
    all(&both, "the end is seen", |metrics| {
        pending(metrics, 0.0)
            && metrics.value("httpd_stops_total", &[("type", "failed_restart")]) == Some(1.0)
    });
    all_say(&both, &["prompt is over", "outcome=killed"]);
    thread::scope(|scope| {
        scope.spawn(|| httpd.start_again());
        all(&both, "a start that waits is seen", |metrics| {
            pending(metrics, 1.0) && is(metrics, "httpd_up", 0.0)
        });
        keyring.answer();
    });
    all(&both, "it has started", |metrics| pending(metrics, 0.0) && is(metrics, "httpd_up", 1.0));
    for gracekeeper in &both {
        let log = gracekeeper.log();
        assert_eq!(log.matches(PROMPTS).count(), 4, "{log}");
        assert_eq!(log.matches("prompt is over").count(), 4, "{log}");
    }
}

#[test]
fn an_exec_dialog_is_told_under_event() {
    a_prompt_is_told_until_it_is_over(Mpm::Event, "exec:", "exec");
}

#[test]
fn an_exec_dialog_is_told_under_prefork() {
    a_prompt_is_told_until_it_is_over(Mpm::Prefork, "exec:", "exec");
}

#[test]
fn a_pipe_dialog_is_told() {
    a_prompt_is_told_until_it_is_over(Mpm::Event, "|", "pipe");
}

/// What was asked of httpd before tells of no such dialog.
#[test]
fn a_pipe_dialog_that_a_restart_brings_with_it_is_told() {
    let keyring = Keyring::new();
    let more = keyring.path().join("more.conf");
    fs::write(&more, "").unwrap();
    let httpd = without_key(Mpm::Event).extra(&format!("Include {}", more.display()));
    let httpd = httpd.start();
    let both = watched(&httpd, "20s");
    all(&both, "httpd was asked", |metrics| metrics.series_of("httpd_info", &[]).len() == 1);
    keyring.asks();
    fs::write(&more, keyring.directives("|")).unwrap();
    httpd.graceful();
    all(&both, "the prompt is seen", |metrics| pending(metrics, 1.0));
    all_say(&both, &[PROMPTS, "dialog=pipe"]);
    keyring.answer();
    all(&both, "httpd has resumed", |metrics| {
        pending(metrics, 0.0) && metrics.total("httpd_restarts_total", &[]) == 1.0
    });
}

/// Each starts a logger, a cgid daemon and, once, a dialog that answers by itself.
fn ordinary_restarts_under_load_are_no_prompts(mpm: Mpm) {
    let keyring = Keyring::new();
    let httpd = httpd_with(&keyring, mpm, "exec:").start();
    // One in a hundred was seen to read its configuration for three seconds, and that is no prompt.
    let both = watched(&httpd, "20s");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _: Option<u32> = httpd.generation();
            }
        });
        httpd.graceful_times(100, Duration::ZERO);
        over.store(true, Ordering::Relaxed);
    });
    all(&both, "the last restart is over", |metrics| {
        is(metrics, "httpd_restart_in_progress", 0.0)
            && metrics.total("httpd_restarts_total", &[]) >= 90.0
    });
    for gracekeeper in &both {
        assert!(pending(&gracekeeper.scrape(), 0.0));
        assert!(is(&gracekeeper.scrape(), "gracekeeper_contradictions_total", 0.0));
        let log = gracekeeper.log();
        assert!(!log.contains(PROMPTS) && !log.contains("restart hangs"), "{log}");
    }
}

#[test]
fn ordinary_restarts_of_event_under_load_are_no_prompts() {
    ordinary_restarts_under_load_are_no_prompts(Mpm::Event);
}

#[test]
fn ordinary_restarts_of_prefork_under_load_are_no_prompts() {
    ordinary_restarts_under_load_are_no_prompts(Mpm::Prefork);
}

#[test]
fn what_else_a_restart_hangs_for_is_told() {
    let keyring = Keyring::new();
    let httpd = httpd_with(&keyring, Mpm::Event, "exec:").start();
    let both = watched(&httpd, "1s");
    httpd.signal(Signal::STOP);
    stopped(httpd.pid());
    httpd.graceful();
    let looks =
        |it: &Gracekeeper| it.scrape().value("gracekeeper_look_duration_seconds_count", &[]);
    let before = both.each_ref().map(looks);
    for (gracekeeper, before) in both.iter().zip(before) {
        let metrics = gracekeeper.wait_until("it has looked", |metrics| {
            let now = metrics.value("gracekeeper_look_duration_seconds_count", &[]);
            now > before.map(|before| before + 2.0)
        });
        assert!(is(&metrics, "httpd_restart_in_progress", 0.0), "a signal that waits is none");
    }
    httpd.signal(Signal::CONT);
    all(&both, "the signal is taken", |metrics| metrics.total("httpd_restarts_total", &[]) == 1.0);
    keyring.asks();
    httpd.graceful();
    all(&both, "it has begun", |metrics| is(metrics, "httpd_restart_in_progress", 1.0));
    httpd.signal(Signal::STOP);
    all_say(&both, &["restart hangs", "cause=stopped"]);
    httpd.signal(Signal::CONT);
    keyring.answer();
    all(&both, "it is over", |metrics| metrics.total("httpd_restarts_total", &[]) == 2.0);
    // httpd waits for it, some ten seconds, before it reads its configuration; without the
    // scoreboard nothing tells that it has begun.
    let held = httpd.hold_requests(1);
    httpd.hard();
    all_say(&both[..1], &["restart hangs", "cause=children"]);
    all(&both, "it has resumed", |metrics| metrics.total("httpd_restarts_total", &[]) == 3.0);
    drop(held);
}

/// A source of randomness that takes its time asks for nothing, nor does a logger that is new.
#[test]
fn a_random_source_that_is_waited_for_beside_a_new_logger_is_no_prompt() {
    let keyring = Keyring::new();
    let place = keyring.path().display();
    let seed = format!("if [ -e {place}/ask ]; then read -r noise < {place}/answer; fi; echo x");
    for (name, script) in [("archive", "exec cat > /dev/null"), ("seed", &seed)] {
        program::write_script(&keyring.path().join(name), &format!("#!/bin/sh\n{script}\n"));
    }
    let more = keyring.path().join("more.conf");
    fs::write(&more, "").unwrap();
    let extra = format!("SSLRandomSeed startup exec:{place}/seed 9\nInclude {place}/more.conf");
    let httpd = httpd_with(&keyring, Mpm::Event, "exec:").extra(&extra).start();
    let both = watched(&httpd, "1s");
    keyring.waits();
    fs::write(&more, format!("CustomLog \"|{place}/archive\" %h\n")).unwrap();
    httpd.graceful();
    all_say(&both, &["restart hangs", "cause=configuration"]);
    keyring.answer();
    all(&both, "it is over", |metrics| {
        is(metrics, "httpd_restart_in_progress", 0.0)
            && metrics.total("httpd_restarts_total", &[]) == 1.0
    });
    for gracekeeper in &both {
        let log = gracekeeper.log();
        assert!(!log.contains(PROMPTS), "{log}");
    }
}

fn stopped(pid: u32) {
    eventually("the parent is stopped", || {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
        stat.unwrap().contains(") T ")
    });
}
