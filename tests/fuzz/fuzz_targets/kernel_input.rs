//! What holds of whatever the kernel tells of System V objects and limits.

use gracekeeper::decode::{descriptor_flags, descriptor_limit, number, sysvipc as tables};

pub(crate) fn sysvipc(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let arrays = tables::semaphore_arrays(input).map(|arrays| arrays.len());
    let segments = tables::segments(input).map(|segments| segments.len());
    assert!(arrays.is_none() || segments.is_none(), "a table has one heading");
    for rows in [arrays, segments].into_iter().flatten() {
        assert!(rows < lines, "{rows} rows of {lines} lines");
    }
    let limits = tables::semaphore_limits(input);
    assert!(limits.is_none() || number::number(input).is_none(), "one number or four");
    if let Some(limits) = limits {
        let text = String::from_utf8(input.to_vec()).unwrap();
        assert!(text.split_ascii_whitespace().nth(3).unwrap().parse() == Ok(limits.arrays));
    }
}

pub(crate) fn descriptor_limit(input: &[u8]) {
    if let Ok(Some(limit)) = descriptor_limit::soft_limit(input) {
        let digits = limit.to_string();
        assert!(input.windows(digits.len()).any(|window| window == digits.as_bytes()));
    }
}

pub(crate) fn descriptor_flags(input: &[u8]) {
    if let Some(flags) = descriptor_flags::descriptor_flags(input) {
        let digits = format!("{flags:o}");
        assert!(input.windows(digits.len()).any(|window| window == digits.as_bytes()));
    }
}
