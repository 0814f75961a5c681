//! Pure state machines: snapshots in, events out.
