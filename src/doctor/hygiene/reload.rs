//! Whether the unit's reload is really a graceful restart.

use std::ffi::OsString;

use super::Subject;
use crate::{
    decode::{base_arguments::base_arguments, callers::Verdict, command_line::command_line},
    doctor::{
        Check, Finding,
        callers::drop_in,
        units::{Reload, Units},
    },
};

pub(super) fn finding(subject: &Subject<'_>) -> Finding {
    let Some(unit) = subject.unit else {
        return Check::ExecReload.unknown("ExecReload", "httpd runs in no unit of the system's");
    };
    let thing = format!("ExecReload of {unit}.service");
    let Some(Reload { commands, verdict }) = Units::new(subject.root).reload(unit) else {
        return Check::ExecReload.unknown(thing, "no file of the unit can be read");
    };
    let said = commands.join("; ");
    let mend = || drop_in(unit, graceful(subject).as_deref());
    let warning = |does: &str| Check::ExecReload.warning(thing.as_str(), does, mend());
    match verdict {
        Some(Verdict::Graceful) => Check::ExecReload.ok(thing, said),
        Some(Verdict::Hard) => warning(&format!("{said}: a hard restart, which cuts requests off")),
        Some(Verdict::Full) => warning(&format!("{said}: a stop and a start")),
        Some(Verdict::Stop) => warning(&format!("{said}: stops httpd")),
        None if commands.is_empty() => {
            warning("it has none: systemctl reload is refused, reload-or-restart restarts")
        }
        None => Check::ExecReload.unknown(thing, format!("{said}: what it does is not known")),
    }
}

/// The graceful restart by httpd's own program, which checks the configuration first; `None` where
/// the host's control script does it.
fn graceful(subject: &Subject<'_>) -> Option<String> {
    let line = subject.table.command_line(subject.parent.pid).ok()?;
    let arguments: Vec<OsString> = base_arguments(&line);
    let is_plain = arguments.is_empty() && subject.below("/usr/sbin/apachectl").exists();
    let program = command_line(&line).program;
    if is_plain || !program.is_absolute() {
        return None;
    }
    let words = [program.into_os_string()].into_iter().chain(arguments);
    let words: Option<Vec<String>> = words.map(|word| word.into_string().ok()).collect();
    let command = format!("{} -k graceful", words?.join(" "));
    // It goes through a shell, printf and a unit: what means something to one of them is not offered.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@= ".contains(letter);
    command.chars().all(is_plain).then_some(command)
}
