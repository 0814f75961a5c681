//! What the fuzz target and `cargo test` do with one input: the same.

use gracekeeper::{
    decode::scoreboard::{Family, FamilyMember, could_be, decode, layout::Layout},
    model::{
        process::Pid,
        scoreboard::{ShowRequests, WorkerStatus},
    },
};

/// One byte: the layout kept; one byte: how many children; their pids, 4 bytes each; the segment.
pub(crate) fn run(input: &[u8]) {
    let [kept, children, rest @ ..] = input else {
        return;
    };
    let kept = Layout::ALL.get(usize::from(*kept)).copied();
    let children = (usize::from(*children) * 4).min(rest.len() / 4 * 4);
    let (pids, segment) = rest.split_at(children);
    let pids = pids.as_chunks().0.iter().map(|pid| i32::from_le_bytes(*pid));
    let member = |pid| FamilyMember { pid, alive: pid.as_raw() % 8 != 0, may_be_worker: true };
    let family: Vec<_> = pids.filter_map(Pid::new).map(member).collect();
    check(segment, &family, kept);
}

/// What holds of every reading, whatever the bytes.
pub(crate) fn check(segment: &[u8], family: &[FamilyMember], kept: Option<Layout>) {
    let decoded = decode(segment, &Family { httpd_children: family }, kept, ShowRequests::Path);
    if could_be(segment, segment.len() as u64) {
        assert!(decoded.is_ok(), "worth decoding: {decoded:?}");
    }
    let Ok(reading) = decoded else { return };
    let global = reading.scoreboard.global;
    assert!(global.running_generation.number() >= 0);
    let Some(slots) = reading.scoreboard.slots else {
        assert_eq!(reading.layout, None);
        return;
    };
    assert!(slots.is_sorted_by(|one, next| one.slot < next.slot));
    for record in &slots {
        assert!(record.slot.index() < global.server_limit);
        assert!((0..=global.running_generation.number()).contains(&record.generation.number()));
        let counted: u32 = record.workers.iter().map(|(_, count)| count).sum();
        assert!(counted as usize + record.workers_left.len() <= global.thread_limit as usize);
        assert!(record.workers.is_sorted_by(|(one, _), (next, _)| one < next));
        assert!(record.workers.iter().all(|(status, _)| *status != WorkerStatus::Dead));
        assert!(record.workers_left.is_sorted());
        assert!(record.begun.is_sorted() && record.untimed.is_sorted());
        assert!(record.begun.len() + record.untimed.len() <= counted as usize);
        let requests = record.predecessors.iter().map(|it| &it.request).chain([&record.request]);
        for text in requests.flatten() {
            assert!(text.len() <= 300 && !text.contains('?'), "{text}");
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        }
    }
    let times = |pid| slots.iter().filter(|record| record.pid == pid).count();
    assert!(family.iter().filter(|member| member.alive).all(|member| times(member.pid) <= 1));
    let any_found = family.iter().any(|member| times(member.pid) > 0);
    assert!(any_found || reading.layout.is_some_and(|layout| Some(layout) == kept));
}
