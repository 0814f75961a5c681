//! Words as httpd tells them apart, and the variables in them.

/// The longest word that is made of variables; beyond it is cut off.
const LONGEST: usize = 64 << 10;

/// Takes the first word, without its quotes and without its backslashes: `ap_getword_conf`.
pub(super) fn word(rest: &mut &[u8]) -> Vec<u8> {
    let text = rest.trim_ascii_start();
    let Some((quote @ (b'"' | b'\''), quoted)) = text.split_first() else {
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, after) = text.split_at_checked(end).unwrap_or((text, b""));
        *rest = after.trim_ascii_start();
        return plain(word, None);
    };
    let mut end = 0;
    while let Some(byte) = quoted.get(end).filter(|byte| *byte != quote) {
        let next = quoted.get(end + 1).filter(|next| *next == quote || **next == b'\\');
        end += if *byte == b'\\' && next.is_some() { 2 } else { 1 };
    }
    let (word, after) = quoted.split_at_checked(end).unwrap_or((quoted, b""));
    *rest = after.split_first().map_or(&b""[..], |(_, after)| after.trim_ascii_start());
    plain(word, Some(*quote))
}

/// Every word, made as it is asked for: a line may have millions.
pub(super) fn words(mut rest: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || (!rest.trim_ascii_start().is_empty()).then(|| word(&mut rest)))
}

fn plain(word: &[u8], quote: Option<u8>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped =
            bytes.next_if(|next| byte == b'\\' && (*next == b'\\' || quote == Some(*next)));
        plain.push(escaped.unwrap_or(byte));
    }
    plain
}

/// The word with the values of its `${VARIABLES}`; those that have none stay as they are.
pub(super) fn resolved(text: &[u8], value: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut whole = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.windows(2).position(|two| two == b"${") {
        let (before, after) = rest.split_at_checked(start).unwrap_or((rest, b""));
        let named = after.get(2..).unwrap_or_default();
        let Some(end) = named.iter().position(|byte| *byte == b'}') else { break };
        whole.extend_from_slice(before);
        let name = named.get(..end).unwrap_or_default();
        match value(name) {
            Some(value) => whole.extend_from_slice(&value),
            None => whole.extend_from_slice(after.get(..end + 3).unwrap_or_default()),
        }
        rest = named.get(end + 1..).unwrap_or_default();
        if whole.len() > LONGEST {
            break;
        }
    }
    whole.extend_from_slice(rest);
    whole.truncate(LONGEST);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        words(text.as_bytes()).map(|it| String::from_utf8_lossy(&it).into_owned()).collect()
    }

    #[test]
    fn quotes_and_backslashes_are_httpds() {
        for (text, expected) in [
            ("", vec![]),
            ("  a  b\tc ", vec!["a", "b", "c"]),
            (r#""a b" 'c "d'"#, vec!["a b", r#"c "d"#]),
            (r#""a \" b" x"#, vec![r#"a " b"#, "x"]),
            (r#"a\\b "\\" c"#, vec![r"a\b", r"\", "c"]),
            (r#"a\b \"x"#, vec![r"a\b", r#"\"x"#]),
            (r#""open"#, vec!["open"]),
            (r#""a"b"#, vec!["a", "b"]),
            ("\"\"", vec![""]),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_put_in_once() {
        let value = |name: &[u8]| match name {
            b"A" => Some(b"1${A}".to_vec()),
            b"" => Some(b"none".to_vec()),
            _ => None,
        };
        for (text, expected) in [
            ("x", "x"),
            ("${A}", "1${A}"),
            ("a${A}b${B}c", "a1${A}b${B}c"),
            ("${}", "none"),
            ("${A", "${A"),
            ("$A$", "$A$"),
        ] {
            assert_eq!(resolved(text.as_bytes(), value), expected.as_bytes(), "{text}");
        }
        let long = resolved(&b"${A}".repeat(10_000), |_| Some(vec![b'x'; 1000]));
        assert_eq!(long.len(), LONGEST);
    }
}
