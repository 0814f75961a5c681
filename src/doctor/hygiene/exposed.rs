//! Files that others could change, and so what httpd does as its own user.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::Subject;
use crate::{
    decode::command_line::command_line,
    doctor::{
        Check, Finding,
        sources::{CAPABILITY, UNIT},
        text,
    },
    observe::main_configuration,
    trusted_path::{Distrust, trusted_file},
};

/// What is named one by one; more has the same causes.
const MOST: usize = 50;
const WRITABLE_BY_GROUP_OR_ALL: u32 = 0o022;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let Ok(user) = subject.table.user(subject.parent.pid) else {
        return vec![Check::Paths.unknown("httpd", "its parent cannot be looked at")];
    };
    let (files, mut unknown) = files(subject);
    let mut exposed = BTreeSet::new();
    let mut found = Vec::new();
    for file in &files {
        match trusted_file(file, user) {
            Ok(_) => {}
            Err(Distrust::Exposed { path, mode, owner }) => {
                if exposed.insert(path.clone()) && found.len() < MOST {
                    found.push(warning(file, &path, mode, owner, user));
                }
            }
            Err(Distrust::Unseen { path, source }) => {
                let cause = text::reason(&source);
                unknown.push(Check::Paths.unknown(path.display().to_string(), cause));
            }
            Err(error @ (Distrust::NotAFile { .. } | Distrust::Nowhere { .. })) => {
                unknown.push(Check::Paths.unknown(file.display().to_string(), error.to_string()));
            }
        }
    }
    unknown.truncate(MOST);
    if found.is_empty() && unknown.is_empty() {
        let cause = format!("only {} can change them", owner_name(user));
        let thing = format!("{} files: binary, configuration, modules", files.len());
        found.push(Check::Paths.ok(thing, cause));
    }
    found.extend(unknown);
    found
}

/// What is loaded, and what of it is not known.
fn files(subject: &Subject<'_>) -> (BTreeSet<PathBuf>, Vec<Finding>) {
    let (mut files, mut unknown) = (BTreeSet::new(), Vec::new());
    let line = subject.table.command_line(subject.parent.pid).unwrap_or_default();
    let line = command_line(&line);
    let program = fs::read_link(subject.table.path(subject.parent.pid, "exe")).ok();
    match program.or_else(|| Some(line.program.clone()).filter(|path| path.is_absolute())) {
        Some(program) => drop(files.insert(program)),
        None => unknown.push(unknown_binary()),
    }
    let Ok(answer) = subject.answer else {
        files.extend(main_configuration::path(&line));
        unknown.extend(subject.unasked(Check::Paths, "included files, modules"));
        return (files, unknown);
    };
    files.extend(answer.includes.iter().cloned());
    let modules = answer.settings.as_ref().map(|settings| &settings.module_files);
    match modules.filter(|modules| !modules.is_empty()) {
        Some(modules) => files.extend(modules.iter().cloned()),
        None => unknown.push(Check::Paths.unknown("modules", "their files are not named")),
    }
    (files, unknown)
}

/// Its link needs the right to trace httpd.
fn unknown_binary() -> Finding {
    let mend = Some(format!("{UNIT}: {CAPABILITY}"));
    let cause = "its path cannot be told: its link in /proc is closed to this user";
    Finding { mend, ..Check::Paths.unknown("binary", cause) }
}

fn warning(file: &Path, path: &Path, mode: u32, owner: u32, user: u32) -> Finding {
    let thing = path.display();
    let mut cause = format!("others may write it: mode {mode:04o}, owner {owner}");
    if file != path {
        cause = format!("{cause}; {} lies behind it", file.display());
    }
    let mut mend = Vec::new();
    if owner != 0 && owner != user {
        mend.push(format!("chown -h root {}", text::quoted(path)));
    }
    if mode & WRITABLE_BY_GROUP_OR_ALL != 0 {
        mend.push(format!("chmod go-w {}", text::quoted(path)));
    }
    Check::Paths.warning(thing.to_string(), cause, mend.join(" && "))
}

fn owner_name(user: u32) -> String {
    if user == 0 { "root".to_owned() } else { format!("root and uid {user}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_binary_that_cannot_be_told_has_the_line_that_opens_it() {
        let Finding { verdict, cause, mend, .. } = unknown_binary();
        assert_eq!(verdict, Verdict::Unknown);
        assert!(cause.starts_with("its path cannot be told"), "{cause}");
        let line = "in [Service] of gracekeeper's unit: AmbientCapabilities=CAP_SYS_PTRACE";
        assert_eq!(mend.as_deref(), Some(line));
    }
}
