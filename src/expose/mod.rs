//! What Prometheus and people see, rendered from the latest assessment.

pub mod catalogue;
pub mod metrics;
pub mod publication;
pub mod server;
pub mod web_config;
