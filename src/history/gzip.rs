//! What was compressed with gzip, as `gzip -dc` reads it: member after member, up to zeros that
//! fill the last block of a tape or a device.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The contents of a gzip file.
pub struct Gzip<Input: BufRead> {
    member: Option<GzDecoder<Input>>,
}

impl<Input: BufRead> Gzip<Input> {
    /// Reads from the first member on.
    pub fn new(input: Input) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<Input: BufRead> Read for Gzip<Input> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let input = self.member.take().map(GzDecoder::into_inner);
            if let Some(mut input) = input
                && !is_over(&mut input)?
            {
                self.member = Some(GzDecoder::new(input));
            }
        }
        Ok(0)
    }
}

/// Nothing but zeros follows.
fn is_over(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let rest = match input.fill_buf() {
            Ok(rest) => rest,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if rest.is_empty() {
            return Ok(true);
        }
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let is_other = zeros < rest.len();
        input.consume(zeros);
        if is_other {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> (String, bool) {
        let mut text = String::new();
        let result = Gzip::new(bytes).read_to_string(&mut text);
        (text, result.is_ok())
    }

    #[test]
    fn zeros_after_the_last_member_are_its_end() {
        let two = [packed("a"), packed("b")].concat();
        assert_eq!(unpacked(&two), ("ab".to_owned(), true));
        assert_eq!(unpacked(&[&two[..], &[0; 512]].concat()), ("ab".to_owned(), true));
        assert!(!unpacked(&[&two[..], &[0; 5], b"x"].concat()).1);
        assert!(!unpacked(&two[..two.len() - 3]).1);
    }
}
