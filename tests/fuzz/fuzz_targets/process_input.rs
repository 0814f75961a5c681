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

pub(crate) fn process_memory(input: &[u8]) {
    let bytes = |name: &str| {
        let text = String::from_utf8_lossy(input);
        let values: Vec<u64> = text
            .split('\n')
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix(" kB"))
            .filter_map(|value| value.trim_ascii().parse().ok())
            .collect();
        values.into_iter().filter_map(|kibibytes| kibibytes.checked_mul(1024)).next_back()
    };
    if let Some(rollup) = decode::process_memory::smaps_rollup(input) {
        let huge = bytes("Private_Hugetlb").unwrap_or(0);
        assert_eq!(Some(rollup.pss - huge), bytes("Pss"));
        let private = rollup.private - huge;
        assert_eq!(Some(private - bytes("Private_Clean").unwrap()), bytes("Private_Dirty"));
        assert_eq!(Some(rollup.anonymous), bytes("Anonymous"));
        assert_eq!(Some(rollup.swap), bytes("SwapPss").or_else(|| bytes("Swap")));
    }
    if let Some(counted) = decode::process_memory::status(input) {
        assert_eq!(Some(counted.anonymous), bytes("RssAnon"));
        assert_eq!(Some(counted.shared_memory), bytes("RssShmem"));
        assert_eq!(Some(counted.swap), bytes("VmSwap"));
        assert_eq!(Some(counted.resident), bytes("VmRSS"));
        assert_eq!(Some(counted.page_tables), bytes("VmPTE"));
    }
}
