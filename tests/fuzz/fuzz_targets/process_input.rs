//! What holds of whatever a process, or its pid file, says of itself.

use gracekeeper::decode::{self, pid_file::PidFileError};

pub(crate) fn pid_file(input: &[u8]) {
    match decode::pid_file::pid(input) {
        Ok(pid) => {
            let text = String::from_utf8(input.trim_ascii().to_vec()).unwrap();
            assert_eq!(text.parse(), Ok(pid.as_raw()));
            assert!(pid.as_raw() > 0);
        }
        Err(PidFileError::Empty) => assert!(input.trim_ascii().is_empty()),
        Err(PidFileError::TooLong) => assert!(input.len() > decode::pid_file::LONGEST),
        Err(PidFileError::NotANumber) => {}
    }
}

pub(crate) fn process_stat(input: &[u8]) {
    let Some(stat) = decode::process_stat::process_stat(input) else { return };
    let name = [b"(".as_slice(), &stat.name, b")"].concat();
    assert!(input.windows(name.len()).any(|window| window == name));
    let after = input.iter().rposition(|byte| *byte == b')').unwrap();
    let fields = String::from_utf8(input[after + 1..].to_vec()).unwrap();
    let ticks = fields.split_ascii_whitespace().nth(19).unwrap();
    assert_eq!(ticks.parse(), Ok(stat.start_ticks));
}

pub(crate) fn main_configuration(input: &[u8]) {
    let found = decode::main_configuration::main_configuration(input);
    let paths = found.pid_files.iter().chain(&found.includes).chain(&found.root);
    for path in paths {
        let bytes = path.as_os_str().as_encoded_bytes();
        assert!(!bytes.is_empty() && input.windows(bytes.len()).any(|window| window == bytes));
    }
}

pub(crate) fn command_line(input: &[u8]) {
    let line = decode::command_line::command_line(input);
    let first = input.split(|byte| *byte == 0).next().unwrap_or_default();
    assert_eq!(line.program.as_os_str().as_encoded_bytes(), first);
    for path in [&line.root, &line.configuration, &line.pid_file].into_iter().flatten() {
        let bytes = path.as_os_str().as_encoded_bytes();
        assert!(bytes.is_empty() || input.windows(bytes.len()).any(|window| window == bytes));
    }
}
