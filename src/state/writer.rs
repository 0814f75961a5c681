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

use super::{
    directory::StateDirectory,
    document::Document,
    journal,
    orders::{Order, Outcome},
};
use crate::clock;

/// Not more often than this.
const REST: Duration = Duration::from_millis(100);
/// What the disk did not take is tried again as often, if nothing else is to be written before.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A disk that does not answer must not keep the program from ending.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Lines of the journal that wait for a disk that does not take them; then the oldest are lost.
const MOST_LINES: usize = 10_000;

/// The thread's other end.
#[derive(Debug)]
pub struct Writer {
    errands: SyncSender<Errand>,
    ended: Receiver<()>,
    /// To be told once the next document is written.
    obeyed: Vec<Order>,
    /// Of the journal, to be written with the next document.
    lines: Vec<String>,
}

/// What is to be kept, and who is told then that a server is forgotten.
///
/// What happened is written before what is known of it, so that who is killed in between tells a
/// thing twice rather than never.
#[derive(Debug)]
struct Errand {
    document: Document,
    obeyed: Vec<Order>,
    lines: Vec<String>,
}

impl Writer {
    /// Starts the thread; it ends with this value.
    pub fn start(directory: Arc<StateDirectory>) -> io::Result<Self> {
        let (errands, received) = mpsc::sync_channel(1);
        let (ending, ended) = mpsc::sync_channel(1);
        thread::Builder::new().name("state".to_owned()).spawn(move || {
            Writing::new(directory).run(&received);
            // Who does not wait any more need not know.
            let _ = ending.send(());
        })?;
        Ok(Self { errands, ended, obeyed: Vec::new(), lines: Vec::new() })
    }

    /// Hands over what is to be kept instead of all before; false: it is to be tried again, the
    /// disk is slow.
    #[must_use]
    pub fn take(&mut self, document: Document) -> bool {
        let obeyed = std::mem::take(&mut self.obeyed);
        let lines = std::mem::take(&mut self.lines);
        match self.errands.try_send(Errand { document, obeyed, lines }) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => true,
            Err(TrySendError::Full(errand)) => {
                self.obeyed = errand.obeyed;
                self.lines = errand.lines;
                false
            }
        }
    }

    /// Writes this line into the journal together with the next document.
    pub fn write_with_the_next(&mut self, line: String) {
        self.lines.push(line);
        forget_the_oldest(&mut self.lines);
    }

    /// Answers this order, which was obeyed, when the next document is written: before that a
    /// crash would undo it.
    pub fn answer_with_the_next(&mut self, obeyed: Order) {
        self.obeyed.push(obeyed);
    }

    /// Somebody, or something that happened, waits for the next document.
    #[must_use]
    pub const fn is_waited_for(&self) -> bool {
        !self.obeyed.is_empty() || !self.lines.is_empty()
    }

    /// Writes this last, and ends; waits for it for at most 5 s.
    pub fn end_with(self, document: Document) {
        let Self { errands, ended, obeyed, lines } = self;
        let started = clock::now();
        let mut errand = Some(Errand { document, obeyed, lines });
        while let Some(it) = errand.take() {
            match errands.try_send(it) {
                Err(TrySendError::Full(it)) if clock::now().since(started) < END_WITHIN => {
                    errand = Some(it);
                    thread::sleep(REST / 10);
                }
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        drop(errands);
        if ended.recv_timeout(END_WITHIN) == Err(RecvTimeoutError::Timeout) {
            warn!("state directory does not answer, the last state is not written");
        }
    }
}

struct Writing {
    directory: Arc<StateDirectory>,
    /// Why the last write failed: said once.
    trouble: Option<String>,
    /// Lines that the disk did not take.
    unwritten: Vec<String>,
    /// Why not: said once.
    journal_trouble: Option<String>,
    /// The document that the disk did not take.
    unkept: Option<Document>,
    try_again_after: Duration,
}

impl Writing {
    const fn new(directory: Arc<StateDirectory>) -> Self {
        Self {
            directory,
            trouble: None,
            unwritten: Vec::new(),
            journal_trouble: None,
            unkept: None,
            try_again_after: TRIED_AGAIN_AFTER,
        }
    }

    fn run(mut self, errands: &Receiver<Errand>) {
        let mut next = errands.recv().ok();
        while let Some(errand) = next.take() {
            self.do_errand(errand);
            let again = clock::now().after(REST);
            loop {
                match errands.recv_timeout(again.since(clock::now())) {
                    Ok(newer) => next = Some(newer.instead_of(next)),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        if let Some(last) = next {
                            self.do_errand(last);
                        }
                        return;
                    }
                }
            }
            while next.is_none() {
                match self.wait(errands) {
                    Ok(errand) => next = Some(errand),
                    Err(RecvTimeoutError::Timeout) => self.try_again(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// Waits for the next errand; in trouble only for a while.
    fn wait(&self, errands: &Receiver<Errand>) -> Result<Errand, RecvTimeoutError> {
        if self.unwritten.is_empty() && self.unkept.is_none() {
            return errands.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        errands.recv_timeout(self.try_again_after)
    }

    fn try_again(&mut self) {
        self.write_lines(Vec::new());
        if let Some(document) = self.unkept.take() {
            self.keep(document);
        }
    }

    fn do_errand(&mut self, Errand { document, obeyed, lines }: Errand) {
        self.write_lines(lines);
        self.keep(document);
        let outcome = self.trouble.clone().map_or(Outcome::Forgotten, Outcome::Unwritten);
        for order in obeyed {
            if let Err(error) = order.answer(&outcome) {
                warn!(%error, "order not answered");
            }
        }
    }

    fn keep(&mut self, document: Document) {
        let bytes = document.encode().map_err(io::Error::from);
        let written = bytes.and_then(|bytes| self.directory.write(&bytes));
        let trouble = written.err().map(|error| error.to_string());
        self.unkept = trouble.is_some().then_some(document);
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

    /// What the disk does not take is tried again with the next errand, or after a while.
    fn write_lines(&mut self, lines: Vec<String>) {
        self.unwritten.extend(lines);
        if self.unwritten.is_empty() {
            return;
        }
        let (written, outcome) = journal::append(self.directory.folder(), &self.unwritten);
        self.unwritten.drain(..written.min(self.unwritten.len()));
        let trouble = outcome.err().map(|error| error.to_string());
        forget_the_oldest(&mut self.unwritten);
        if trouble != self.journal_trouble {
            let directory = self.directory.folder().path().display();
            if let Some(cause) = &trouble {
                warn!(%directory, cause, "journal not written");
            } else {
                info!(%directory, "journal is written again");
            }
            self.journal_trouble = trouble;
        }
    }
}

fn forget_the_oldest(lines: &mut Vec<String>) {
    let beyond = lines.len().saturating_sub(MOST_LINES);
    lines.drain(..beyond);
}

impl Errand {
    /// The last document wins; whoever waits for one gets his answer, and every line is written.
    fn instead_of(mut self, older: Option<Self>) -> Self {
        if let Some(Self { obeyed, mut lines, .. }) = older {
            self.obeyed.extend(obeyed);
            lines.append(&mut self.lines);
            self.lines = lines;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{directory::Folder, document::Remembered, orders::Given};

    fn document(name: &str) -> Document {
        let server = Remembered::new(name.to_owned(), [None, None, None], None, None);
        Document::new(None, vec![server])
    }

    #[test]
    fn the_last_document_is_there_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let mut writer = Writer::start(Arc::clone(&state)).unwrap();
        for number in 0..1000 {
            let _taken = writer.take(document(&number.to_string()));
        }
        writer.end_with(document("last"));
        let read = state.folder().read().unwrap().unwrap();
        assert_eq!(Document::decode(&read).unwrap(), document("last"));
    }

    #[test]
    fn every_line_is_written_in_its_order_however_slow_the_disk_is() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let mut writer = Writer::start(Arc::clone(&state)).unwrap();
        let numbers: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        for number in &numbers {
            writer.write_with_the_next(number.clone());
            assert!(writer.is_waited_for());
            let _taken = writer.take(document(number));
        }
        writer.end_with(document("last"));
        let text = std::fs::read_to_string(directory.path().join("journal.jsonl")).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), numbers);
    }

    #[test]
    fn lines_that_the_disk_does_not_take_are_written_when_it_does() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let file = directory.path().join("journal.jsonl");
        std::fs::create_dir(&file).unwrap();
        let mut writing = Writing::new(state);
        writing.write_lines(vec!["1".to_owned()]);
        assert!(writing.journal_trouble.is_some());
        writing.write_lines(vec!["2".to_owned()]);
        std::fs::remove_dir(&file).unwrap();
        writing.write_lines(Vec::new());
        assert_eq!(writing.journal_trouble, None);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "1\n2\n");
    }

    #[test]
    fn what_the_disk_did_not_take_is_written_though_nothing_else_happens() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let [file, new] = ["journal.jsonl", "servers.json.new"].map(|it| directory.path().join(it));
        std::fs::create_dir(&file).unwrap();
        std::fs::create_dir(&new).unwrap();
        let mut writing = Writing::new(Arc::clone(&state));
        writing.try_again_after = Duration::from_millis(1);
        let lines = vec!["1".to_owned()];
        writing.do_errand(Errand { document: document("x"), obeyed: Vec::new(), lines });
        let (errands, received) = mpsc::sync_channel(1);
        assert!(matches!(writing.wait(&received), Err(RecvTimeoutError::Timeout)), "not for ever");
        std::fs::remove_dir(&file).unwrap();
        std::fs::remove_dir(&new).unwrap();
        writing.try_again();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "1\n");
        let read = state.folder().read().unwrap().unwrap();
        assert_eq!(Document::decode(&read).unwrap(), document("x"));
        drop(errands);
        assert!(matches!(writing.wait(&received), Err(RecvTimeoutError::Disconnected)));
    }

    fn obeyed(state: &StateDirectory) -> (Given, Order) {
        let given = Given::give(state.folder(), "x").unwrap();
        let order = Order::take(state.folder()).0.pop().unwrap();
        (given, order)
    }

    #[test]
    fn who_is_told_that_a_server_is_forgotten_finds_it_written() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        let mut writer = Writer::start(Arc::clone(&state)).unwrap();
        let (given, order) = obeyed(&state);
        writer.answer_with_the_next(order);
        assert!(writer.is_waited_for());
        assert_eq!(given.answer().unwrap(), None, "nothing is written yet");
        writer.end_with(document("without x"));
        assert_eq!(given.answer().unwrap(), Some(Outcome::Forgotten));
        assert!(state.folder().read().unwrap().is_some());
    }

    #[test]
    fn who_waits_is_told_that_it_could_not_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Folder::open(directory.path()).unwrap().lock().unwrap());
        std::fs::create_dir(directory.path().join("servers.json.new")).unwrap();
        let (given, order) = obeyed(&state);
        let lines = |line: &str| vec![line.to_owned()];
        let first =
            Errand { document: document("older"), obeyed: vec![order], lines: lines("older") };
        let newer =
            Errand { document: document("newer"), obeyed: Vec::new(), lines: lines("newer") };
        let errand = newer.instead_of(Some(first));
        assert_eq!(errand.document, document("newer"));
        assert_eq!(errand.lines, ["older", "newer"]);
        Writing::new(state).do_errand(errand);
        assert!(matches!(given.answer().unwrap(), Some(Outcome::Unwritten(_))));
    }
}
