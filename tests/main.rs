//! One integration crate: one link step.
