//! What holds of whatever httpd, or who stands in its place, answers when it is asked.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use gracekeeper::decode::{
    self,
    directives::{Files, Told},
    run_configuration::ErrorLogPlace,
    server_status::ServerStatusError,
};

pub(crate) fn run_configuration(input: &[u8]) {
    let found = decode::run_configuration::run_configuration(input);
    let log = match &found.error_log {
        Some(ErrorLogPlace::File(path)) => Some(path),
        Some(ErrorLogPlace::Syslog | ErrorLogPlace::Pipe | ErrorLogPlace::Stream) | None => None,
    };
    for path in [&found.root, &found.pid_file].into_iter().flatten().chain(log) {
        assert_is_of(input, path);
    }
    for kind in decode::run_configuration::mutexes(input).unwrap_or_default().into_keys() {
        assert!(kind != b"default" && !kind.contains(&b'\n') && kind.len() < input.len());
    }
}

pub(crate) fn build_settings(input: &[u8]) {
    let found = decode::build_settings::build_settings(input);
    for text in [found.version, found.mpm, found.apr, found.apr_util].into_iter().flatten() {
        assert!((1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic()));
    }
}

pub(crate) fn includes(input: &[u8]) {
    let found = decode::includes::includes(input);
    assert!(found.files.len() <= decode::includes::MOST);
    for (index, path) in found.files.iter().enumerate().take(100) {
        assert_is_of(input, path);
        assert_eq!(found.files.iter().position(|other| other == path), Some(index));
    }
}

pub(crate) fn certificate_list(input: &[u8]) -> usize {
    let names = decode::certificate_list::certificate_list(input).unwrap_or_default();
    assert!(names.len() <= decode::certificate_list::MOST);
    for name in names.iter().take(100) {
        assert!(!name.contains(&b'\n') && input.windows(name.len() + 2).any(|it| &it[2..] == name));
    }
    names.len()
}

/// One text in the place of every file.
struct Text<'a>(&'a [u8]);

impl Files for Text<'_> {
    fn text(&self, _: &Path) -> Option<&[u8]> {
        Some(self.0)
    }

    fn exists(&self, name: &[u8]) -> Option<bool> {
        name.first().map(|first| *first == b'/')
    }
}

/// What httpd printed, and after a NUL the text of its files.
pub(crate) fn directives(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (printed, text) = input.split_at(end);
    let tree = decode::inclusions::inclusions(printed);
    let tree = tree.unwrap_or_else(|| decode::inclusions::inclusions(b"  (*) /main\n").unwrap());
    let lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let told = Told {
        defined: lines.iter().take(2).cloned().collect(),
        before: lines.iter().take(2).cloned().collect(),
        after: lines,
        defines: decode::run_configuration::defines(printed),
        modules: decode::modules::modules(printed),
        version: decode::directives::version("2.4.71"),
        run: decode::run_configuration::run_configuration(printed),
        certificates: decode::certificate_list::certificate_list(printed),
        environment: [(b"A".to_vec(), b"x ${A}".to_vec())].into(),
    };
    let found = decode::directives::settings(&told, &tree, &Text(text)).unwrap();
    assert!(found.logs_are_partial || !found.is_partial);
    assert!(found.tls_is_partial || !found.is_partial);
    let lists = [&found.log_files, &found.include_patterns, &found.module_files];
    let hosts = found.tls_hosts.iter().flat_map(|host| &host.pairs);
    let files = hosts.flat_map(|pair| [&pair.certificate, &pair.key]);
    assert!(files.chain(lists.into_iter().flat_map(|list| &**list)).all(|it| it.is_absolute()));
    assert!(found.include_patterns.len() <= 4096);
    for (slots, threads) in [(0, 0), (16, 64), (u32::MAX, u32::MAX)] {
        let limits = found.corrected(slots, threads);
        assert!((1..=limits.children).contains(&limits.starts));
        assert!(limits.children <= slots.max(1) && limits.threads <= threads.max(1));
        assert_eq!(limits.workers, u64::from(limits.children) * u64::from(limits.threads));
        assert!(limits.max_spare > limits.min_spare || limits.max_spare == u32::MAX);
    }
}

pub(crate) fn server_status(input: &[u8]) {
    match decode::server_status::server_status(input) {
        Ok(status) => {
            assert!(input.windows(11).any(|window| window == b"Scoreboard:"));
            let texts = status.version.iter().chain(&status.mpm);
            assert!(texts.into_iter().all(|text| text.len() <= 200 && !text.contains('\x1b')));
        }
        Err(ServerStatusError::OtherPage | ServerStatusError::NotANumber(_)) => {}
    }
}

fn assert_is_of(input: &[u8], path: &Path) {
    let bytes = path.as_os_str().as_bytes();
    assert!(path.is_absolute() && !bytes.contains(&0) && !bytes.contains(&b'\n'));
    assert!(input.windows(bytes.len()).any(|window| window == bytes));
}
