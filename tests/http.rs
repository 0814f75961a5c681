//! The HTTP server as its clients meet it: polite, clumsy and hostile ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod api;
mod client;
mod folder;
mod hostile;
mod routes;
mod served;
mod tls;
mod users;
