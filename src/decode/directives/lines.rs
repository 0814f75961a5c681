//! Lines as httpd joins them, each with the number of its last line.

use std::borrow::Cow;

/// The lines of a text that are no comments, without the blanks around them; empty ones too.
#[derive(Clone, Debug)]
pub(super) struct Lines<'text> {
    rest: Option<&'text [u8]>,
    number: u32,
}

impl<'text> Lines<'text> {
    pub(super) const fn of(text: &'text [u8]) -> Self {
        Self { rest: Some(text), number: 0 }
    }

    fn physical(&mut self) -> Option<&'text [u8]> {
        let rest = self.rest.take().filter(|rest| !rest.is_empty())?;
        self.number = self.number.saturating_add(1);
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Some(rest) };
        let (line, rest) = rest.split_at_checked(end)?;
        self.rest = rest.split_first().map(|(_, rest)| rest);
        Some(line)
    }

    /// `ap_cfg_getline`: a backslash at the end joins, even after another one and in a comment.
    fn joined(&mut self) -> Option<Cow<'text, [u8]>> {
        let mut whole = Cow::Borrowed(self.physical()?);
        loop {
            let text = whole.strip_suffix(b"\r").unwrap_or(&whole);
            // At the end of the file nothing is left to join.
            let Some(text) = text.strip_suffix(b"\\").filter(|_| self.rest.is_some()) else {
                return Some(whole);
            };
            let kept = text.len();
            let more = self.physical().unwrap_or_default();
            let joined = whole.to_mut();
            joined.truncate(kept);
            joined.extend_from_slice(more);
        }
    }
}

impl<'text> Iterator for Lines<'text> {
    type Item = (u32, Cow<'text, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.joined()? {
                Cow::Borrowed(line) => Cow::Borrowed(line.trim_ascii()),
                Cow::Owned(line) => Cow::Owned(line.trim_ascii().to_owned()),
            };
            if line.first() != Some(&b'#') {
                return Some((self.number, line));
            }
        }
    }
}

/// The name of a section that begins or, if the first is true, ends here.
pub(super) fn section(line: &[u8]) -> Option<(bool, Vec<u8>)> {
    let rest = line.strip_prefix(b"<")?;
    let (is_end, rest) = match rest.strip_prefix(b"/") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>');
    Some((is_end, rest.get(..end.unwrap_or(rest.len()))?.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, String)> {
        let owned = |line: Cow<'_, [u8]>| String::from_utf8_lossy(&line).into_owned();
        Lines::of(text.as_bytes()).map(|(number, line)| (number, owned(line))).collect()
    }

    #[test]
    fn a_line_that_goes_on_has_the_number_of_its_end() {
        let read = lines("\n Listen \\\n  80 \r\nUser \\\r\nx\n\n  # no\nlast\\");
        let expected = [(1, ""), (3, "Listen   80"), (5, "User x"), (6, ""), (8, "last\\")];
        assert_eq!(read, expected.map(|(number, line)| (number, line.to_owned())));
    }

    #[test]
    fn a_comment_goes_on_too_whatever_stands_before_its_backslash() {
        assert_eq!(lines("# a \\\\\nListen 80\nUser x"), [(3, "User x".to_owned())]);
        assert_eq!(lines(""), []);
        assert_eq!(lines("\\\n\\\n"), [(2, String::new())]);
    }
}
