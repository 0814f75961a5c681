//! What Prometheus and people see, rendered from the latest assessment.

pub mod publication;
pub mod web_config;
