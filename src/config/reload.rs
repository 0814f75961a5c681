//! `[reload]` and what is under it: nothing that this version follows, all of it checked.

use std::time::Duration;

use super::{
    error::Cause,
    typed::Section,
    url::Url,
    value::{
        Fault, Typed, WordOr, absolute_path, boolean, duration_between, expression, fault, list_of,
        number_between, one_of, optional, text, time_window, url, word_or,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads every key of `[reload]`.
pub(super) fn read(mut section: Section<'_, '_>) {
    let zero = Duration::ZERO;
    section.setting("mode", reload_mode, "off");
    section.planned("via", one_of(&["signal", "unit"]), "signal");
    let triggers = list_of(one_of(&["certificate", "config"]));
    section.planned("triggers", triggers, vec!["certificate"]);
    section.planned("settle", duration_between(zero..=24 * HOUR), MINUTE);
    section.planned("min_interval", duration_between(zero..=WEEK), 5 * MINUTE);
    section.planned("max_per_hour", number_between(1..=3600), 6);
    section.planned("windows", list_of(time_window), Vec::new());
    section.planned("urgent_before", duration_between(zero..=YEAR), 72 * HOUR);
    section.planned("rehearse", one_of(&["auto", "require", "off"]), "auto");
    section.planned("max_generations", number_between(1..=100), 4);
    let resources: &[&str] = &["memory", "fds", "slots", "semaphores", "pids"];
    let headroom = list_of(one_of(&["memory", "fds", "slots", "semaphores", "shm", "pids"]));
    section.planned("headroom", headroom, resources.to_vec());
    gate(section.section("gate"));
    lock(section.section("lock"));
    verify(section.section("verify"));
    drain(section.section("drain"));
    section.finish();
}

/// Not to act while told to act would be a lie, so this is no mere warning.
fn reload_mode(typed: &Typed<'_>) -> Result<&'static str, Fault> {
    match one_of(&["off", "advise", "act"])(typed)? {
        "off" => Ok("off"),
        other => Err(fault(typed, Cause::OnlyWatches(other))),
    }
}

fn gate(mut section: Section<'_, '_>) {
    section.planned("url", optional(url), None);
    section.planned("expr", optional(expression), None);
    section.planned("ca_file", optional(absolute_path), None);
    credentials(&mut section);
    section.planned("bearer_token_file", optional(absolute_path), None);
    needs(&mut section, &["url", "expr"]);
    if section.has("bearer_token_file") && section.has("username") {
        section.complain_about("bearer_token_file", Cause::Excludes("username"));
    }
    section.finish();
}

fn lock(mut section: Section<'_, '_>) {
    section.planned("backend", optional(one_of(&["etcd"])), None);
    let endpoints = section.planned("endpoints", list_of(url), Vec::new());
    section.planned("ca_file", optional(absolute_path), None);
    section.planned("cert_file", optional(absolute_path), None);
    section.planned("key_file", optional(absolute_path), None);
    credentials(&mut section);
    let insecure = section.planned("insecure", boolean, false);
    section.planned("group", optional(text), None);
    section.planned("slots", number_between(1..=1000), 1);
    section.planned("ttl", duration_between(Duration::from_secs(5)..=HOUR), MINUTE);
    section.planned("release_delay", duration_between(Duration::ZERO..=HOUR), MINUTE / 2);
    needs(&mut section, &["endpoints", "group"]);
    together(&mut section, "cert_file", "key_file");
    if !insecure && endpoints.iter().any(Url::is_exposed) {
        let cause = Cause::Needs("insecure = true for plain http to another host");
        section.complain_about("endpoints", cause);
    }
    section.finish();
}

fn verify(mut section: Section<'_, '_>) {
    let second = Duration::from_secs(1);
    section.planned("timeout", duration_between(second..=HOUR), MINUTE / 2);
    section.planned("survive", duration_between(Duration::ZERO..=HOUR), 15 * second);
    section.planned("probe", optional(url), None);
    section.finish();
}

fn drain(mut section: Section<'_, '_>) {
    let after = word_or(&["off"], duration_between(Duration::from_secs(1)..=WEEK));
    section.planned("terminate_after", after, WordOr::Word("off"));
    section.planned("signal", one_of(&["SIGTERM", "SIGKILL"]), "SIGTERM");
    section.finish();
}

fn credentials(section: &mut Section<'_, '_>) {
    section.planned("username", optional(text), None);
    section.planned("password_file", optional(absolute_path), None);
    together(section, "username", "password_file");
}

/// A section that somebody wrote is of no use without these.
fn needs(section: &mut Section<'_, '_>, keys: &[&'static str]) {
    for key in keys {
        if section.is_there() && !section.has(key) {
            section.complain(Cause::Needs(key));
        }
    }
}

/// Two keys of which neither is of use without the other.
fn together(section: &mut Section<'_, '_>, one: &'static str, other: &'static str) {
    for (key, needed) in [(one, other), (other, one)] {
        if section.has(key) && !section.has(needed) {
            section.complain_about(key, Cause::Needs(needed));
        }
    }
}
