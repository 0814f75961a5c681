//! The smallest, the emptiest and the most absurd scoreboards.

use gracekeeper::{
    decode::scoreboard::{Family, Refusal, could_be, decode, layout::Layout},
    model::scoreboard::ShowRequests,
};

use super::{
    read,
    synthesis::{Process, State, Synthesis},
};

fn server(layout: Layout, slots: &[(u32, i32)]) -> Synthesis {
    let child = |(slot, pid): &(u32, i32)| Process {
        slot: *slot,
        pid: *pid,
        state: State::Alive,
        generation: 2,
        quiescing: 0,
        not_accepting: 0,
        counts: [0; 7],
        workers: vec![2],
    };
    Synthesis {
        layout,
        server_limit: 16,
        thread_limit: 1,
        running_generation: 2,
        threaded: false,
        slots: slots.iter().map(child).collect(),
        daemons: Vec::new(),
    }
}

fn refusal(segment: &[u8]) -> Refusal {
    assert!(!could_be(segment.get(..64).unwrap_or(segment), segment.len() as u64));
    decode(segment, &Family::default(), Some(Layout::WithWaitIo), ShowRequests::Off).unwrap_err()
}

fn with(segment: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut segment = segment.to_vec();
    segment[at..at + bytes.len()].copy_from_slice(bytes);
    segment
}

#[test]
fn limits_that_httpd_does_not_have_are_no_scoreboards() {
    let segment = server(Layout::WithWaitIo, &[(1, 5_000)]).bytes();
    for (at, limit) in [(8, 0), (12, 0), (8, u32::MAX), (12, u32::MAX), (8, 200_001), (12, 100_001)]
    {
        let segment = with(&segment, at, &limit.to_le_bytes());
        assert!(matches!(refusal(&segment), Refusal::NoScoreboard { .. }), "{limit} at {at}");
    }
    // The equation holds for no slots at all.
    let segment = with(&with(&segment, 8, &0u32.to_le_bytes()), 0, &64u64.to_le_bytes());
    assert!(matches!(refusal(&segment), Refusal::NoScoreboard { .. }));
}

#[test]
fn a_size_that_is_not_there_is_refused() {
    let segment = server(Layout::Since2_4_25, &[(1, 5_000)]).bytes();
    let size = 8 + 24 + 16 * 40 + 16 * 264;
    assert_eq!(refusal(&segment[..31]), Refusal::TooShort { have: 31, need: 32 });
    assert_eq!(refusal(&[]), Refusal::TooShort { have: 0, need: 32 });
    let cut = &segment[..size - 1];
    assert_eq!(refusal(cut), Refusal::TooShort { have: 4_895, need: 4_896 });
    assert_eq!(refusal(cut).to_string(), "4895 bytes of a scoreboard of 4896");
    assert!(decode(&segment[..size], &Family::default(), None, ShowRequests::Off).is_ok());
    for size in [u64::MAX, 1 << 40, 0, 1] {
        let segment = with(&segment, 0, &size.to_le_bytes());
        assert!(matches!(refusal(&segment), Refusal::NoScoreboard { .. }), "{size}");
    }
    // The largest that httpd could make is 6.7 TB: its size fits, its bytes are not there.
    let largest = 8u64 + 56 + 200_000 * 40 + 200_000 * 100_000 * 336;
    let limits = [200_000u32.to_le_bytes(), 100_000u32.to_le_bytes()].concat();
    let segment = with(&with(&segment, 0, &largest.to_le_bytes()), 8, &limits);
    assert!(matches!(refusal(&segment), Refusal::TooShort { need, .. } if need == largest));
}

#[test]
fn a_scoreboard_that_is_just_being_made_is_refused() {
    let segment = server(Layout::Until2_4_17, &[]).bytes();
    for segment in [
        with(&segment, 24, &0i64.to_le_bytes()),
        with(&segment, 24, &i64::MAX.to_le_bytes()),
        with(&segment, 24, &(-1i64).to_le_bytes()),
        with(&segment, 16, &(-1i32).to_le_bytes()),
    ] {
        assert!(matches!(refusal(&segment), Refusal::Implausible { .. }));
    }
}

#[test]
fn a_mapping_much_larger_than_its_scoreboard_is_not_worth_decoding() {
    let segment = server(Layout::WithWaitIo, &[]).bytes();
    assert!(could_be(&segment[..32], 8_192));
    assert!(could_be(&segment, 65_536));
    assert!(!could_be(&segment, 1 << 20));
    assert!(!could_be(&segment, 4_096), "the mapping is shorter");
    assert!(!could_be(&segment[..31], 8_192));
}

#[test]
fn one_child_in_the_first_slot_is_read_and_proves_nothing() {
    for layout in [Layout::Since2_4_35, Layout::WithWaitIo] {
        let mut server = server(layout, &[(0, 5_000)]);
        let reading = read(&server.bytes(), &server.family(), None);
        assert_eq!(reading.scoreboard.slots, Some(server.records()));
        assert_eq!(reading.layout, None);
        server.daemons = vec![4_999];
        let reading = read(&server.bytes(), &server.family(), None);
        assert_eq!(reading.scoreboard.slots, Some(server.records()), "beside the cgid daemon");
        server.server_limit = 1;
        let reading = read(&server.bytes(), &server.family(), None);
        assert_eq!(reading.scoreboard.slots, Some(server.records()), "in the only slot");
    }
}

#[test]
fn one_child_anywhere_else_proves_its_layout() {
    for layout in Layout::ALL {
        for slot in 1..9 {
            let server = server(layout, &[(slot, 5_000)]);
            let reading = read(&server.bytes(), &server.family(), None);
            assert_eq!(reading.layout, Some(layout), "slot {slot}");
            assert_eq!(reading.scoreboard.slots, Some(server.records()));
        }
    }
}

#[test]
fn slots_where_both_strides_have_a_pid_are_told_apart_by_their_workers() {
    for (layout, slot) in [(Layout::Since2_4_35, 10), (Layout::WithWaitIo, 9)] {
        let server = server(layout, &[(slot, 5_000)]);
        let reading = read(&server.bytes(), &server.family(), None);
        assert_eq!(reading.layout, Some(layout));
        assert_eq!(reading.scoreboard.slots, Some(server.records()));
    }
}

#[test]
fn a_slot_of_nobody_in_the_family_proves_nothing() {
    let server = server(Layout::WithWaitIo, &[(1, 5_000), (2, 5_001)]);
    for family in [vec![], server.family()] {
        let mut family = family;
        for member in &mut family {
            member.may_be_worker = false;
        }
        let reading = read(&server.bytes(), &family, None);
        assert_eq!((reading.scoreboard.slots, reading.layout), (None, None));
        assert_eq!(reading.scoreboard.global.running_generation.number(), 2);
    }
}

#[test]
fn a_kept_layout_yields_to_the_process_table() {
    let server = server(Layout::WithWaitIo, &[(1, 5_000), (2, 5_001)]);
    let reading = read(&server.bytes(), &server.family(), Some(Layout::Since2_4_35));
    assert_eq!(reading.layout, Some(Layout::WithWaitIo));
    let reading = read(&server.bytes(), &[], Some(Layout::Until2_4_17));
    assert_eq!((reading.scoreboard.slots, reading.layout), (None, None), "another size");
}
