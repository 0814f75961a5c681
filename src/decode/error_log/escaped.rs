//! Bytes of a log as text that does nothing to a terminal.

use std::fmt::Write as _;

/// The text, control characters and what is no UTF-8 written as `\x1b`, cut where it would take
/// more than so many bytes.
#[must_use]
pub fn escaped(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    let mut piece = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            piece.clear();
            if is_harmless(character) {
                piece.push(character);
            } else if u32::from(character) < 0x100 {
                // Writing to a string cannot fail.
                let _ = write!(piece, "\\x{:02x}", u32::from(character));
            } else {
                let _ = write!(piece, "\\u{{{:x}}}", u32::from(character));
            }
            if text.len() + piece.len() > most {
                return text;
            }
            text.push_str(&piece);
        }
        for byte in chunk.invalid() {
            if text.len() + 4 > most {
                return text;
            }
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Neither a control character nor one that turns the direction of a line, or ends it.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_is_spelt_out() {
        let bytes = b"\x1b[2J a\tb\n \xff \xe2\x80\xae \xc3\xa4 \xc2\x9b";
        assert_eq!(escaped(bytes, 100), "\\x1b[2J a\\x09b\\x0a \\xff \\u{202e} \u{e4} \\x9b");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(escaped("\u{e4}\u{e4}\u{e4}".as_bytes(), 5), "\u{e4}\u{e4}");
        assert_eq!(escaped(b"ab\x1bc", 5), "ab");
        assert_eq!(escaped(b"ab\xffc", 5), "ab");
    }
}
