//! How far a parent's own words are followed: as far as its paths are paths here.
//!
//! Root of a container is uid 0 too, and may be called like httpd. What it names lies in its own
//! file system, or in a directory that it shares with this one.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    AskError, Question,
    identity::{Identity, has_own_mounts},
    trust,
};
use crate::{
    observe::{main_configuration, process_table::ProcessTable},
    trusted_path::{Distrust, trusted_file},
};

/// Where packages and administrators put httpd, and seldom anything that is shared with a container.
const OF_THE_SYSTEM: [&str; 5] = ["/etc", "/usr", "/opt", "/bin", "/sbin"];

/// What is known of where a parent lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// It has this process's own mounts, so what it names is what is here.
    pub(super) is_here: bool,
    identity: Option<Identity>,
}

/// Compares a parent's namespaces and root directory with one's own.
pub(super) fn of(
    table: &ProcessTable,
    question: &Question,
    own: u32,
) -> Result<Standing, AskError> {
    let told = question.environment.as_ref().and_then(|told| told.identity.clone());
    let told = told.map_or_else(|| Identity::of(table, question.parent), Ok);
    // Then nothing that it says is followed.
    let is_all_told = question.program.is_some() && question.arguments.is_some();
    match told {
        Ok(identity) => {
            let here = Identity::own().map_err(|error| {
                AskError::Unidentified(crate::observe::process_table::why(&error))
            })?;
            let is_here = compared(&identity, &here)
                .or_else(|error| if is_all_told { Ok(false) } else { Err(error) })?;
            Ok(Standing { is_here, identity: Some(identity) })
        }
        Err(why) if own == 0 && !is_all_told => Err(AskError::Unidentified(why)),
        // An ordinary user sees of root's processes only the mounts.
        Err(_) => {
            let is_here = has_own_mounts(table, question.parent) == Some(true);
            Ok(Standing { is_here, identity: None })
        }
    }
}

/// Whether the mounts are the same. A service manager gives many a service mounts of its own, as
/// Debian's and Red Hat's units do (`PrivateTmp`), but never another root directory.
fn compared(theirs: &Identity, here: &Identity) -> Result<bool, AskError> {
    if theirs.users != here.users {
        return Err(AskError::Elsewhere { what: "user namespace" });
    }
    if theirs.root != here.root {
        return Err(AskError::Elsewhere { what: "root directory" });
    }
    Ok(theirs.mounts == here.mounts)
}

impl Standing {
    #[cfg(test)]
    pub(super) const fn assumed(is_here: bool) -> Self {
        Self { is_here, identity: None }
    }

    /// The executable's path, as the reading process saw it.
    pub(super) fn executable(&self) -> Option<PathBuf> {
        let path = &self.identity.as_ref()?.executable_path;
        Some(OsStr::from_bytes(path).into())
    }

    /// The program is the one that the parent runs, unless an operator named it.
    pub(super) fn allows_program(
        &self,
        question: &Question,
        program: &Path,
    ) -> Result<(), AskError> {
        if question.program.is_some() {
            return Ok(());
        }
        match &self.identity {
            Some(identity) if !identity.runs(program) => Err(AskError::Impostor {
                program: program.to_owned(),
                running: String::from_utf8_lossy(&identity.executable_path).into_owned(),
            }),
            None if !self.is_here => is_of_the_system(program, program.as_os_str()),
            Some(_) | None => Ok(()),
        }
    }

    /// The arguments are an operator's, or of a parent that lives here, or lead to nothing but what
    /// belongs to this system.
    pub(super) fn allows_arguments(
        &self,
        question: &Question,
        program: &Path,
        arguments: &[OsString],
        own: u32,
    ) -> Result<(), AskError> {
        if self.is_here || question.arguments.is_some() {
            return Ok(());
        }
        let mut rest = arguments.iter();
        let mut names_configuration = false;
        while let (Some(option), Some(value)) = (rest.next(), rest.next()) {
            match option.as_bytes() {
                b"-c" | b"-C" => match directive(value) {
                    Directive::Harmless => {}
                    Directive::Include(path) => is_trusted_here(&path, value, own)?,
                    Directive::Other => return Err(refused(value)),
                },
                b"-d" => {
                    names_configuration = true;
                    is_trusted_here(Path::new(value), value, own)?;
                }
                b"-f" => names_configuration = true,
                _ => {}
            }
        }
        if !names_configuration {
            return Ok(());
        }
        let line = super::question::line(program, arguments);
        let path = main_configuration::path(&line);
        let path =
            path.ok_or_else(|| refused(line.configuration.unwrap_or_default().as_os_str()))?;
        is_trusted_here(&path, path.as_os_str(), own)
    }
}

/// What a directive of the command line may lead to.
enum Directive {
    /// Loads nothing.
    Harmless,
    /// Whatever this path includes.
    Include(PathBuf),
    /// Anything.
    Other,
}

fn directive(argument: &OsStr) -> Directive {
    let text = argument.to_str().map(str::trim_ascii).unwrap_or_default();
    let words = text.split_once(|letter: char| letter.is_ascii_whitespace());
    let Some((name, value)) = words.filter(|_| !text.contains(['\n', '$', '*', '?', '[', '\\']))
    else {
        return Directive::Other;
    };
    let is = |other| name.eq_ignore_ascii_case(other);
    if is("PidFile") {
        Directive::Harmless
    } else if is("Include") || is("IncludeOptional") {
        Directive::Include(value.trim_ascii().trim_matches('"').into())
    } else {
        Directive::Other
    }
}

fn is_trusted_here(path: &Path, argument: &OsStr, own: u32) -> Result<(), AskError> {
    match trusted_file(path, own) {
        Ok(reached) => is_of_the_system(&reached, argument),
        // A directory was checked like a file.
        Err(Distrust::NotAFile { path: reached }) if reached.is_dir() => {
            is_of_the_system(&reached, argument)
        }
        Err(distrust) => Err(AskError::Distrusted(distrust)),
    }
}

fn is_of_the_system(path: &Path, argument: &OsStr) -> Result<(), AskError> {
    let is_of_it = OF_THE_SYSTEM.iter().any(|directory| path.starts_with(directory));
    if is_of_it { Ok(()) } else { Err(refused(argument)) }
}

fn refused(argument: &OsStr) -> AskError {
    AskError::Argument { argument: argument.to_string_lossy().into_owned() }
}

/// What an earlier answer said that the configuration is made of: nobody else can change it now.
pub(super) fn includes(files: &[PathBuf], own: u32) -> Result<(), AskError> {
    files.iter().try_for_each(|file| trust::unexposed(file, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(is_here: bool, arguments: &[&str]) -> Result<(), String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let standing = Standing { is_here, identity: None };
        let program = Path::new("/usr/sbin/httpd");
        standing
            .allows_arguments(&Question::of_nobody(), program, &arguments, 0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_parent_among_other_mounts_names_only_what_is_of_the_system() {
        let load = ["-C", "LoadModule x /proc/1/root/evil.so"];
        assert_eq!(allowed(true, &load), Ok(()));
        let error = allowed(false, &load).unwrap_err();
        assert!(error.contains("with LoadModule x /proc/1/root/evil.so, which"), "{error}");
        assert_eq!(allowed(false, &["-D", "FOREGROUND", "-c", "PidFile /run/x.pid"]), Ok(()));
        assert_eq!(allowed(false, &["-C", "Include /etc//passwd"]), Ok(()));
        assert_eq!(allowed(false, &["-f", "/etc/passwd", "-d", "/etc"]), Ok(()));
        for refused in [
            ["-C", "Include /proc/1/root/x.conf"],
            ["-C", "Include /etc/*"],
            ["-C", "Include /etc/passwd\nLoadModule x y.so"],
            ["-f", "/proc/self/status"],
            ["-f", "/var/../proc/version"],
            ["-d", "/"],
        ] {
            assert!(allowed(false, &refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn another_root_or_user_namespace_is_elsewhere_and_other_mounts_are_half_here() {
        let here = Identity::own().unwrap();
        assert!(compared(&here, &here).unwrap());
        assert!(!compared(&Identity { mounts: (0, 0), ..here.clone() }, &here).unwrap());
        let error = compared(&Identity { root: (0, 0), ..here.clone() }, &here).unwrap_err();
        assert!(error.to_string().contains("another root directory"), "{error}");
        assert!(compared(&Identity { users: (0, 0), ..here.clone() }, &here).is_err());
    }

    #[test]
    fn root_asks_nobody_whose_namespaces_cannot_be_told() {
        let table = ProcessTable::new("/proc".into());
        let error = of(&table, &Question::of_nobody(), 0).unwrap_err();
        assert!(matches!(error, AskError::Unidentified(_)), "{error}");
        let standing = of(&table, &Question::of_nobody(), 1000).unwrap();
        assert_eq!(standing, Standing { is_here: false, identity: None });
        let told = Question {
            program: Some("/usr/sbin/httpd".into()),
            arguments: Some(Vec::new()),
            ..Question::of_nobody()
        };
        assert!(!of(&table, &told, 0).unwrap().is_here, "nothing of the parent's is used");
    }

    #[test]
    fn who_runs_another_program_than_it_is_called_is_an_impostor() {
        let own = Identity::own().unwrap();
        let standing = Standing { is_here: true, identity: Some(own) };
        let error =
            standing.allows_program(&Question::of_nobody(), Path::new("/bin/sh")).unwrap_err();
        assert!(error.to_string().starts_with("refused: the parent is called /bin/sh"), "{error}");
        let unseen = Standing { is_here: false, identity: None };
        unseen.allows_program(&Question::of_nobody(), Path::new("/usr/sbin/httpd")).unwrap();
        unseen.allows_program(&Question::of_nobody(), Path::new("/srv/httpd")).unwrap_err();
    }
}
