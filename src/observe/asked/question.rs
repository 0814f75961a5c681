//! One question: who may be asked, in which environment, and what the answer says.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::Path,
    time::Duration,
};

use super::{
    Answer, AskError, Question, Refused,
    asker::Earlier,
    build, dialog,
    file_list::file_list,
    settings::{Printed, settings},
    standing, surroundings,
    texts::Texts,
    tree, trust, validity,
};
use crate::{
    clock,
    decode::{
        base_arguments::{base_arguments, have_relative_root},
        command_line::{CommandLine, command_line},
        includes::includes,
        run_configuration::{RunConfiguration, run_configuration},
    },
    model::{files::FileList, source::Why},
    observe::process_table::ProcessTable,
    program::{Heard, Hearing, hear},
};

/// Reading a configuration takes milliseconds; the name of a host may have to be looked up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// As much of what a program says as fits a log line.
const LONGEST_TAIL: usize = 500;
const CONFIGURATION: &str = "DUMP_RUN_CFG";
const MODULES: &str = "DUMP_MODULES";
const INCLUDES: &str = "DUMP_INCLUDES";
/// An httpd that does not know it takes it for a name as any other.
const CERTIFICATES: &str = "DUMP_CERTS";

/// Asks; 10 s for each program that it takes. `earlier` is what the same parent answered.
pub(super) fn answer(
    table: &ProcessTable,
    question: &Question,
    earlier: &Earlier,
    cancelled: BorrowedFd<'_>,
) -> Result<Answer, AskError> {
    let (at, own) = (clock::now(), trust::own_user());
    trust::owner(table, question.parent, own)?;
    let told = table.command_line(question.parent.pid).map_err(AskError::Parent)?;
    if told.is_empty() {
        // It has ended, or is being started: which configuration it reads cannot be told.
        return Err(AskError::Parent(Why::Invalid));
    }
    let arguments = arguments(question, &told)?;
    let called = question.program.clone().unwrap_or_else(|| command_line(&told).program);
    trust::configuration(&line(&called, &arguments), own)?;
    let standing = standing::of(table, question, own)?;
    standing.allows_arguments(question, &called, &arguments, own)?;
    standing::includes(&earlier.includes, own)?;
    let environment = surroundings::variables(table, question, &standing, own, cancelled)?;
    let search = surroundings::search_path(&environment);
    let executable = standing.executable();
    let program = trust::program(table, question.parent, &called, executable, &search, own)?;
    standing.allows_program(question, &program)?;
    // What was read so far was the parent's only if it still is that parent.
    trust::owner(table, question.parent, own)?;
    tree::check(&line(&called, &arguments), &arguments, &environment, own)?;
    let run = |options: &[&str]| {
        let options = options.iter().map(OsString::from);
        let heard = hear(Hearing {
            path: program.clone(),
            arguments: arguments.iter().cloned().chain(options).collect(),
            environment: environment.clone(),
            patience: PATIENCE,
            cancelled,
        })?;
        checked(&program, heard)
    };
    let Told { first, again, refused } = told_by(&run)?;
    let included = includes(whole_lines(&first));
    let includes_are_cut = included.left_out > 0 || !has_all_includes(&first);
    let said = again.as_ref().unwrap_or(&first);
    let found = run_configuration(&said.output);
    if found == RunConfiguration::default() {
        return Err(AskError::Silent { program });
    }
    let texts = Texts::read(&included.files, found.root.clone());
    let mut answer = Answer {
        error_log: found.error_log,
        pid_file: found.pid_file,
        server_root: found.root,
        has_no_pipe_dialog: !includes_are_cut && dialog::has_no_pipe(&texts, &arguments),
        includes: included.files,
        includes_are_cut,
        settings: None,
        files: FileList::default(),
        build: earlier.build.clone(),
        refused,
        at,
    };
    // A parent's MPM is told last of it, and stays what it is.
    if answer.build.mpm.is_none() {
        let printed = run(&["-V"]).map(|heard| heard.output).unwrap_or_default();
        answer.build = build::told(question, &answer, &program, &printed);
    }
    let printed = Printed::of(&first, said);
    answer.settings = settings(&answer, &texts, &arguments, &environment, &printed);
    Ok(Answer { files: file_list(&answer, &program, &arguments), ..answer })
}

/// What httpd printed, and whether it would read its configuration.
struct Told {
    first: Heard,
    /// Without the includes, which come first: where there were too many, the rest was cut off.
    again: Option<Heard>,
    refused: Option<Refused>,
}

/// Whoever prints anything passes over what a configtest looks for, such as whether certificates
/// are there: that takes a run of its own.
fn told_by(run: &dyn Fn(&[&str]) -> Result<Heard, AskError>) -> Result<Told, AskError> {
    let most = ["-t", "-D", CONFIGURATION, "-D", MODULES, "-D", CERTIFICATES];
    let first = run(&[&most[..], &["-D", INCLUDES]].concat())?;
    let again = (first.output_dropped > 0).then(|| run(&most)).transpose()?;
    let refused = match run(&["-t"]) {
        Ok(_) => None,
        Err(AskError::Failed { said, is_wrong, .. }) => Some(Refused { said, is_wrong }),
        Err(error) => return Err(error),
    };
    Ok(Told { first, again, refused })
}

fn arguments(question: &Question, told: &[u8]) -> Result<Vec<OsString>, AskError> {
    let arguments = question.arguments.clone().unwrap_or_else(|| base_arguments(told));
    if have_relative_root(&arguments) {
        return Err(AskError::RelativeRoot);
    }
    Ok(arguments)
}

/// The command line that the program will be called with, for what it tells of the configuration.
pub(super) fn line(program: &Path, arguments: &[OsString]) -> CommandLine {
    let words = [program.as_os_str()].into_iter().chain(arguments.iter().map(OsString::as_os_str));
    let bytes: Vec<&[u8]> = words.map(OsStr::as_bytes).collect();
    command_line(&bytes.join(&0))
}

/// What else was asked for follows them.
fn has_all_includes(heard: &Heard) -> bool {
    let next = b"\nServerRoot: ";
    heard.output_dropped == 0 || heard.output.windows(next.len()).any(|window| window == next)
}

/// Without the line in the middle of which it was cut off: that would be another file's name.
fn whole_lines(heard: &Heard) -> &[u8] {
    let end = heard.output.iter().rposition(|byte| *byte == b'\n');
    match end {
        Some(end) if heard.output_dropped > 0 => heard.output.get(..end).unwrap_or_default(),
        Some(_) | None => &heard.output,
    }
}

fn checked(program: &Path, heard: Heard) -> Result<Heard, AskError> {
    if heard.status.success() {
        return Ok(heard);
    }
    Err(AskError::Failed {
        program: program.to_owned(),
        status: heard.status,
        said: tail(&heard.errors),
        is_wrong: validity::refusal(heard.status, &heard.errors).is_some(),
        included: includes(whole_lines(&heard)).files,
    })
}

/// The end of what a program said, on one line: causes come last.
pub(super) fn tail(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // What follows a colon belongs to it.
    let text: String = lines
        .join("; ")
        .replace(":; ", ": ")
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    let beyond = text.chars().count().saturating_sub(LONGEST_TAIL);
    text.chars().skip(beyond).collect()
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn the_end_of_what_was_said_fits_a_log_line() {
        let said = b"AH00526: Syntax error on line 7 of /x:\n\n  Invalid \x1b[31mcommand \xff\n";
        assert_eq!(
            tail(said),
            "AH00526: Syntax error on line 7 of /x: Invalid [31mcommand \u{fffd}"
        );
        assert_eq!(tail("é".repeat(600).as_bytes()), "é".repeat(500));
        assert_eq!(tail(b""), "");
    }

    #[test]
    fn a_name_that_was_cut_off_is_no_name() {
        let heard = |output_dropped| Heard {
            status: ExitStatus::default(),
            output: b"  (*) /x\n  (1) /xyz".to_vec(),
            output_dropped,
            errors: Vec::new(),
            errors_dropped: 0,
        };
        assert_eq!(whole_lines(&heard(7)), b"  (*) /x");
        assert_eq!(whole_lines(&heard(0)), heard(0).output);
    }

    #[test]
    fn includes_are_whole_where_something_follows_them() {
        let heard = |output: &str, output_dropped| Heard {
            status: ExitStatus::default(),
            output: output.into(),
            output_dropped,
            errors: Vec::new(),
            errors_dropped: 0,
        };
        assert!(!has_all_includes(&heard("  (*) /x\n  (1) /ServerRoot: ", 1)));
        assert!(has_all_includes(&heard("  (*) /x\nServerRoot: \"/\"\nSer", 1)));
        assert!(has_all_includes(&heard("  (*) /x\n", 0)));
    }

    #[test]
    fn the_configuration_of_the_given_arguments_is_the_one_that_is_looked_at() {
        let arguments = ["-f", "/srv/x.conf"].map(OsString::from);
        let line = line(Path::new("httpd"), &arguments);
        assert_eq!(line.configuration, Some("/srv/x.conf".into()));
        assert_eq!(line.program, Path::new("httpd"));
    }
}
