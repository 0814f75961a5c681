//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Finding, Verdict,
    callers::{Call, Callers},
    sources::SourceReport,
};

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Who looked: another user may see less or more.
    pub user: String,
    /// Each server, in the order in which it was found.
    pub servers: Vec<ServerReport>,
    /// Who would restart httpd; absent if nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<Callers>,
}

/// What was found of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    /// Its name.
    pub server: String,
    /// It is up; absent where that cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Its parent's process number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its MPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpm: Option<String>,
    /// Its sources.
    pub sources: Vec<SourceReport>,
    /// Why it tells so little, while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is around it; empty while it is down.
    pub hygiene: Vec<Finding>,
}

const GREEN: u8 = 32;
const YELLOW: u8 = 33;

/// The report for people, coloured if a terminal is told to show colours.
#[must_use]
pub fn table(report: &Report, is_coloured: bool) -> String {
    let mut page = Page { text: String::new(), is_coloured };
    if report.servers.is_empty() {
        let user = &report.user;
        page.line(&format!(
            "no httpd was found, seen by {user}: none runs in this PID namespace, or it is hidden"
        ));
    }
    for server in &report.servers {
        page.server(server, &report.user);
    }
    if let Some(callers) = &report.callers {
        page.callers(callers);
    }
    page.text
}

/// The report as one JSON document, with its line feed.
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

struct Page {
    text: String,
    is_coloured: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A word of a column, padded outside of its colour.
    fn word(&self, word: &str, width: usize, colour: u8) -> String {
        let padded = format!("{word:<width$}");
        if self.is_coloured { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded }
    }

    fn server(&mut self, server: &ServerReport, user: &str) {
        let state = match server.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "not seen",
        };
        let pid = server.pid.map(|pid| format!("pid {pid}"));
        let version = server.version.as_ref().map(|version| format!("httpd {version}"));
        let words = [Some(state.to_owned()), pid, version, server.mpm.clone()];
        let words: Vec<String> = words.into_iter().flatten().collect();
        self.line(&format!("{}: {}; seen by {user}", server.server, words.join(", ")));
        self.line("");
        self.line("  SOURCE         ANSWER      WITHOUT IT IS NOT KNOWN");
        for source in &server.sources {
            self.source(source);
        }
        if let Some(note) = &server.note {
            self.line(&format!("  ({note})"));
        }
        if !server.hygiene.is_empty() {
            self.line("");
            self.line("  VERDICT  CHECK           OF WHAT: CAUSE");
        }
        for finding in &server.hygiene {
            self.finding(finding);
        }
        self.line("");
    }

    fn source(&mut self, source: &SourceReport) {
        let (word, colour) = match (source.up, source.reason) {
            (Some(true), _) => ("yes", GREEN),
            (Some(false), Some(why)) => (why.label(), YELLOW),
            (Some(false), None) => ("no", YELLOW),
            (None, _) if source.note.is_some() => ("not asked", 0),
            (None, _) => ("-", 0),
        };
        let word = self.word(word, 10, colour);
        self.line(&format!("  {:<13}  {word}  {}", source.source.label(), source.lost));
        if let Some(note) = source.note {
            self.line(&format!("{:29}{note}", ""));
        }
        if let Some(mend) = &source.mend {
            self.line(&format!("{:29}mend: {mend}", ""));
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let colour = match finding.verdict {
            Verdict::Ok => GREEN,
            Verdict::Warning => YELLOW,
            Verdict::Unknown => 0,
        };
        let word = self.word(finding.verdict.label(), 7, colour);
        let Finding { check, thing, cause, mend, .. } = finding;
        self.line(&format!("  {word}  {:<14}  {thing}: {cause}", check.label()));
        if let Some(mend) = mend {
            self.line(&format!("{:27}mend: {mend}", ""));
        }
    }

    fn callers(&mut self, callers: &Callers) {
        let (graceful, harsh): (Vec<&Call>, Vec<&Call>) =
            callers.found.iter().partition(|call| call.is_graceful());
        let files = callers.files;
        let mut head = format!("What would restart httpd hard or stop it, of {files} files:");
        if harsh.is_empty() {
            head = format!("Nothing in {files} files would restart httpd hard or stop it");
        }
        self.line(&format!("{head} ({} graceful ones are not listed)", graceful.len()));
        for call in harsh {
            let word = self.word(call.does, 12, YELLOW);
            self.line(&format!("  {word}  {}:{}: {}", call.file, call.line, call.command));
            if let Some(instead) = &call.instead {
                self.line(&format!("{:16}instead: {instead}", ""));
            }
        }
        for left in &callers.left_out {
            let _ = writeln!(self.text, "  not shown     {}: {} more", left.file, left.commands);
        }
        for unread in &callers.unread {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "  not read      {}: {}", unread.file, unread.cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Check, callers::LeftOut, sources::not_asked},
        model::source::{Source, Why},
    };

    fn report() -> Report {
        let source = |source, up, reason, mend: Option<&str>| SourceReport {
            source,
            up,
            reason,
            lost: "much",
            mend: mend.map(str::to_owned),
            note: None,
        };
        Report {
            user: "nobody".to_owned(),
            servers: vec![ServerReport {
                server: "shop".to_owned(),
                up: Some(true),
                pid: Some(7),
                version: Some("2.4.71".to_owned()),
                mpm: Some("event".to_owned()),
                sources: vec![
                    source(Source::ProcessTable, Some(true), None, None),
                    source(Source::Scoreboard, Some(false), Some(Why::Permission), Some("do it")),
                    not_asked(Source::TlsProbe),
                ],
                note: None,
                hygiene: vec![
                    Check::Paths.ok("9 files", "fine"),
                    Check::ListenBacklog.warning("ListenBacklog 511", "too few", "sysctl"),
                ],
            }],
            callers: Some(Callers {
                files: 2,
                found: vec![Call {
                    file: "/etc/crontab".to_owned(),
                    line: 3,
                    does: "full restart",
                    command: "systemctl restart apache2".to_owned(),
                    instead: Some("systemctl reload apache2".to_owned()),
                }],
                left_out: vec![LeftOut { file: "/etc/x".to_owned(), commands: 9 }],
                unread: Vec::new(),
            }),
        }
    }

    #[test]
    fn a_table_is_aligned_and_names_what_mends() {
        let expected = "shop: up, pid 7, httpd 2.4.71, event; seen by nobody\n\n\
            \x20 SOURCE         ANSWER      WITHOUT IT IS NOT KNOWN\n\
            \x20 process_table  yes         much\n\
            \x20 scoreboard     permission  much\n\
            \x20                            mend: do it\n\
            \x20 tls_probe      not asked   which certificates are really served\n\
            \x20                            not asked here: `gracekeeper run` does it\n\n\
            \x20 VERDICT  CHECK           OF WHAT: CAUSE\n\
            \x20 ok       paths           9 files: fine\n\
            \x20 warning  listen_backlog  ListenBacklog 511: too few\n\
            \x20                          mend: sysctl\n\n\
            What would restart httpd hard or stop it, of 2 files: (0 graceful ones are not listed)\n\
            \x20 full restart  /etc/crontab:3: systemctl restart apache2\n\
            \x20               instead: systemctl reload apache2\n\
            \x20 not shown     /etc/x: 9 more\n";
        assert_eq!(table(&report(), false), expected);
        assert!(table(&report(), true).contains("\x1b[33mpermission\x1b[0m  much"));
    }

    #[test]
    fn a_server_that_is_down_has_a_line_that_says_why_nothing_is_known() {
        let mut down = report();
        down.servers[0].up = Some(false);
        down.servers[0].note = Some("start it".to_owned());
        let text = table(&down, false);
        assert!(text.contains("run` does it\n  (start it)\n\n"), "{text}");
        assert!(json(&down).unwrap().contains("\"note\": \"start it\""));
    }

    #[test]
    fn nobody_is_said_to_be_found() {
        let nothing = Report { servers: Vec::new(), callers: None, ..report() };
        assert!(table(&nothing, false).starts_with("no httpd was found, seen by nobody"));
        assert_eq!(json(&nothing).unwrap(), "{\n  \"user\": \"nobody\",\n  \"servers\": []\n}\n");
    }
}
