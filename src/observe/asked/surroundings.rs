//! The environment in which httpd is asked: its configuration may refer to every variable of it.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use super::{AskError, Question, question::PATIENCE, question::tail, standing::Standing, trust};
use crate::{
    observe::{environment, process_table::ProcessTable},
    program::{Hearing, hear},
};

/// Scripts that distributions have httpd's environment set by: Debian's and Red Hat's.
const SCRIPTS: [&str; 2] = ["/etc/apache2/envvars", "/etc/sysconfig/httpd"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As Debian's apachectl does; what the script prints is none of its variables.
const READ_SCRIPT: &str = r#"set -a; . "$1" > /dev/null; exec env -0"#;
/// With these httpd could speak to the service manager in its parent's place, or take its sockets.
const OF_THE_SERVICE_MANAGER: [&str; 6] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

pub(super) type Variables = Vec<(OsString, OsString)>;

/// The script that an operator named; else the parent's own environment; else a distribution's
/// script; else next to nothing.
pub(super) fn variables(
    table: &ProcessTable,
    question: &Question,
    standing: &Standing,
    own: u32,
    cancelled: BorrowedFd<'_>,
) -> Result<Variables, AskError> {
    if let Some(file) = &question.environment_file {
        let script = trust::script(file, own)?;
        // Named and not there is a mistake, which the shell tells of.
        return of_script(script.as_deref().unwrap_or(file), cancelled);
    }
    let told = question.environment.as_ref().and_then(|told| told.environment.clone());
    if let Some(given) = told.or_else(|| environment::of(table, question.parent).ok()) {
        let mut variables = cleared(&given);
        if !standing.is_here {
            variables.retain(|(name, _)| is_of_httpd_alone(name));
            variables.extend(minimal());
        }
        return Ok(variables);
    }
    for script in SCRIPTS {
        if let Some(file) = trust::script(Path::new(script), own)? {
            return of_script(&file, cancelled);
        }
    }
    Ok(minimal())
}

/// Where these variables have programs searched for.
pub(super) fn search_path(variables: &Variables) -> PathBuf {
    let path = variables.iter().find(|(name, _)| name == "PATH");
    path.map_or_else(|| PATH.into(), |(_, path)| path.into())
}

fn of_script(file: &Path, cancelled: BorrowedFd<'_>) -> Result<Variables, AskError> {
    let heard = hear(Hearing {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), READ_SCRIPT.into(), "sh".into(), file.into()],
        environment: minimal(),
        patience: PATIENCE,
        cancelled,
    })?;
    if !heard.status.success() {
        let (status, said) = (heard.status, tail(&heard.errors));
        return Err(AskError::Failed {
            program: file.to_owned(),
            status,
            said,
            is_wrong: false,
            included: Vec::new(),
        });
    }
    Ok(cleared(&heard.output))
}

fn cleared(assignments: &[u8]) -> Variables {
    let mut variables = environment::variables(assignments);
    variables.retain(|(name, _)| OF_THE_SERVICE_MANAGER.iter().all(|other| name != other));
    // What is left of a parent that cleared it all.
    if !variables.iter().any(|(name, _)| name.as_bytes() == b"PATH") {
        variables.push(("PATH".into(), PATH.into()));
    }
    variables
}

/// Every other variable may have a library load what it names: `OPENSSL_CONF`, `GCONV_PATH`,
/// `PHPRC`, and many more.
fn is_of_httpd_alone(name: &OsStr) -> bool {
    [&b"APACHE_"[..], b"HTTPD_"].iter().any(|prefix| name.as_bytes().starts_with(prefix))
}

fn minimal() -> Variables {
    [("PATH", PATH), ("LANG", "C")].map(|(name, value)| (name.into(), value.into())).into()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd, os::unix::fs::PermissionsExt as _};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::observe::asked::Surroundings;

    fn ask(question: &Question) -> Result<Variables, AskError> {
        let (cancelled, _cancel) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let table = ProcessTable::new("/proc".into());
        let standing = Standing::assumed(true);
        variables(&table, question, &standing, trust::own_user(), cancelled.as_fd())
    }

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables.iter().find(|(own, _)| own == name).and_then(|(_, value)| value.to_str())
    }

    fn with_script(text: &str) -> (tempfile::TempDir, Question) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env vars");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        (directory, Question { environment_file: Some(file), ..Question::of_nobody() })
    }

    #[test]
    fn a_script_sets_what_a_shell_would() {
        let (_directory, question) = with_script(
            "unset HOME\necho hello\nSUFFIX=\nexport A=/run/x$SUFFIX\nB=$A/y\nLD_PRELOAD=/x.so\n\
             NOTIFY_SOCKET=/z\n",
        );
        let variables = ask(&question).unwrap();
        assert_eq!(value(&variables, "A"), Some("/run/x"));
        assert_eq!(value(&variables, "B"), Some("/run/x/y"), "not exported, as in sysconfig");
        assert_eq!(value(&variables, "PATH"), Some(PATH));
        assert_eq!(value(&variables, "LD_PRELOAD"), None);
        assert_eq!(value(&variables, "NOTIFY_SOCKET"), None);
        assert_eq!(search_path(&variables), Path::new(PATH));
    }

    #[test]
    fn a_script_that_fails_tells_why() {
        let (_directory, question) = with_script("echo so not >&2\nexit 4\n");
        let error = ask(&question).unwrap_err().to_string();
        assert!(error.ends_with("env vars ended with exit status: 4: so not"), "{error}");
        let gone = Question { environment_file: Some("/nowhere/envvars".into()), ..question };
        let error = ask(&gone).unwrap_err().to_string();
        assert!(error.contains("/nowhere/envvars"), "{error}");
    }

    #[test]
    fn a_script_that_others_may_write_is_not_run() {
        let (directory, question) = with_script("touch \"$(dirname \"$1\")/run\"\n");
        let file = question.environment_file.clone().unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
        let error = ask(&question).unwrap_err().to_string();
        assert!(error.starts_with("refused: others may write"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    fn told(environment: Vec<u8>) -> Question {
        let told = Surroundings { environment: Some(environment), identity: None };
        Question { environment: Some(told), ..Question::of_nobody() }
    }

    #[test]
    fn of_a_parent_among_other_mounts_only_httpds_own_variables_are_taken() {
        let (cancelled, _cancel) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let table = ProcessTable::new("/proc".into());
        let question = told(b"APACHE_LOG_DIR=/l\0OPENSSL_CONF=/x\0PATH=/evil\0".to_vec());
        let standing = Standing::assumed(false);
        let read = variables(&table, &question, &standing, 0, cancelled.as_fd()).unwrap();
        assert_eq!(value(&read, "APACHE_LOG_DIR"), Some("/l"));
        assert_eq!(value(&read, "OPENSSL_CONF"), None);
        assert_eq!(search_path(&read), Path::new(PATH));
    }

    #[test]
    fn the_parents_own_environment_goes_before_a_distributions() {
        let given = b"A=1\0LD_LIBRARY_PATH=/x\0LISTEN_FDS=1\0PATH=/own\0".to_vec();
        let variables = ask(&told(given)).unwrap();
        assert_eq!(variables.len(), 2);
        assert_eq!(search_path(&variables), Path::new("/own"));
    }
}
