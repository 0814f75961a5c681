//! One integration crate: one link step.

mod fuzz_scoreboard;
mod scoreboard_dumps;
