//! What holds of whatever lies in the state directory: it is refused, or it is taken up by a
//! tracker that then looks at a server that is not there, and at nothing it is surprised.

use std::time::Duration;

use gracekeeper::{
    model::{
        snapshot::ServerSnapshot,
        time::{Moment, Timestamp, Uptime},
    },
    state::document::Document,
    track::{server::ServerTracker, tally::Tally},
};

pub(crate) fn run(input: &[u8]) {
    let Ok(document) = Document::decode(input) else { return };
    let written = document.encode().unwrap();
    assert_eq!(Document::decode(&written).unwrap(), document);
    let at = Moment {
        uptime: Uptime::from_micros(10_000_000_000),
        wall: Timestamp::from_micros(1_800_000_000_000_000),
    };
    for server in document.into_servers(None) {
        assert_eq!(server.memory.life, None, "nobody knows where that was");
    }
    // As if it were of this boot.
    let Ok(document) = Document::decode(&written) else { return };
    for memory in document.memories() {
        let mut tracker = ServerTracker::restored(Duration::from_secs(60), memory, at);
        let mut tally = Tally::restored(&memory.last);
        let nobody = ServerSnapshot {
            at,
            traces: Vec::new(),
            parent: None,
            hidden: None,
            starting: None,
            log: None,
            status: None,
            orphans: Vec::new(),
            statuses: Vec::new(),
            pid_file_left: false,
            resources: gracekeeper::model::resources::Resources::default(),
            drift: gracekeeper::model::drift::DriftSample::default(),
        };
        for event in tracker.observe(&nobody) {
            tally.count(&event);
        }
        assert_eq!(tracker.assessment().up, Some(false));
        assert!(tracker.observe(&nobody).is_empty(), "told twice");
        let _ = tracker.next_deadline();
        let again = tracker.remember(at, &tally);
        assert!(ServerTracker::restored(Duration::ZERO, &again, at).remember(at, &tally) == again);
    }
}
