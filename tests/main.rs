//! One integration crate: one link step.

mod http;
