//! Writes what is kept, on a thread of its own: a look never waits for a disk.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use tracing::{info, warn};

use super::{directory::StateDirectory, document::Document};
use crate::clock;

/// Not more often than this.
const REST: Duration = Duration::from_millis(100);
/// A disk that does not answer must not keep the program from ending.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The thread's other end.
#[derive(Debug)]
pub struct Writer {
    documents: SyncSender<Document>,
    ended: Receiver<()>,
}

impl Writer {
    /// Starts the thread; it ends with this value.
    pub fn start(directory: Arc<StateDirectory>) -> io::Result<Self> {
        let (documents, received) = mpsc::sync_channel(1);
        let (ending, ended) = mpsc::sync_channel(1);
        thread::Builder::new().name("state".to_owned()).spawn(move || {
            Writing { directory, trouble: None }.run(&received);
            // Who does not wait any more need not know.
            let _ = ending.send(());
        })?;
        Ok(Self { documents, ended })
    }

    /// Hands over what is to be kept instead of all before; false: it is to be tried again, the
    /// disk is slow.
    #[must_use]
    pub fn take(&self, document: Document) -> bool {
        match self.documents.try_send(document) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => true,
            Err(TrySendError::Full(_)) => false,
        }
    }

    /// Writes this last, and ends; waits for it for at most 5 s.
    pub fn end_with(self, document: Document) {
        let Self { documents, ended } = self;
        let started = clock::now();
        let mut document = Some(document);
        while let Some(it) = document.take() {
            match documents.try_send(it) {
                Err(TrySendError::Full(it)) if clock::now().since(started) < END_WITHIN => {
                    document = Some(it);
                    thread::sleep(REST / 10);
                }
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        drop(documents);
        if ended.recv_timeout(END_WITHIN) == Err(RecvTimeoutError::Timeout) {
            warn!("state directory does not answer, the last state is not written");
        }
    }
}

struct Writing {
    directory: Arc<StateDirectory>,
    /// Why the last write failed: said once.
    trouble: Option<String>,
}

impl Writing {
    fn run(mut self, documents: &Receiver<Document>) {
        let mut next = documents.recv().ok();
        while let Some(document) = next.take() {
            self.write(&document);
            let again = clock::now().after(REST);
            loop {
                // The last one wins.
                match documents.recv_timeout(again.since(clock::now())) {
                    Ok(newer) => next = Some(newer),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        if let Some(last) = &next {
                            self.write(last);
                        }
                        return;
                    }
                }
            }
            next = next.or_else(|| documents.recv().ok());
        }
    }

    fn write(&mut self, document: &Document) {
        let bytes = document.encode().map_err(io::Error::from);
        let written = bytes.and_then(|bytes| self.directory.write(&bytes));
        let trouble = written.err().map(|error| error.to_string());
        if trouble != self.trouble {
            let directory = self.directory.folder().path().display();
            if let Some(cause) = &trouble {
                warn!(%directory, cause, "state not written");
            } else {
                info!(%directory, "state is written again");
            }
            self.trouble = trouble;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{directory::Folder, document::Remembered};

    fn document(name: &str) -> Document {
        let server = Remembered::new(name.to_owned(), [None, None, None], None, None);
        Document::new(None, vec![server])
    }

    #[test]
    fn the_last_document_is_there_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let writer = Writer::start(Arc::clone(&state)).unwrap();
        for number in 0..1000 {
            let _taken = writer.take(document(&number.to_string()));
        }
        writer.end_with(document("last"));
        let read = state.folder().read().unwrap().unwrap();
        assert_eq!(Document::decode(&read).unwrap(), document("last"));
    }
}
