//! What holds of whatever an error log says, and however it comes.

use gracekeeper::{
    decode::error_log::{Counts, LONGEST_LINE, LineSplitter, MOST_LIFECYCLE_LINES, line},
    model::log::{LogCode, LogLevel},
};

/// Two bytes: the size of the chunks, and by how much each is larger than the one before; the log.
pub(crate) fn run(input: &[u8]) {
    let [size, growth, log @ ..] = input else {
        return;
    };
    let (lines, skipped) = naive(log);
    let mut expected = Counts::default();
    let mut with_code = 0;
    for text in &lines {
        with_code += u64::from(check(text));
        expected.take(text);
    }
    let mut counts = Counts::default();
    let mut splitter = LineSplitter::default();
    let mut split = Vec::new();
    let mut each = |text: &[u8]| {
        counts.take(text);
        split.push(text.to_vec());
    };
    let mut skipped_of_chunks = 0;
    let mut size = usize::from(*size);
    let mut rest = log;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.clamp(1, rest.len()));
        skipped_of_chunks += splitter.feed(chunk, &mut each);
        rest = after;
        size += usize::from(*growth);
    }
    splitter.cut(&mut each);
    assert_eq!(split, lines);
    assert_eq!(skipped_of_chunks, skipped);
    assert_eq!(counts, expected);
    assert_eq!(counts.lines().map(|(_, count)| count).sum::<u64>(), lines.len() as u64);
    assert_eq!(counts.events().map(|(_, count)| count).sum::<u64>(), with_code);
    assert!(counts.lifecycle().len() <= MOST_LIFECYCLE_LINES);
}

/// Whether the line has a code; whatever is found stands in it.
fn check(text: &[u8]) -> bool {
    let found = line(text);
    let holds = |word: &str| text.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(found.level == LogLevel::None || holds(found.level.label()));
    assert!(found.pid.is_none_or(|pid| holds(&pid.to_string())));
    match found.code {
        Some(LogCode::Other) => assert!(holds("AH")),
        Some(code) => assert!(holds(code.label())),
        None => {}
    }
    found.code.is_some()
}

fn naive(log: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let mut lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let skipped = lines.iter().map(|line| line.len().saturating_sub(LONGEST_LINE) as u64).sum();
    let kept = |line: &&[u8]| line[..line.len().min(LONGEST_LINE)].to_vec();
    (lines.iter().map(kept).collect(), skipped)
}
