//! When httpd is asked about its configuration, and what it said last.

mod allowance;
mod edition;
mod verdict;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use self::{
    allowance::Allowance,
    edition::{Edition, are_alike},
    verdict::again_after,
};
use super::{
    asked::{Answer, AskError, Asked, Asker, ErrorLogPlace, Question, Refused},
    main_configuration,
    process_table::ProcessTable,
    scoreboard::ScoreboardReader,
};
use crate::{
    clock,
    decode::command_line::command_line,
    model::{
        build::HttpdBuild,
        files::{FileList, FileSightings},
        process::ProcessId,
        settings::ServerSettings,
        source::Why,
        time::Moment,
        told::{Said, Told},
    },
};

/// A parent this young is still busy with its children. One that serves has read its configuration.
const STARTED_WITHIN: Duration = Duration::from_millis(300);
/// Where one parent follows another, not each is asked.
const PARENTS_APART: Duration = Duration::from_secs(1);
/// Why httpd does not answer may be mended without a trace.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What it finds wrong is rarely mended elsewhere than in its files: a directory that is missing.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What an operator told of how httpd is called; `None`: as the parent was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calling {
    /// The absolute path of the program.
    pub program: Option<PathBuf>,
    /// Its arguments, without `-t`.
    pub arguments: Option<Vec<OsString>>,
    /// The absolute path of the shell script that sets its environment.
    pub environment_file: Option<PathBuf>,
}

/// What an answer was about.
#[derive(Clone, Copy, Debug)]
struct Answered {
    edition: Edition,
}

/// What is watched of a server that may not be asked for its files: its main configuration, as its
/// command line has it.
#[must_use]
pub fn presumed(table: &ProcessTable, parent: ProcessId) -> Option<FileList> {
    let line = command_line(&table.command_line(parent.pid).ok()?);
    let configuration = vec![main_configuration::path(&line)?];
    Some(FileList { configuration, is_partial: true, ..FileList::default() })
}

/// Asks one server about itself.
#[derive(Debug)]
pub struct Inquiry {
    server: usize,
    calling: Calling,
    /// Of whom and when it was last asked.
    asked: Option<(ProcessId, Moment)>,
    allowance: Allowance,
    /// No answer has come yet.
    open: bool,
    told: Option<Result<Option<ErrorLogPlace>, Why>>,
    /// The files that are watched.
    files: Option<Arc<FileList>>,
    /// Programs and libraries that only the parent's mappings tell of.
    mapped: Arc<[PathBuf]>,
    /// As they were sighted last.
    edition: Option<Edition>,
    /// The edition that the last answer is about; `None` while that is not settled.
    answered: Option<Answered>,
    /// Whether httpd would read the configuration that it was asked about, and who was asked.
    valid: Option<(ProcessId, bool)>,
    /// What it said last of its configuration, and what of that was told.
    verdict: Option<Result<(), String>>,
    verdict_told: Option<Result<(), String>>,
    /// Why it said nothing, in words.
    failure: Option<String>,
    /// When it is asked again even if nothing changes.
    tried_again: Option<Moment>,
    /// No pass phrase is asked for through a pipe.
    has_no_pipe_dialog: bool,
    /// The parent that told what it is made of.
    build: Option<(ProcessId, HttpdBuild)>,
    /// What the configuration on disk said, and the parent that was asked.
    settings: Option<(ProcessId, ServerSettings)>,
    /// The last answer, or why there was none, and the parent that was asked.
    said: Option<(ProcessId, Said)>,
}

impl Inquiry {
    /// A server that was not asked; `server` is its number.
    #[must_use]
    pub fn new(server: usize, calling: Calling) -> Self {
        Self {
            server,
            calling,
            asked: None,
            allowance: Allowance::default(),
            open: false,
            told: None,
            files: None,
            mapped: Arc::default(),
            edition: None,
            answered: None,
            valid: None,
            verdict: None,
            verdict_told: None,
            failure: None,
            tried_again: None,
            has_no_pipe_dialog: false,
            build: None,
            settings: None,
            said: None,
        }
    }

    /// Another choice of the operator's: it is asked again.
    pub fn choose(&mut self, calling: &Calling) {
        if self.calling != *calling {
            self.calling.clone_from(calling);
            self.asked = None;
        }
    }

    /// What the configuration on disk says of children, listeners and logs, as this parent reads
    /// it; `None` while that is not known, as of one that cannot be read.
    #[must_use]
    pub fn settings(&self, parent: ProcessId) -> Option<&ServerSettings> {
        self.settings.as_ref().filter(|(whom, _)| *whom == parent).map(|(_, settings)| settings)
    }

    /// What this parent said when it was asked last, or in words why it did not; `None` before it
    /// was asked.
    #[must_use]
    pub fn said(&self, parent: ProcessId) -> Option<&Said> {
        self.said.as_ref().filter(|(whom, _)| *whom == parent).map(|(_, said)| said)
    }

    /// The files that are to be watched; `None` before httpd told of any.
    #[must_use]
    pub const fn files(&self) -> Option<&Arc<FileList>> {
        self.files.as_ref()
    }

    /// Takes a list of files where httpd did not tell of any.
    pub fn presume(&mut self, list: FileList) {
        if self.files.is_none() {
            self.watch(list);
        }
    }

    /// Takes what the parent has mapped: programs and libraries are watched too.
    pub fn note_mapped(&mut self, programs: Arc<[PathBuf]>) {
        if self.mapped != programs {
            self.mapped = programs;
            if let Some(list) = self.files.clone() {
                self.watch(FileList::clone(&list));
            }
        }
    }

    /// Takes what was sighted of the files.
    pub fn note_files(&mut self, sightings: &FileSightings) {
        if self.files.as_ref().is_some_and(|list| are_alike(list, &sightings.list)) {
            self.edition = Some(Edition::of(sightings));
            self.settle(clock::now());
        }
    }

    /// What httpd says of the configuration as it is on disk, if this parent was asked since it
    /// changed and all that httpd would read may be read.
    #[must_use]
    pub fn config_valid(&self, parent: ProcessId) -> Option<bool> {
        let (_, valid) = self.valid.filter(|(whom, _)| *whom == parent)?;
        let is_old = self.edition.is_some() && self.answered.is_none_or(|it| !self.is_of(&it));
        let hides = self.edition.is_some_and(|edition| edition.hides);
        (!is_old && (!valid || !hides)).then_some(valid)
    }

    /// The files are of this edition. Programs count where the same ones were looked at.
    fn is_of(&self, answered: &Answered) -> bool {
        let Some(edition) = self.edition else { return false };
        let programs = edition.programs == answered.edition.programs
            || edition.programs_listed != answered.edition.programs_listed;
        edition.digest == answered.edition.digest && programs
    }

    /// Whether the last answer is about the files as they are.
    fn settle(&mut self, now: Moment) {
        let (Some(edition), Some((_, asked))) = (self.edition, self.asked) else { return };
        if self.open {
            return;
        }
        match &mut self.answered {
            None if !edition.changed_between(asked.wall, now.wall) => {
                self.answered = Some(Answered { edition });
            }
            Some(answered) if answered.edition.programs_listed != edition.programs_listed => {
                // More of them are looked at than before.
                answered.edition.programs = edition.programs;
                answered.edition.programs_listed = edition.programs_listed;
            }
            Some(_) | None => {}
        }
    }

    /// Where httpd says that its error log is, or why it does not; `None` before it was asked.
    #[must_use]
    pub const fn error_log(&self) -> Option<&Result<Option<ErrorLogPlace>, Why>> {
        self.told.as_ref()
    }

    /// Whether its configuration, as it last answered, has no pass phrase dialog that is asked
    /// through a pipe. What came into it since then does not count.
    #[must_use]
    pub const fn has_no_pipe_dialog(&self) -> bool {
        self.has_no_pipe_dialog
    }

    /// What this parent is made of, if it told anything of that.
    #[must_use]
    pub fn build(&self, parent: ProcessId) -> Option<&HttpdBuild> {
        let told = self.build.as_ref().filter(|(whom, _)| *whom == parent);
        told.map(|(_, build)| build).filter(|build| **build != HttpdBuild::default())
    }

    /// This parent has not told yet what it is made of, and nothing is known that keeps it from it.
    #[must_use]
    pub fn may_tell(&self, parent: ProcessId) -> bool {
        self.failure.is_none() && self.build.as_ref().is_none_or(|(whom, _)| *whom != parent)
    }

    /// Takes what its `mod_status` says of the same.
    pub fn hear_tokens(&mut self, tokens: &str) {
        if let Some((_, build)) = &mut self.build {
            build.take_openssl(tokens);
        }
    }

    /// Nobody may be asked; once that is allowed again, it is as if nobody had been.
    pub fn forbid(&mut self) {
        let calling = std::mem::take(&mut self.calling);
        let files = self.files.take().map(|list| {
            // Others may have come since it was told.
            let is_known = list.is_partial;
            if is_known {
                list
            } else {
                Arc::new(FileList { is_partial: true, ..FileList::clone(&list) })
            }
        });
        let told = Some(Err(Why::Permission));
        let (mapped, edition) = (Arc::clone(&self.mapped), self.edition);
        *self = Self { told, files, mapped, edition, ..Self::new(self.server, calling) };
    }

    /// Asks, if the parent is another one or its configuration has changed.
    pub fn tend(
        &mut self,
        at: Moment,
        parent: ProcessId,
        asker: &Asker,
        scoreboards: &mut ScoreboardReader,
    ) {
        let young = at < self.asks_from(at, parent);
        let open = self.open && self.asked.is_some_and(|(whom, _)| whom == parent);
        if open || young || !self.is_due(at, parent) {
            return;
        }
        self.allowance.spend(at);
        self.asked = Some((parent, at));
        self.open = true;
        let Calling { program, arguments, environment_file } = self.calling.clone();
        // Where it is closed to the reading process too, the asker looks for a file.
        let environment = scoreboards.environment(parent).ok();
        let question = Question { parent, program, arguments, environment_file, environment };
        asker.ask(self.server, question);
    }

    /// From when on a parent may be asked that was not asked yet.
    #[must_use]
    pub fn asks_from(&self, at: Moment, parent: ProcessId) -> Moment {
        let grown = at.at_uptime(parent.started).after(STARTED_WITHIN);
        let before = self.asked.filter(|(whom, _)| *whom != parent);
        before.map_or(grown, |(_, asked)| grown.max(asked.after(PARENTS_APART)))
    }

    /// Takes an answer. The file of its pid is told if there is one, and why it does not answer if
    /// that is news.
    pub fn hear(&mut self, said: Asked) -> Result<Option<PathBuf>, Option<AskError>> {
        if self.asked.is_none_or(|(parent, _)| parent != said.parent) {
            // Of a parent that is gone, or of before it was forbidden.
            return Ok(None);
        }
        self.open = false;
        self.answered = None;
        let now = clock::now();
        self.allowance.rest(now, said.took);
        if self.was_overtaken(&said.result, now) {
            return Ok(None);
        }
        self.tried_again = None;
        match said.result {
            Ok(answer) => Ok(self.take(said.parent, answer, now)),
            Err(error) => {
                // What it was is not what is on disk now.
                self.settings = None;
                let is_verdict = self.refuse(said.parent, &error, now);
                if self.told.is_none() {
                    self.told = Some(Err(error.why()));
                }
                let words = error.to_string();
                self.said = Some((said.parent, Err(words.as_str().into())));
                let known = self.failure.replace(words.clone()) == Some(words);
                Err((!known && !is_verdict).then_some(error))
            }
        }
    }

    fn take(&mut self, parent: ProcessId, answer: Answer, now: Moment) -> Option<PathBuf> {
        let Answer { error_log, pid_file, has_no_pipe_dialog, settings, includes, .. } = answer;
        let Answer { mut build, files, refused, .. } = answer;
        let log = match &error_log {
            Some(ErrorLogPlace::File(path)) => Some(path.clone()),
            Some(ErrorLogPlace::Syslog | ErrorLogPlace::Pipe | ErrorLogPlace::Stream) | None => {
                None
            }
        };
        let told = Told { error_log: log, includes, settings: settings.clone() };
        self.said = Some((parent, Ok(Arc::new(told))));
        self.settings = settings.map(|settings| (parent, settings));
        self.has_no_pipe_dialog = has_no_pipe_dialog;
        build.openssl = self.build(parent).and_then(|build| build.openssl.clone());
        self.build = Some((parent, build));
        self.watch(files);
        match refused {
            None => self.decide(parent, Some(Ok(()))),
            Some(Refused { said, is_wrong }) => {
                self.decide(parent, is_wrong.then_some(Err(said)));
                self.tried_again = Some(again_after(now, is_wrong));
            }
        }
        self.told = Some(Ok(error_log));
        self.failure = None;
        pid_file
    }

    /// What was sighted of another list says nothing of this one.
    fn watch(&mut self, mut list: FileList) {
        let more = self.mapped.iter().filter(|path| !list.programs.contains(path)).cloned();
        let more: Vec<PathBuf> = more.collect();
        list.programs.extend(more);
        if self.files.as_ref().is_none_or(|known| !are_alike(known, &list)) {
            self.edition = None;
        }
        if self.files.as_deref() != Some(&list) {
            self.files = Some(Arc::new(list));
        }
    }

    fn is_due(&mut self, at: Moment, parent: ProcessId) -> bool {
        let Some((whom, _)) = self.asked else { return true };
        if whom != parent || self.tried_again.is_some_and(|due| at >= due) {
            return true;
        }
        self.settle(clock::now());
        let is_other = self.answered.is_none_or(|answered| !self.is_of(&answered));
        self.edition.is_some() && is_other && self.allowance.permits(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock,
        model::{
            files::{Content, Digest, FileSighting, Listing},
            process::Pid,
            time::{Timestamp, Uptime},
        },
    };

    const TOOK: Duration = Duration::from_millis(30);

    fn parent(number: i32) -> ProcessId {
        let pid = Pid::new(number).unwrap();
        ProcessId { pid, started: Uptime::from_micros(1) }
    }

    fn asked_of(parent: ProcessId, at: Moment) -> Inquiry {
        Inquiry { asked: Some((parent, at)), open: true, ..Inquiry::new(0, Calling::default()) }
    }

    fn answer(at: Moment) -> Answer {
        Answer {
            error_log: None,
            pid_file: None,
            server_root: None,
            includes: Vec::new(),
            includes_are_cut: false,
            has_no_pipe_dialog: false,
            settings: None,
            build: HttpdBuild::default(),
            refused: None,
            files: FileList {
                configuration: vec!["/x.conf".into()],
                patterns: vec!["/hidden/*.conf".into()],
                ..FileList::default()
            },
            at,
        }
    }

    /// What its files are, changed so long after the question.
    fn sightings(inquiry: &Inquiry, content: u8, changed: i64) -> FileSightings {
        let (_, asked) = inquiry.asked.unwrap();
        let changed = asked.wall.as_micros() + changed * 1_000_000;
        let file = FileSighting {
            content: Content::Bytes(Digest([content; 16])),
            changed: Some(Timestamp::from_micros(changed)),
            modified: None,
        };
        FileSightings {
            list: Arc::clone(inquiry.files().unwrap()),
            files: [("/x.conf".into(), file)].into(),
            ..FileSightings::default()
        }
    }

    fn answered(at: Moment, whom: ProcessId) -> Inquiry {
        let mut inquiry = asked_of(whom, at);
        let said = Asked { server: 0, parent: whom, result: Ok(answer(at)), took: TOOK };
        assert!(inquiry.hear(said).is_ok());
        inquiry
    }

    fn seconds(at: Moment, seconds: u64) -> Moment {
        at.after(Duration::from_secs(seconds))
    }

    fn wrong(parent: ProcessId) -> Asked {
        let error = AskError::Failed {
            program: "/httpd".into(),
            status: std::process::ExitStatus::default(),
            said: "Syntax error".to_owned(),
            is_wrong: true,
            included: vec!["/x.conf".into(), "/new.conf".into()],
        };
        Asked { server: 0, parent, result: Err(error), took: TOOK }
    }

    fn refusal(parent: ProcessId) -> Asked {
        Asked { server: 0, parent, result: Err(AskError::RelativeRoot), took: TOOK }
    }

    #[test]
    fn httpd_is_asked_once_of_each_edition_of_its_files() {
        let (at, whom) = (clock::now(), parent(7));
        let mut inquiry = answered(at, whom);
        assert!(!inquiry.is_due(seconds(at, 1), whom), "nothing was sighted yet");
        inquiry.note_files(&sightings(&inquiry, 1, -5));
        assert!(!inquiry.is_due(seconds(at, 2), whom), "it is what was asked about");
        inquiry.note_files(&sightings(&inquiry, 2, 3));
        assert!(inquiry.is_due(seconds(at, 3), whom));
        inquiry.note_files(&sightings(&inquiry, 1, 4));
        assert!(!inquiry.is_due(seconds(at, 4), whom), "taken back");
        let mut other = sightings(&inquiry, 2, 5);
        other.list = Arc::default();
        inquiry.note_files(&other);
        assert!(!inquiry.is_due(seconds(at, 5), whom), "of another list");
    }

    #[test]
    fn what_changed_while_httpd_was_asked_is_asked_about_again() {
        let (at, whom) = (clock::now(), parent(7));
        let mut inquiry = answered(at, whom);
        inquiry.note_files(&sightings(&inquiry, 1, 0));
        assert!(inquiry.is_due(seconds(at, 2), whom));
    }

    #[test]
    fn a_configuration_is_wrong_until_its_files_change() {
        let (at, whom) = (clock::now(), parent(7));
        let mut inquiry = answered(at, whom);
        assert_eq!(
            (inquiry.config_valid(whom), inquiry.config_valid(parent(8))),
            (Some(true), None)
        );
        inquiry.asked = Some((whom, at));
        assert_eq!(inquiry.verdict_news(), None, "nothing was ever wrong");
        assert!(matches!(inquiry.hear(wrong(whom)), Err(None)));
        assert_eq!(inquiry.verdict_news(), Some(Err("Syntax error".to_owned())));
        assert_eq!(inquiry.config_valid(whom), Some(false));
        let paths = ["/x.conf", "/new.conf"].map(PathBuf::from);
        assert_eq!(inquiry.files().unwrap().configuration, paths, "what broke it is watched");
        inquiry.note_files(&sightings(&inquiry, 2, -1));
        assert!(!inquiry.is_due(seconds(at, 300), whom));
        inquiry.note_files(&sightings(&inquiry, 1, 2));
        assert!(inquiry.is_due(seconds(at, 300), whom));
        inquiry.note_files(&sightings(&inquiry, 2, 3));
        assert!(!inquiry.is_due(seconds(at, 300), whom));
        assert!(inquiry.is_due(seconds(at, 601), whom), "what it needs may lie elsewhere");
        inquiry.asked = Some((whom, seconds(at, 900)));
        assert!(matches!(inquiry.hear(wrong(whom)), Err(None)));
        assert_eq!(inquiry.verdict_news(), None, "the same again");
        let said = Asked { server: 0, parent: whom, result: Ok(answer(at)), took: TOOK };
        assert!(inquiry.hear(said).is_ok());
        assert_eq!((inquiry.verdict_news(), inquiry.verdict_news()), (Some(Ok(())), None));
    }

    #[test]
    fn what_somebody_was_still_writing_is_no_verdict() {
        let (at, whom) = (clock::now(), parent(7));
        let mut inquiry = answered(at, whom);
        inquiry.note_files(&sightings(&inquiry, 1, -5));
        assert_eq!(inquiry.config_valid(whom), Some(true));
        inquiry.note_files(&sightings(&inquiry, 2, 0));
        assert!(matches!(inquiry.hear(wrong(whom)), Ok(None)), "it changed while it was read");
        assert_eq!((inquiry.verdict_news(), inquiry.config_valid(whom)), (None, None));
        assert!(inquiry.is_due(seconds(at, 60), whom));
    }

    #[test]
    fn what_a_configtest_refuses_is_invalid_although_it_could_be_read() {
        let (at, whom) = (clock::now(), parent(7));
        let refused = |is_wrong| Some(Refused { said: "empty".to_owned(), is_wrong });
        for (is_wrong, valid) in [(true, Some(false)), (false, None)] {
            let mut inquiry = asked_of(whom, at);
            let told = Answer { refused: refused(is_wrong), ..answer(at) };
            let said = Asked { server: 0, parent: whom, result: Ok(told), took: TOOK };
            assert!(inquiry.hear(said).is_ok());
            assert_eq!(inquiry.config_valid(whom), valid);
            assert_eq!(inquiry.verdict_news().is_some(), is_wrong);
        }
    }

    #[test]
    fn whether_it_is_valid_is_not_known_where_something_is_hidden_or_nobody_answers() {
        let (at, whom) = (clock::now(), parent(7));
        let mut inquiry = answered(at, whom);
        let mut hidden = sightings(&inquiry, 1, -5);
        let listing = Listing { content: Content::Unseen(Why::Permission), changed: None };
        hidden.listings.insert("/hidden/*.conf".into(), listing);
        inquiry.note_files(&sightings(&inquiry, 1, -5));
        assert_eq!(inquiry.config_valid(whom), Some(true));
        inquiry.note_files(&sightings(&inquiry, 2, -5));
        assert_eq!(inquiry.config_valid(whom), None, "it was not asked since");
        let mut inquiry = answered(at, whom);
        inquiry.note_files(&hidden);
        assert_eq!(inquiry.config_valid(whom), None);
        assert!(inquiry.hear(refusal(whom)).is_err());
        assert_eq!(inquiry.config_valid(whom), None);
        let again = inquiry.tried_again.unwrap();
        assert!(inquiry.is_due(again, whom) && !inquiry.is_due(at, whom));
    }

    #[test]
    fn what_is_mapped_is_watched_with_what_httpd_tells() {
        let mut inquiry = answered(clock::now(), parent(7));
        inquiry.note_files(&sightings(&inquiry, 1, -5));
        inquiry.note_mapped(Arc::from([PathBuf::from("/lib/x.so")]));
        assert_eq!(inquiry.files().unwrap().programs, [PathBuf::from("/lib/x.so")]);
        assert!(inquiry.edition.is_some(), "the configuration is the same");
        inquiry.forbid();
        inquiry.presume(FileList::default());
        let list = inquiry.files().unwrap();
        assert!(list.is_partial && list.configuration == ["/x.conf"].map(PathBuf::from));
    }

    #[test]
    fn a_parent_is_asked_soon_but_not_each_of_many() {
        let (at, inquiry) = (clock::now(), Inquiry::new(0, Calling::default()));
        let young = ProcessId { started: at.uptime, ..parent(7) };
        assert_eq!(inquiry.asks_from(at, young), at.after(STARTED_WITHIN));
        let inquiry = asked_of(parent(6), at);
        assert_eq!(inquiry.asks_from(at, young), at.after(PARENTS_APART));
    }

    #[test]
    fn an_answer_about_another_parent_is_not_taken() {
        let mut inquiry = asked_of(parent(7), clock::now());
        assert!(matches!(inquiry.hear(refusal(parent(6))), Ok(None)));
        assert!(inquiry.open && inquiry.error_log().is_none());
    }

    #[test]
    fn settings_are_of_one_parent_and_of_files_that_can_be_read() {
        let (at, whom) = (clock::now(), parent(7));
        let told = Answer { settings: Some(ServerSettings::default()), ..answer(at) };
        let mut inquiry = asked_of(whom, at);
        assert!(
            inquiry.hear(Asked { server: 0, parent: whom, result: Ok(told), took: TOOK }).is_ok()
        );
        assert_eq!(inquiry.settings(whom), Some(&ServerSettings::default()));
        assert_eq!(inquiry.settings(parent(8)), None, "it was not asked");
        assert!(inquiry.hear(refusal(whom)).is_err());
        assert_eq!(inquiry.settings(whom), None, "a line does not parse");
    }

    #[test]
    fn who_may_ask_again_asks_at_once() {
        let (at, parent) = (clock::now(), parent(7));
        let mut inquiry = asked_of(parent, at);
        inquiry.forbid();
        assert_eq!(inquiry.error_log(), Some(&Err(Why::Permission)));
        assert!(!inquiry.open && inquiry.is_due(at, parent));
    }
}
