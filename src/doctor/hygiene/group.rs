//! Who else is in httpd's process group: prefork signals all of it.

use std::collections::BTreeMap;

use super::Subject;
use crate::{
    decode::error_log::escaped,
    doctor::{Check, Finding},
    model::{process::Pid, settings::Mpm},
};

/// What is named of many.
const MOST: usize = 5;
/// Above init there is nobody; a chain of parents is no longer.
const DEEPEST: usize = 1000;

/// A process, as far as it matters here.
struct Member {
    parent: i32,
    group: i32,
    name: String,
}

pub(super) fn finding(subject: &Subject<'_>) -> Finding {
    let parent = subject.parent.pid;
    let thing = format!("process group of {}", parent.as_raw());
    let Ok(pids) = subject.table.all() else {
        return Check::ProcessGroup.unknown(thing, "the process table cannot be read");
    };
    let all: BTreeMap<i32, Member> =
        pids.into_iter().filter_map(|pid| Some((pid.as_raw(), member(subject, pid)?))).collect();
    let Some(own) = all.get(&parent.as_raw()) else {
        return Check::ProcessGroup.unknown(thing, "its parent cannot be looked at");
    };
    let thing = format!("process group {}", own.group);
    let others: Vec<String> = all
        .iter()
        .filter(|(pid, it)| {
            // Children whose parent ended are httpd's all the same.
            it.group == own.group && it.name != own.name && !descends(**pid, parent.as_raw(), &all)
        })
        .map(|(pid, it)| format!("{} ({pid})", it.name))
        .collect();
    if others.is_empty() {
        return Check::ProcessGroup.ok(thing, "httpd has it to itself");
    }
    let mut named = others.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if others.len() > MOST {
        named = format!("{named} and {} more", others.len() - MOST);
    }
    match subject.mpm {
        Some(Mpm::Event | Mpm::Worker) => {
            Check::ProcessGroup.ok(thing, format!("shared with {named}; only prefork signals it"))
        }
        Some(Mpm::Prefork) => Check::ProcessGroup.warning(thing, cause(&named), MEND),
        None => Check::ProcessGroup.warning(
            thing,
            format!("{} (of prefork; the MPM is not known)", cause(&named)),
            MEND,
        ),
    }
}

const MEND: &str = "start httpd in a group of its own: setsid httpd -DFOREGROUND, or a unit or \
                    container of its own";

fn cause(named: &str) -> String {
    format!("shared with {named}: a stop or a hard restart signals them too")
}

fn member(subject: &Subject<'_>, pid: Pid) -> Option<Member> {
    let stat = subject.table.process(pid).ok()?.stat().ok()?;
    Some(Member { parent: stat.ppid, group: stat.pgrp, name: escaped(stat.comm.as_bytes(), 64) })
}

fn descends(pid: i32, from: i32, all: &BTreeMap<i32, Member>) -> bool {
    let mut at = pid;
    for _ in 0..DEEPEST {
        if at == from {
            return true;
        }
        match all.get(&at) {
            Some(member) if member.parent > 0 => at = member.parent,
            Some(_) | None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_started_by_httpd_descends_from_it() {
        let member = |parent| Member { parent, group: 1, name: String::new() };
        let all = BTreeMap::from([(7, member(1)), (8, member(7)), (9, member(8)), (3, member(3))]);
        assert!(descends(9, 7, &all) && descends(7, 7, &all));
        assert!(!descends(7, 9, &all) && !descends(4, 7, &all));
        assert!(!descends(3, 7, &all), "a circle has an end");
    }
}
