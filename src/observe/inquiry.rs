//! When httpd is asked about its configuration, and what it said last.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{
    asked::{Answer, AskError, Asked, Asker, Changes, ErrorLogPlace, Question},
    scoreboard::ScoreboardReader,
};
use crate::model::{
    build::HttpdBuild, process::ProcessId, settings::ServerSettings, source::Why, time::Moment,
};

/// A parent this young is still busy with its children. One that serves has read its configuration.
const STARTED_WITHIN: Duration = Duration::from_millis(300);
/// Where one parent follows another, not each is asked.
const PARENTS_APART: Duration = Duration::from_secs(1);
/// A configuration that somebody is writing changes all the time, and each question is a configtest.
const ASKED_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// The first change after a quiet time is asked about sooner; and what a restart reads may be what
/// holds it up.
const ASKED_IN_HASTE_EVERY: Duration = Duration::from_secs(1);
/// Why httpd does not answer may be mended without a trace.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(60);

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

/// Asks one server about itself.
#[derive(Debug)]
pub struct Inquiry {
    server: usize,
    calling: Calling,
    /// Of whom and when it was last asked.
    asked: Option<(ProcessId, Moment)>,
    /// How long after the one before.
    apart: Option<Duration>,
    /// No answer has come yet.
    open: bool,
    told: Option<Result<Option<ErrorLogPlace>, Why>>,
    changes: Option<Changes>,
    compared: Option<Moment>,
    /// Why it said nothing, in words.
    failure: Option<String>,
    /// No pass phrase is asked for through a pipe.
    has_no_pipe_dialog: bool,
    /// A restart is in progress.
    restarting: bool,
    /// The parent that told what it is made of.
    build: Option<(ProcessId, HttpdBuild)>,
    /// What the configuration on disk said, and the parent that was asked.
    settings: Option<(ProcessId, ServerSettings)>,
}

impl Inquiry {
    /// A server that was not asked; `server` is its number.
    #[must_use]
    pub const fn new(server: usize, calling: Calling) -> Self {
        Self {
            server,
            calling,
            asked: None,
            apart: None,
            open: false,
            told: None,
            changes: None,
            compared: None,
            failure: None,
            has_no_pipe_dialog: false,
            restarting: false,
            build: None,
            settings: None,
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

    /// Whether a restart is in progress.
    pub const fn note_restart(&mut self, restarting: bool) {
        self.restarting = restarting;
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
        *self = Self { told: Some(Err(Why::Permission)), ..Self::new(self.server, calling) };
    }

    /// Asks, if the parent is another one or its configuration has changed.
    pub fn tend(
        &mut self,
        at: Moment,
        parent: ProcessId,
        interval: Duration,
        asker: &Asker,
        scoreboards: &mut ScoreboardReader,
    ) {
        let young = at < self.asks_from(at, parent);
        let open = self.open && self.asked.is_some_and(|(whom, _)| whom == parent);
        if open || young || !self.is_due(at, parent, interval) {
            return;
        }
        self.apart = self.asked.map(|(_, asked)| at.since(asked));
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
        match said.result {
            Ok(Answer {
                error_log,
                pid_file,
                includes,
                has_no_pipe_dialog,
                settings,
                mut build,
                at,
                ..
            }) => {
                self.settings = settings.map(|settings| (said.parent, settings));
                self.has_no_pipe_dialog = has_no_pipe_dialog;
                build.openssl = self.build(said.parent).and_then(|build| build.openssl.clone());
                self.build = Some((said.parent, build));
                self.changes = Some(Changes::since(at.wall, &includes));
                self.told = Some(Ok(error_log));
                self.failure = None;
                Ok(pid_file)
            }
            Err(error) => {
                // What it was is not what is on disk now.
                self.settings = None;
                // A configuration that is broken is mended by another change.
                if let (Some(changes), Some((_, asked))) = (&mut self.changes, self.asked) {
                    changes.begin_anew(asked.wall);
                }
                if self.told.is_none() {
                    self.told = Some(Err(error.why()));
                }
                let words = error.to_string();
                let known = self.failure.replace(words.clone()) == Some(words);
                Err((!known).then_some(error))
            }
        }
    }

    fn is_due(&mut self, at: Moment, parent: ProcessId, interval: Duration) -> bool {
        let Some((whom, asked)) = self.asked else { return true };
        let waited = at.since(asked);
        if whom != parent {
            return true;
        }
        if self.failure.is_some() && waited >= TRIED_AGAIN_AFTER {
            return true;
        }
        let compared = self.compared.is_some_and(|last| at.since(last) < interval);
        let was_soon = self.apart.is_some_and(|apart| apart < ASKED_AT_MOST_EVERY);
        let hurries = self.restarting || !was_soon;
        let apart = if hurries { ASKED_IN_HASTE_EVERY } else { ASKED_AT_MOST_EVERY };
        if waited < apart || compared {
            return false;
        }
        self.compared = Some(at);
        self.changes.as_ref().is_some_and(Changes::have_come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock,
        model::{process::Pid, time::Uptime},
    };

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
            at,
        }
    }

    fn refusal(parent: ProcessId) -> Asked {
        Asked { server: 0, parent, result: Err(AskError::RelativeRoot) }
    }

    #[test]
    fn a_httpd_that_does_not_answer_is_asked_again_when_its_files_change_or_after_a_minute() {
        let (at, parent) = (clock::now(), parent(7));
        // It has changed while httpd was asked.
        let changed = tempfile::NamedTempFile::new().unwrap();
        for (files, again) in [(vec![changed.path().to_owned()], true), (Vec::new(), false)] {
            let mut inquiry = asked_of(parent, at);
            inquiry.changes = Some(Changes::since(at.wall, &files));
            assert!(matches!(inquiry.hear(refusal(parent)), Err(Some(_))), "news");
            let interval = Duration::from_secs(1);
            let mut is_due =
                |seconds| inquiry.is_due(at.after(Duration::from_secs(seconds)), parent, interval);
            assert_eq!((is_due(11), is_due(59)), (again, again));
            assert!(is_due(60));
            assert!(matches!(inquiry.hear(refusal(parent)), Err(None)), "the same again");
        }
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
        assert!(inquiry.hear(Asked { server: 0, parent: whom, result: Ok(told) }).is_ok());
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
        assert!(!inquiry.open && inquiry.is_due(at, parent, Duration::from_secs(1)));
    }
}
