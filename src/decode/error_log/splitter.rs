//! A stream of chunks to lines, in bounded memory.

use memchr::memchr;

/// What is looked at of a line, in bytes: httpd itself writes no more than that of one message.
pub const LONGEST_LINE: usize = 8192;

/// Cuts a stream into lines, however it comes in chunks; it keeps what is unfinished, and of that
/// no more than `LONGEST_LINE` bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineSplitter {
    /// The beginning of the line that is not over yet.
    held: Vec<u8>,
}

impl LineSplitter {
    /// Hands over every line that is over, without its line feed, from the chunk itself where it
    /// holds the whole line, and returns how many bytes of overlong lines were skipped.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) -> u64 {
        let mut skipped = 0;
        let mut rest = chunk;
        while let Some((line, after)) = first_line(rest) {
            if self.held.is_empty() {
                let (looked_at, beyond) = split(line, LONGEST_LINE);
                skipped += beyond.len() as u64;
                each(looked_at);
            } else {
                skipped += self.hold(line);
                each(&self.held);
                self.held.clear();
            }
            rest = after;
        }
        skipped + self.hold(rest)
    }

    /// Says that the line which is not over will never be: the file was left, or truncated. What
    /// there is of it is a line, unless there is nothing.
    pub fn cut(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.held.is_empty() {
            each(&self.held);
            self.held.clear();
        }
    }

    /// Keeps what there is room for, and returns how many bytes there was none for.
    fn hold(&mut self, part: &[u8]) -> u64 {
        let (looked_at, beyond) = split(part, LONGEST_LINE.saturating_sub(self.held.len()));
        self.held.extend_from_slice(looked_at);
        beyond.len() as u64
    }
}

fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', text)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines and skipped bytes, by the definition.
    fn naive(stream: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        let kept = |line: &[u8]| line[..line.len().min(LONGEST_LINE)].to_vec();
        let skipped = lines.iter().map(|line| line.len().saturating_sub(LONGEST_LINE) as u64);
        (lines.iter().map(|line| kept(line)).collect(), skipped.sum())
    }

    fn split_up<'chunks>(
        chunks: impl IntoIterator<Item = &'chunks [u8]>,
    ) -> (Vec<Vec<u8>>, u64, LineSplitter) {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let mut skipped = 0;
        for chunk in chunks {
            skipped += splitter.feed(chunk, |line| lines.push(line.to_vec()));
            assert!(splitter.held.len() <= LONGEST_LINE);
        }
        splitter.cut(|line| lines.push(line.to_vec()));
        (lines, skipped, splitter)
    }

    /// Lines of all lengths, those about the limit often.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![4 => 0..40_usize, 2 => LONGEST_LINE - 2..LONGEST_LINE + 3, 1 => 0..30_000_usize];
        let line = (length, any::<u8>()).prop_map(|(length, byte)| {
            let mut line = vec![if byte == b'\n' { 0 } else { byte }; length];
            line.push(b'\n');
            line
        });
        (proptest::collection::vec(line, 0..8), any::<bool>()).prop_map(|(lines, is_over)| {
            let mut stream = lines.concat();
            if !is_over {
                stream.pop();
            }
            stream
        })
    }

    proptest! {
        #[test]
        fn any_cutting_into_chunks_gives_the_same_lines(
            stream in streams(),
            sizes in proptest::collection::vec(prop_oneof![0..10_usize, 0..20_000_usize], 0..40),
        ) {
            let mut rest = &stream[..];
            let mut chunks = Vec::new();
            for size in sizes {
                let (chunk, after) = rest.split_at(size.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            let (lines, skipped, _) = split_up(chunks);
            prop_assert_eq!((lines, skipped), naive(&stream));
        }
    }

    #[test]
    fn a_line_within_a_chunk_is_handed_over_in_place() {
        let chunk = b"one\ntwo\nthr";
        let within = chunk.as_ptr_range();
        let mut splitter = LineSplitter::default();
        let mut count = 0;
        splitter.feed(chunk, |line| {
            assert!(within.contains(&line.as_ptr()));
            count += 1;
        });
        assert_eq!((count, splitter.held.as_slice()), (2, &b"thr"[..]));
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_it_is_looked_at() {
        let chunk = vec![b'x'; 1 << 20];
        let mut splitter = LineSplitter::default();
        let mut skipped = 0;
        for _ in 0..100 {
            skipped += splitter.feed(&chunk, |_| panic!("it is not over"));
        }
        assert_eq!(skipped, (100 << 20) - LONGEST_LINE as u64);
        assert!(splitter.held.capacity() <= 2 * LONGEST_LINE);
        let mut lines = 0;
        splitter.feed(b"\nnext\n", |_| lines += 1);
        assert_eq!((lines, splitter.held.len()), (2, 0));
    }

    #[test]
    fn nothing_is_no_line_and_an_empty_line_is_one() {
        let (lines, ..) = split_up([&b""[..], b"\n", b"", b"\r\n"]);
        assert_eq!(lines, [&b""[..], b"\r"]);
    }
}
