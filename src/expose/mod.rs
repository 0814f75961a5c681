//! What Prometheus and people see, rendered from the latest assessment.

pub mod api;
pub mod catalogue;
mod drift;
mod headroom;
pub mod journal;
pub mod last_restart;
pub mod metrics;
pub mod publication;
pub mod server;
mod stragglers;
pub mod web_config;
