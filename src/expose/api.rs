//! `/api/v1/status` and `/api/v1/events`: what is believed and what happened, as JSON.
//!
//! What is not known is absent.

use serde::{Serialize, Serializer};

use super::{
    drift::{self, ShownCertificate, ShownOwed},
    headroom::{self, ShownFit},
    last_restart::LastRestart,
    metrics::ServerView,
};
use crate::{
    model::{
        build::HttpdBuild,
        drift::CertificateSource,
        event::{FailureReason, RestartType},
        hang::{Dialog, HangCause},
        journal::{Origin, Outcome, rfc3339, seconds},
        scoreboard::Generation as Number,
        source::{Source, Why},
        straggler::StragglerCause,
        time::{Moment, Timestamp},
    },
    track::board::WorkerState,
};

/// Everything that is shown of one server.
#[derive(Clone, Debug)]
pub struct StatusView<'a> {
    /// What is believed.
    pub server: ServerView<'a>,
    /// The last restart that is over.
    pub last: Option<&'a LastRestart>,
    /// What the restart in progress waits for, if it hangs.
    pub hang: Option<HangCause>,
    /// Whom httpd asks for a pass phrase.
    pub dialog: Option<Dialog>,
    /// What an operator can do about sources that give nothing.
    pub mends: Vec<(Source, &'static str)>,
}

/// Renders the status of all servers. The bytes are empty only if a time is beyond the year 9999.
#[must_use]
pub fn status(looked_at: Moment, version: &str, servers: &[StatusView<'_>]) -> Vec<u8> {
    let servers = servers.iter().map(|view| server(view, looked_at)).collect();
    let own = Own { version, looked_at: At(looked_at.wall) };
    line(&Status { gracekeeper: own, servers })
}

/// Renders lines of the journal, the oldest first.
#[must_use]
pub fn events<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut text = "{\"events\":[".to_owned();
    for (index, line) in lines.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(line);
    }
    text.push_str("]}\n");
    text.into_bytes()
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    if !bytes.is_empty() {
        bytes.push(b'\n');
    }
    bytes
}

#[derive(Serialize)]
struct Status<'a> {
    gracekeeper: Own<'a>,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Own<'a> {
    version: &'a str,
    looked_at: At,
}

#[derive(Serialize)]
struct Server<'a> {
    #[serde(rename = "server")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mpm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i32>,
    restart: Restart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase_prompt: Option<Prompt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generations: Option<Vec<Generation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stragglers: Option<Vec<Straggler<'a>>>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    headroom: std::collections::BTreeMap<&'static str, ShownFit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owed: Option<Vec<ShownOwed>>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    certificates: std::collections::BTreeMap<CertificateSource, ShownCertificate>,
    sources: Vec<Witness>,
}

#[derive(Serialize)]
struct Parent {
    pid: i32,
    started_at: At,
}

#[derive(Serialize)]
struct Restart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    in_progress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hung: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<HangCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last<'a>>,
}

#[derive(Serialize)]
struct Last<'a> {
    r#type: RestartType,
    at: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    suspects: &'a [String],
}

#[derive(Serialize)]
struct Prompt {
    since: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialog: Option<Dialog>,
}

#[derive(Serialize)]
struct Generation {
    #[serde(rename = "generation")]
    number: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    draining_since: Option<At>,
    children: u32,
    workers: std::collections::BTreeMap<WorkerState, u32>,
}

#[derive(Serialize)]
struct Straggler<'a> {
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    cause: StragglerCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
}

#[derive(Serialize)]
struct Witness {
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

/// A time as the journal writes it.
pub(super) struct At(pub(super) Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        rfc3339::serialize(&self.0, to)
    }
}

fn server<'a>(view: &'a StatusView<'a>, now: Moment) -> Server<'a> {
    let it = view.server.assessment;
    let build = |part: fn(&HttpdBuild) -> &Option<String>| {
        view.server.build.and_then(|it| part(it).as_deref())
    };
    Server {
        name: view.server.name,
        up: it.up,
        serving: it.serving,
        mpm: build(|it| &it.mpm),
        version: build(|it| &it.version),
        parent: it
            .parent
            .map(|(id, started)| Parent { pid: id.pid.as_raw(), started_at: At(started.wall) }),
        generation: it.generation.map(Number::number),
        restart: restart(view),
        passphrase_prompt: it
            .prompt_since
            .map(|since| Prompt { since: At(since.wall), dialog: view.dialog }),
        generations: generations(view),
        stragglers: stragglers(view, now),
        headroom: headroom::shown(it),
        config_valid: it.drift.config_valid,
        owed: drift::owed(&it.drift),
        certificates: drift::certificates(&it.drift),
        sources: sources(view),
    }
}

fn restart<'a>(view: &'a StatusView<'a>) -> Restart<'a> {
    let it = view.server.assessment;
    let hung = it.restart_since.is_some() && it.restart_hung;
    Restart {
        in_progress: it.up.map(|_| it.restart_since.is_some()),
        since: it.restart_since.map(|since| At(since.wall)),
        hung: it.restart_since.map(|_| hung),
        cause: view.hang.filter(|_| hung),
        last: view.last.map(|last| Last {
            r#type: last.kind,
            at: At(last.at),
            duration_seconds: last.duration_seconds,
            outcome: last.outcome,
            reason: last.reason,
            origin: last.origin,
            suspects: &last.suspects,
        }),
    }
}

/// The running one first.
fn generations(view: &StatusView<'_>) -> Option<Vec<Generation>> {
    let it = view.server.assessment;
    let (board, drains) = (it.board.as_ref()?, it.drains.as_ref());
    let generations = board.generations.iter().rev().map(|(generation, shown)| Generation {
        number: generation.number(),
        draining_since: drains.and_then(|drains| drains.get(generation)).map(|at| At(at.wall)),
        children: shown.children,
        workers: shown.workers.clone(),
    });
    Some(generations.collect())
}

fn stragglers<'a>(view: &'a StatusView<'a>, now: Moment) -> Option<Vec<Straggler<'a>>> {
    let shown = view.server.assessment.stragglers.as_ref()?.iter().map(|it| Straggler {
        pid: it.id.pid.as_raw(),
        generation: it.generation.map(Number::number),
        age_seconds: it.since.map(|since| seconds::rounded(now.since(since).as_secs_f64())),
        cause: it.cause,
        request: it.request.as_deref(),
    });
    Some(shown.collect())
}

fn sources(view: &StatusView<'_>) -> Vec<Witness> {
    let states = view.server.assessment.sources.iter();
    let witnesses = states.map(|(source, state)| {
        let down = state.up == Some(false);
        let mend = view.mends.iter().find(|(it, _)| it == source);
        Witness {
            source: *source,
            up: state.up,
            reason: state.why.filter(|_| down),
            mend: mend.filter(|_| down).map(|(_, mend)| *mend),
        }
    });
    witnesses.collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        model::{
            process::{Pid, ProcessId},
            straggler::Straggler as Old,
            time::Uptime,
        },
        track::{
            assessment::ServerAssessment,
            board::{Board, GenerationUse},
            tally::Tally,
            witness::WitnessState,
        },
    };

    fn after(milliseconds: u64) -> Moment {
        let zero = Moment {
            uptime: Uptime::from_micros(900_000_000),
            wall: Timestamp::from_micros(1_795_343_532_000_000),
        };
        zero.after(Duration::from_millis(milliseconds))
    }

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: after(0).uptime }
    }

    fn view<'a>(assessment: &'a ServerAssessment, tally: &'a Tally) -> StatusView<'a> {
        StatusView {
            server: ServerView { name: "main", assessment, tally, build: None },
            last: None,
            hang: None,
            dialog: None,
            mends: Vec::new(),
        }
    }

    fn parsed(view: StatusView<'_>) -> Value {
        let bytes = status(after(13_000), "0.1.0", &[view]);
        assert!(bytes.ends_with(b"\n"));
        serde_json::from_slice(&bytes).unwrap()
    }

    fn board() -> Board {
        let of = |children, workers: &[(WorkerState, u32)]| GenerationUse {
            children,
            workers: workers.iter().copied().collect(),
        };
        let old = of(1, &[(WorkerState::Graceful, 1)]);
        let running = of(3, &[(WorkerState::Ready, 74), (WorkerState::Sending, 1)]);
        let generations = BTreeMap::from([(Number::new(0), old), (Number::new(1), running)]);
        Board { generations, ..Board::default() }
    }

    fn last_restart() -> LastRestart {
        LastRestart {
            kind: RestartType::Graceful,
            at: after(900).wall,
            outcome: Outcome::Resumed,
            duration_seconds: Some(0.054),
            origin: Some(Origin::Other),
            suspects: vec!["logrotate".to_owned()],
            reason: None,
        }
    }

    #[test]
    fn a_status_looks_as_the_contract_shows_it() {
        let straggler = Old {
            id: process(7502),
            generation: Some(Number::new(0)),
            since: Some(after(900)),
            cause: StragglerCause::Request,
            request: Some("GET /cgi/slow".to_owned()),
        };
        let witness = |up, why| WitnessState { up, why, ..WitnessState::default() };
        let assessment = ServerAssessment {
            up: Some(true),
            serving: Some(true),
            parent: Some((process(7467), after(0))),
            generation: Some(Number::new(1)),
            board: Some(board()),
            drains: Some(BTreeMap::from([(Number::new(0), after(900))])),
            stragglers: Some(vec![straggler]),
            sources: BTreeMap::from([
                (Source::Scoreboard, witness(Some(true), Some(Why::Missing))),
                (Source::ErrorLog, witness(Some(false), Some(Why::Permission))),
            ]),
            ..ServerAssessment::default()
        };
        let last = last_restart();
        let tally = Tally::default();
        let build = HttpdBuild {
            version: Some("2.4.71".to_owned()),
            mpm: Some("event".to_owned()),
            ..HttpdBuild::default()
        };
        let shown = parsed(StatusView {
            last: Some(&last),
            mends: vec![(Source::ErrorLog, "join adm")],
            server: ServerView { build: Some(&build), ..view(&assessment, &tally).server },
            ..view(&assessment, &tally)
        });
        let expected = json!({
            "gracekeeper": {"version": "0.1.0", "looked_at": "2026-11-22T10:32:25.000000Z"},
            "servers": [{"server": "main", "up": true, "serving": true, "mpm": "event",
                "version": "2.4.71",
                "parent": {"pid": 7467, "started_at": "2026-11-22T10:32:12.000000Z"},
                "generation": 1,
                "restart": {"in_progress": false, "last": {"type": "graceful",
                    "at": "2026-11-22T10:32:12.900000Z", "duration_seconds": 0.054,
                    "outcome": "resumed", "origin": "other", "suspects": ["logrotate"]}},
                "generations": [
                    {"generation": 1, "children": 3, "workers": {"ready": 74, "sending": 1}},
                    {"generation": 0, "draining_since": "2026-11-22T10:32:12.900000Z",
                        "children": 1, "workers": {"graceful": 1}}],
                "stragglers": [{"pid": 7502, "generation": 0, "age_seconds": 12.1,
                    "cause": "request", "request": "GET /cgi/slow"}],
                "sources": [
                    {"source": "scoreboard", "up": true},
                    {"source": "error_log", "up": false, "reason": "permission",
                        "mend": "join adm"}]}],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_not_known_is_absent_and_a_hang_is_told_with_its_cause() {
        let (nothing, tally) = (ServerAssessment::default(), Tally::default());
        let shown = parsed(view(&nothing, &tally));
        assert_eq!(shown["servers"], json!([{"server": "main", "restart": {}, "sources": []}]));
        let hangs = ServerAssessment {
            up: Some(true),
            restart_since: Some(after(1000)),
            restart_hung: true,
            prompt_since: Some(after(1001)),
            ..ServerAssessment::default()
        };
        let (hang, dialog) = (Some(HangCause::Passphrase), Some(Dialog::Exec));
        let shown = parsed(StatusView { hang, dialog, ..view(&hangs, &tally) });
        let restart = json!({"in_progress": true, "since": "2026-11-22T10:32:13.000000Z",
            "hung": true, "cause": "passphrase"});
        assert_eq!(shown["servers"][0]["restart"], restart);
        let prompt = json!({"since": "2026-11-22T10:32:13.001000Z", "dialog": "exec"});
        assert_eq!(shown["servers"][0]["passphrase_prompt"], prompt);
    }

    #[test]
    fn what_is_owed_is_told_with_the_restart_that_pays_it() {
        use crate::{
            model::{drift::Reason, files::Digest, tls::Certificate, tls::KeyAlgorithm},
            track::drift::{CertificateDates, Drift, Owed},
        };
        let most_urgent = Certificate {
            begins: after(1000).wall,
            ends: after(9000).wall,
            fingerprint: Digest::default(),
            algorithm: KeyAlgorithm::Ecdsa,
        };
        let dates = CertificateDates { most_urgent, earliest_end: after(8000).wall };
        let drift = Drift {
            owed: BTreeMap::from([
                (Reason::Config, Owed::Nothing),
                (Reason::Certificate, Owed::Since(Some(after(2000).wall))),
                (Reason::Limits, Owed::Since(None)),
            ]),
            config_valid: Some(true),
            certificates: BTreeMap::from([(CertificateSource::Served, dates)]),
            ..Drift::default()
        };
        let assessment = ServerAssessment { drift, ..ServerAssessment::default() };
        let tally = Tally::default();
        let shown = parsed(view(&assessment, &tally));
        let owed = json!([
            {"reason": "certificate", "since": "2026-11-22T10:32:14.000000Z", "kind": "graceful"},
            {"reason": "limits", "kind": "full"}]);
        assert_eq!(shown["servers"][0]["owed"], owed);
        assert_eq!(shown["servers"][0]["config_valid"], json!(true));
        let served = json!({"begins": "2026-11-22T10:32:13.000000Z",
            "ends": "2026-11-22T10:32:21.000000Z", "earliest_end": "2026-11-22T10:32:20.000000Z"});
        assert_eq!(shown["servers"][0]["certificates"], json!({"served": served}));
    }

    #[test]
    fn events_are_one_array_of_lines() {
        assert_eq!(events([].into_iter()), b"{\"events\":[]}\n");
        let two = events(["{\"a\":1}", "{\"b\":2}"].into_iter());
        assert_eq!(
            serde_json::from_slice::<Value>(&two).unwrap(),
            json!({"events": [{"a": 1}, {"b": 2}]})
        );
    }
}
