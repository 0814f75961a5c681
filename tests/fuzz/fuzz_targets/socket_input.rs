//! What holds of whatever the kernel, or what looks like it, tells of sockets.

use gracekeeper::decode::{
    netstat::listen_drops,
    socket_diagnosis::{End, answer},
};

/// Of this answer the corpus is.
const SERIAL: u32 = 7;

pub(crate) fn socket_diagnosis(input: &[u8]) -> usize {
    let mut found = Vec::new();
    let end = answer(input, SERIAL, &mut found);
    // A header and a message each.
    assert!(found.len() <= input.len() / 88);
    for it in &found {
        assert!(u32::try_from(it.socket.inode).is_ok());
        assert!(it.socket.drops.is_none_or(|drops| u32::try_from(drops).is_ok()));
    }
    if let Ok(Some(End::Refused(errno))) = end {
        assert_ne!(errno, 0);
    }
    found.len()
}

pub(crate) fn netstat(input: &[u8]) -> bool {
    let Some(read) = listen_drops(input) else { return false };
    let text = std::str::from_utf8(input).unwrap();
    // A number may follow the colon at once.
    let is_between = |letter: char| letter == ':' || letter.is_ascii_whitespace();
    for number in [read.overflows, read.drops] {
        let is_it = |word: &str| word.parse() == Ok(number);
        assert!(text.split(is_between).any(is_it), "{number}");
    }
    true
}
