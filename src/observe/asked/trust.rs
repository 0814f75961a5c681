//! Which programs gracekeeper runs in order to ask, and in whose name.
//!
//! Anybody may start a process that looks like httpd's parent and is discovered as one. Its command
//! line then names a program, or a configuration with modules, of his own. So the parent must be
//! root's or gracekeeper's own, and nobody else may be able to change what it names.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::{AskError, identity::undeleted};
use crate::{
    decode::command_line::CommandLine,
    model::process::ProcessId,
    observe::{
        main_configuration,
        process_table::{ProcessTable, proc_why},
    },
    trusted_path::{Distrust, trusted_file},
};

/// gracekeeper's own effective uid, whose programs it may run besides root's.
pub(super) fn own_user() -> u32 {
    geteuid().as_raw()
}

/// The parent is the one that is meant, and root's or one's own in every respect.
pub(super) fn owner(table: &ProcessTable, parent: ProcessId, own: u32) -> Result<(), AskError> {
    let status = table.process(parent.pid).map_err(AskError::Parent)?.status();
    let status = status.map_err(|error| AskError::Parent(proc_why(&error)))?;
    let row = table.row(parent.pid).map_err(AskError::Parent)?;
    if row.id != parent {
        return Err(AskError::Parent(crate::model::source::Why::Missing));
    }
    // The real uid tells a set-uid program that a user started, the saved one a program that could
    // become another's again.
    stranger(&[status.ruid, status.euid, status.suid], own)
        .map_or(Ok(()), |owner| Err(AskError::Stranger { owner, own }))
}

fn stranger(uids: &[u32], own: u32) -> Option<u32> {
    uids.iter().copied().find(|uid| *uid != 0 && *uid != own)
}

/// The file of the parent's program, as it was called, else as the kernel tells, else as a shell
/// would have found it; nobody but root and `own` can change it.
pub(super) fn program(
    table: &ProcessTable,
    parent: ProcessId,
    called: &Path,
    executable: Option<PathBuf>,
    search: &Path,
    own: u32,
) -> Result<PathBuf, AskError> {
    if called.is_absolute() {
        return trusted_file(called, own).map_err(AskError::Distrusted);
    }
    let told = executable.map_or_else(|| fs::read_link(table.path(parent.pid, "exe")), Ok);
    let file = match told {
        Ok(file) => undeleted(&file).unwrap_or(file),
        // A process that holds no capability cannot tell root's: httpd's own image calls it `httpd`.
        Err(source) => found(called, Some(search))
            .ok_or(AskError::Program { program: called.to_owned(), source })?,
    };
    trusted_file(&file, own).map_err(AskError::Distrusted)
}

fn found(name: &Path, search: Option<&Path>) -> Option<PathBuf> {
    let is_name = name.components().count() == 1 && !name.as_os_str().is_empty();
    let search = search.filter(|_| is_name)?;
    env::split_paths(search)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The main configuration may load any module: nobody but root and `own` can change it, as far as
/// it can be told which it is. One that cannot be looked at, httpd will say so of.
pub(super) fn configuration(line: &CommandLine, own: u32) -> Result<(), AskError> {
    let Some(path) = main_configuration::path(line) else { return Ok(()) };
    unexposed(&path, own)
}

/// Nobody but root and `own` can change a file, as far as it can be looked at.
pub(super) fn unexposed(path: &Path, own: u32) -> Result<(), AskError> {
    match trusted_file(path, own) {
        Err(distrust @ Distrust::Exposed { .. }) => Err(AskError::Distrusted(distrust)),
        Ok(_)
        | Err(Distrust::Unseen { .. } | Distrust::NotAFile { .. } | Distrust::Nowhere { .. }) => {
            Ok(())
        }
    }
}

/// A script that sets an environment; `None` if there is none.
pub(super) fn script(path: &Path, own: u32) -> Result<Option<PathBuf>, AskError> {
    match trusted_file(path, own) {
        Ok(file) => Ok(Some(file)),
        Err(Distrust::Unseen { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(distrust) => Err(AskError::Distrusted(distrust)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{
            fs::{PermissionsExt as _, symlink},
            process::CommandExt as _,
        },
        process::{Command, Stdio},
    };

    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    fn this_process() -> (ProcessTable, ProcessId) {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let id = table.row(own).unwrap().id;
        (table, id)
    }

    #[test]
    fn only_roots_and_ones_own_parents_are_believed() {
        assert_eq!(stranger(&[0, 0, 0], 0), None);
        assert_eq!(stranger(&[0, 0, 0], 1000), None);
        assert_eq!(stranger(&[1000, 1000, 1000], 1000), None);
        assert_eq!(stranger(&[1000, 1000, 1000], 0), Some(1000), "root runs nobody else's");
        assert_eq!(stranger(&[1000, 0, 0], 0), Some(1000), "set-uid");
        assert_eq!(stranger(&[0, 0, 1000], 0), Some(1000));
        assert_eq!(stranger(&[0, 33, 0], 1000), Some(33));
    }

    #[test]
    fn a_parent_whose_number_changed_hands_is_gone() {
        let (table, id) = this_process();
        owner(&table, id, own_user()).unwrap();
        let other = ProcessId { started: Uptime::from_micros(1), ..id };
        let error = owner(&table, other, own_user()).unwrap_err();
        assert_eq!(error.to_string(), "look at the parent: missing");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "somebody else's process, to be refused")]
    fn a_parent_of_somebody_else_is_refused() {
        let (table, _) = this_process();
        // Root starts somebody else's; whoever is not root is somebody else to root.
        let mut other = None;
        let pid = if own_user() == 0 {
            let child = Command::new("/bin/cat").uid(4711).stdin(Stdio::piped()).spawn().unwrap();
            other.insert(child).id()
        } else {
            std::process::id()
        };
        let pid = Pid::new(i32::try_from(pid).unwrap()).unwrap();
        let id = table.row(pid).unwrap().id;
        let owned_by = if own_user() == 0 { 4711 } else { own_user() };
        let error = owner(&table, id, 0).unwrap_err();
        let expected = format!("refused: the parent belongs to uid {owned_by}");
        assert!(error.to_string().starts_with(&expected), "{error}");
        if let Some(mut other) = other {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }

    #[test]
    fn the_program_is_the_called_one_or_that_of_the_kernel() {
        let (table, id) = this_process();
        let own = own_user();
        let shell = program(&table, id, Path::new("/bin/sh"), None, Path::new(""), own).unwrap();
        assert_eq!(shell, Path::new("/bin/sh").canonicalize().unwrap());
        let exe = env::current_exe().unwrap();
        match program(&table, id, Path::new("httpd"), None, Path::new(""), own) {
            Ok(found) => assert_eq!(found, exe.canonicalize().unwrap()),
            Err(error) => assert!(error.to_string().starts_with("refused: others may"), "{error}"),
        }
        let replaced = Some(PathBuf::from("/bin/sh (deleted)"));
        let found = program(&table, id, Path::new("httpd"), replaced, Path::new(""), own).unwrap();
        assert_eq!(found, shell);
    }

    #[test]
    fn a_bare_name_is_searched_for_as_a_shell_does() {
        let search = Some(Path::new("nothing:/nowhere:/usr/bin:/bin"));
        let env = found(Path::new("env"), search).unwrap();
        assert!(env.is_absolute() && env.ends_with("env"));
        assert_eq!(found(Path::new("./env"), search), None);
        assert_eq!(found(Path::new(""), search), None);
        assert_eq!(found(Path::new("env"), None), None);
    }

    #[test]
    fn a_program_that_others_may_write_is_refused() {
        let (table, id) = this_process();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("httpd");
        fs::write(&file, "").unwrap();
        for (mode, path) in [(0o755, &file), (0o777, &file)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let result = program(&table, id, &file, None, Path::new(""), own_user());
            assert_eq!(result.is_ok(), mode == 0o755, "{result:?}");
        }
        let link = directory.path().join("link");
        symlink(&file, &link).unwrap();
        let error = program(&table, id, &link, None, Path::new(""), own_user()).unwrap_err();
        assert!(error.to_string().contains("httpd: its mode is 0777"), "{error}");
        assert_eq!(error.why(), crate::model::source::Why::Permission);
    }

    #[test]
    fn a_configuration_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.conf");
        let line = CommandLine { configuration: Some(file.clone()), ..CommandLine::default() };
        configuration(&line, own_user()).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        configuration(&line, own_user()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let error = configuration(&line, own_user()).unwrap_err();
        assert!(error.to_string().starts_with("refused: others may write"), "{error}");
    }

    #[test]
    fn a_script_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("envvars");
        assert_eq!(script(&file, own_user()).unwrap(), None);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(script(&file, own_user()).unwrap().is_some());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = script(&file, own_user()).unwrap_err();
        assert!(error.to_string().contains("its mode is 0777"), "{error}");
    }
}
