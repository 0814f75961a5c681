//! What holds of every scoreboard that httpd could write, and of any bytes at all.

use gracekeeper::decode::scoreboard::{Reading, could_be, layout::Layout};
use proptest::prelude::*;

use super::{
    read,
    synthesis::{State, Synthesis, servers},
};
use crate::fuzz_corpora::check;

fn is_never_wrong(server: &Synthesis) -> Option<Reading> {
    let segment = server.bytes();
    assert!(could_be(&segment[..64], segment.len() as u64));
    let family = server.family();
    check(&segment, &family, None);
    let reading = read(&segment, &family, None);
    assert_eq!(reading.scoreboard.global.running_generation.number(), server.running_generation);
    let slots = reading.scoreboard.slots.as_ref()?;
    assert_eq!(*slots, server.records(), "{server:?}");
    assert_eq!(reading.layout.unwrap_or(server.layout), server.layout, "{server:?}");
    Some(reading)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_is_read_exactly_or_not_at_all(server in servers(2_000i32..4_000_000)) {
        let reading = is_never_wrong(&server);
        // Slots 1 to 8 have a place of their own under every stride.
        let telling = server.slots.iter().any(|process| {
            process.state == State::Alive && (1..=8).contains(&process.slot)
        });
        prop_assert!(!telling || reading.is_some_and(|reading| reading.layout.is_some()), "{server:?}");
    }

    #[test]
    fn a_container_with_small_pids_is_read_exactly_or_not_at_all(server in servers(1i32..300)) {
        is_never_wrong(&server);
    }

    #[test]
    fn the_layout_once_proven_reads_every_moment(server in servers(1i32..4_000_000)) {
        let reading = read(&server.bytes(), &[], Some(server.layout));
        prop_assert_eq!(reading.scoreboard.slots, Some(server.records()));
    }

    #[test]
    fn damage_is_survived(
        server in servers(1i32..4_000_000),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
        length in any::<prop::sample::Index>(),
        kept in prop::option::of(prop::sample::select(Layout::ALL.as_slice())),
    ) {
        let mut segment = server.bytes();
        for (place, byte) in damage {
            let place = place.index(segment.len());
            segment[place] = byte;
        }
        check(&segment, &server.family(), kept);
        segment.truncate(length.index(segment.len()));
        check(&segment, &server.family(), kept);
    }

    #[test]
    fn any_bytes_are_survived(segment in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&segment, &[], None);
    }
}
