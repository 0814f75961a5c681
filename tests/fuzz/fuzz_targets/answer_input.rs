//! What holds of whatever httpd, or who stands in its place, answers when it is asked.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use gracekeeper::decode::{
    self, run_configuration::ErrorLogPlace, server_status::ServerStatusError,
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
