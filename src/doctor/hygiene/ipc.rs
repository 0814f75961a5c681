//! `RemoveIPC` of logind: System V semaphores of an ordinary user are removed when he logs out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::Subject;
use crate::{
    decode::unit_file,
    doctor::{Check, Finding, text},
};

/// Where drop-ins are; what comes first hides what comes later.
const FOLDERS: [&str; 4] = [
    "/etc/systemd/logind.conf.d",
    "/run/systemd/logind.conf.d",
    "/usr/local/lib/systemd/logind.conf.d",
    "/usr/lib/systemd/logind.conf.d",
];
/// The main file, the first that there is.
const FILES: [&str; 4] = [
    "/etc/systemd/logind.conf",
    "/run/systemd/logind.conf",
    "/usr/local/lib/systemd/logind.conf",
    "/usr/lib/systemd/logind.conf",
];
/// Where no file says which users are the system's.
const LAST_SYSTEM_UID: u32 = 999;
const THING: &str = "RemoveIPC of logind";

pub(super) fn finding(subject: &Subject<'_>) -> Finding {
    if !subject.below("/run/systemd/system").is_dir() {
        return Check::RemoveIpc.ok(THING, "systemd does not run here");
    }
    let mutexes = subject.answer.ok().and_then(|it| it.settings.as_ref()?.mutexes.as_ref());
    if mutexes.is_some_and(BTreeMap::is_empty) {
        return Check::RemoveIpc.ok(THING, "httpd has no System V semaphores");
    }
    let Some(user) = user(subject) else {
        return Check::RemoveIpc.unknown(THING, "no child of httpd shows as whom it serves");
    };
    let last = last_system_uid(&text::text(&subject.below("/etc/login.defs")).unwrap_or_default());
    if user <= last {
        let cause = format!("httpd serves as uid {user}, a system's user (up to {last})");
        return Check::RemoveIpc.ok(THING, cause);
    }
    let (removes, place) = removes(subject.root);
    if !removes {
        return Check::RemoveIpc.ok(THING, format!("{place}: no"));
    }
    let cause = format!(
        "{place}: yes: httpd serves as uid {user}, above SYS_UID_MAX {last}: when that user logs out, \
         httpd's semaphores go, and the next restart or child fails"
    );
    let mend = "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' > \
                /etc/systemd/logind.conf.d/httpd.conf && systemctl restart systemd-logind";
    Check::RemoveIpc.warning(THING, cause, mend)
}

/// As whom the children serve: the parent's own user if none of them is another's.
fn user(subject: &Subject<'_>) -> Option<u32> {
    let children = subject.table.children(subject.parent.pid).ok()?;
    let users = children.into_iter().filter_map(|pid| subject.table.user(pid).ok());
    users.max()
}

fn last_system_uid(definitions: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(definitions);
    let value = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|key| *key == "SYS_UID_MAX")?;
        words.next()?.parse().ok()
    });
    value.unwrap_or(LAST_SYSTEM_UID)
}

/// What logind does, and where that stands.
fn removes(root: &Path) -> (bool, String) {
    let main = FILES.iter().map(|path| text::below(root, path)).find(|path| path.exists());
    let mut drop_ins: BTreeMap<_, PathBuf> = BTreeMap::new();
    for folder in FOLDERS {
        for path in text::entries(&text::below(root, folder)).unwrap_or_default() {
            let is_drop_in = path.extension().is_some_and(|it| it == "conf");
            if let Some(name) = path.file_name().filter(|_| is_drop_in) {
                drop_ins.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    let files = main.into_iter().chain(drop_ins.into_values());
    let files: Vec<(PathBuf, Vec<u8>)> =
        files.filter_map(|path| text::text(&path).map(|text| (path, text))).collect();
    let texts: Vec<&[u8]> = files.iter().map(|(_, text)| text.as_slice()).collect();
    if let Some(setting) = unit_file::last(&texts, "Login", "RemoveIPC") {
        let path = files.get(setting.text).map_or(Path::new(""), |(path, _)| path);
        let no = [&b"no"[..], b"false", b"0", b"off"];
        let removes = !no.iter().any(|word| setting.value.eq_ignore_ascii_case(word));
        return (removes, format!("{}:{}", text::shown(root, path), setting.line));
    }
    // What was built in stands in the file as a comment: yes of systemd, no on Red Hat's.
    let is_built_in_no = |text: &&[u8]| memchr::memmem::find(text, b"#RemoveIPC=no").is_some();
    (!texts.iter().any(is_built_in_no), "not set, built in".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn told(files: &[(&str, &str)]) -> (bool, String) {
        let host = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = text::below(host.path(), path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        removes(host.path())
    }

    #[test]
    fn the_last_drop_in_decides_and_a_comment_tells_what_is_built_in() {
        let main = ("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\n");
        assert_eq!(told(&[main]), (true, "not set, built in".to_owned()));
        assert!(!told(&[("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n")]).0);
        assert!(told(&[]).0);
        let drop_in = ("/usr/lib/systemd/logind.conf.d/9.conf", "[Login]\nRemoveIPC=no\n");
        let expected = (false, "/usr/lib/systemd/logind.conf.d/9.conf:2".to_owned());
        assert_eq!(told(&[main, drop_in]), expected);
        let hides = ("/etc/systemd/logind.conf.d/9.conf", "[Login]\nRemoveIPC=yes\n");
        assert!(told(&[main, drop_in, hides]).0);
    }

    #[test]
    fn the_hosts_own_limit_of_system_users_counts() {
        assert_eq!(last_system_uid(b"#SYS_UID_MAX 5\nSYS_UID_MAX\t\t 499\n"), 499);
        assert_eq!(last_system_uid(b""), 999);
    }
}
