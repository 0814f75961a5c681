//! Sections of a PEM file, as OpenSSL finds them.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{GeneralPurpose, general_purpose::PAD},
};

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// What stands between two lines of one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section<'file> {
    /// Such as `CERTIFICATE`.
    pub(super) label: &'file [u8],
    text: &'file [u8],
}

/// Its sections in their order. Text around them is passed over, and so is a section without end.
pub(super) const fn sections(file: &[u8]) -> Sections<'_> {
    Sections { rest: file }
}

/// What is left of a file.
#[derive(Clone, Debug)]
pub(super) struct Sections<'file> {
    rest: &'file [u8],
}

impl<'file> Sections<'file> {
    fn line(&mut self) -> Option<&'file [u8]> {
        let (line, rest) = first_line(self.rest)?;
        self.rest = rest;
        Some(line)
    }
}

impl<'file> Iterator for Sections<'file> {
    type Item = Section<'file>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut open = None;
        loop {
            let from = self.rest;
            let line = self.line()?;
            if let Some(label) = labelled(line, BEGIN) {
                open = Some((label, self.rest));
            } else if let Some((label, text)) = open
                && labelled(line, END) == Some(label)
            {
                let text = text.get(..text.len() - from.len()).unwrap_or_default();
                return Some(Section { label, text });
            }
        }
    }
}

impl Section<'_> {
    /// Its bytes, if they are base64.
    pub(super) fn decoded(&self) -> Option<Vec<u8>> {
        let (_, body) = parts(self.text);
        let plain: Vec<u8> = body.iter().copied().filter(|it| !it.is_ascii_whitespace()).collect();
        BASE64.decode(plain).ok()
    }

    /// `Proc-Type: 4,ENCRYPTED` stands above them, as OpenSSL wrote keys before PKCS#8.
    pub(super) fn is_encrypted(&self) -> bool {
        let mut headers = parts(self.text).0;
        while let Some((line, rest)) = first_line(headers) {
            headers = rest;
            if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") {
                return true;
            }
        }
        false
    }
}

/// Headers, which end with an empty line, and what is below them.
fn parts(text: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = text;
    let has_headers = first_line(text).is_some_and(|(line, _)| line.contains(&b':'));
    while has_headers && let Some((line, below)) = first_line(rest) {
        rest = below;
        if line.is_empty() {
            return (text.get(..text.len() - rest.len()).unwrap_or_default(), rest);
        }
    }
    if has_headers { (text, b"") } else { (b"", text) }
}

/// Without the white space at its end, as OpenSSL reads it.
fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    let (line, rest) = text.split_at_checked(end)?;
    Some((line.trim_ascii_end(), rest))
}

fn labelled<'line>(line: &'line [u8], word: &[u8]) -> Option<&'line [u8]> {
    line.strip_prefix(word)?.strip_suffix(DASHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_between_anything() {
        let file = b"Bag Attributes\n-----BEGIN A-----\r\nQUJD\r\n-----END A-----\r\n\
            -----END B-----\n-----BEGIN C-----\nxx\n-----BEGIN D D-----  \nQ U\nI=\n\
            -----END D D-----\n-----BEGIN E-----\n-----END E-----";
        let found: Vec<_> = sections(file).map(|it| (it.label, it.decoded())).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"A", b"ABC"), (b"D D", b"AB"), (b"E", b"")];
        let expected: Vec<_> =
            expected.into_iter().map(|(label, bytes)| (label, Some(bytes.to_vec()))).collect();
        assert_eq!(found, expected);
        for none in ["", "\n", "-----BEGIN A-----", "-----BEGIN A-----\nQUJD\n-----END AB-----\n"] {
            assert_eq!(sections(none.as_bytes()).next(), None, "{none:?}");
        }
    }

    #[test]
    fn headers_are_no_bytes() {
        let one = |text: &str| {
            let file = format!("-----BEGIN A-----\n{text}-----END A-----\n");
            let section = sections(file.as_bytes()).next().unwrap();
            (section.is_encrypted(), section.decoded())
        };
        let abc = Some(b"ABC".to_vec());
        let headers = "Proc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-128-CBC,00\r\n\r\n";
        assert_eq!(one(&format!("{headers}QUJD\n")), (true, abc.clone()));
        assert_eq!(one("X: ENCRYPTED\n\nQUJD\n"), (false, abc.clone()));
        assert_eq!(one("QUJD\n"), (false, abc));
        assert_eq!(one("Proc-Type: 4,ENCRYPTED\nQUJD\n"), (true, Some(Vec::new())));
        assert_eq!(one("QUJ?\n").1, None);
    }
}
