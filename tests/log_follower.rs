//! Following an error log: each line once, in order, whatever happens to its file.

mod hostile;
mod laws;
mod reading;

use std::{
    fs::File,
    os::fd::OwnedFd,
    thread::{self, JoinHandle},
};

use gracekeeper::{
    model::time::Moment,
    observe::{
        error_log::{Sink, Span, client::LogReader, message, service},
        process_table::ProcessTable,
    },
};

/// As the reading process has one.
const BUFFER: usize = 256 << 10;

/// Remembers every line.
#[derive(Debug, Default)]
struct Recorder {
    lines: Vec<String>,
    spans: Vec<Span>,
    skipped: u64,
}

impl Sink for Recorder {
    type Lines = Vec<u8>;

    fn feed(&mut self, lines: &mut Vec<u8>, bytes: &[u8], span: Span) {
        assert!(span.after <= span.before, "{span:?}");
        for byte in bytes {
            if *byte == b'\n' {
                self.lines.push(String::from_utf8(std::mem::take(lines)).unwrap());
                self.spans.push(span);
            } else {
                lines.push(*byte);
            }
        }
    }

    fn cut(&mut self, lines: &mut Vec<u8>, before: Moment) {
        if !lines.is_empty() {
            self.lines.push(String::from_utf8(std::mem::take(lines)).unwrap());
            self.spans.push(Span { after: before, before });
        }
    }

    fn skipped(&mut self, bytes: u64) {
        self.skipped += bytes;
    }
}

/// The reading side in a thread of this process.
struct Reader {
    client: LogReader,
    service: JoinHandle<()>,
}

impl Reader {
    fn start() -> Self {
        let (own, other): (OwnedFd, OwnedFd) = message::pair().unwrap();
        let table = ProcessTable::new("/proc".into());
        let service = thread::spawn(move || service::serve(&table, other).unwrap());
        Self { client: LogReader::new(own).unwrap(), service }
    }

    /// The other side ends when this one is gone.
    fn end(self) {
        drop(self.client);
        self.service.join().unwrap();
    }
}

fn open(path: &std::path::Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}
