//! What holds of whatever is found in a host's scripts, crontabs and units.

use gracekeeper::decode::{
    callers::{self, Caller},
    unit_file,
};

/// How many callers there are.
pub(crate) fn callers(input: &[u8]) -> usize {
    let callers::Callers { found, left_out, .. } = callers::lines(input);
    assert!(found.len() <= 2000 && (left_out == 0 || found.len() >= 1000));
    let lines = u32::try_from(input.split(|byte| *byte == b'\n').count()).unwrap();
    for Caller { line, command, .. } in &found {
        assert!((1..=lines).contains(line), "line {line} of {lines}");
        assert!(command.len() <= 300 && !command.chars().any(char::is_control), "{command:?}");
    }
    assert!(callers::lines_naming(input, &["shop"]).found.len() <= 2000);
    let own = callers::reload(input.split(|byte| *byte == b'\n'));
    assert!(own.is_none() || !input.is_empty());
    found.len()
}

pub(crate) fn unit_file(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n').count();
    let all: Vec<_> = unit_file::assignments(input).collect();
    assert!(all.len() <= lines);
    assert!(all.iter().all(|it| usize::try_from(it.line).unwrap() <= lines));
    for found in all.iter().take(50) {
        assert!(!found.key.contains('='));
        let twice = [input, input];
        let values = unit_file::list(&twice, &found.section, &found.key);
        let last = unit_file::last(&twice, &found.section, &found.key);
        assert_eq!(values.last(), last.as_ref());
        assert!(values.iter().all(|it| !it.value.is_empty() && it.text < 2));
    }
}
