//! Headroom in the status: each resource with its figures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::api::At;
use crate::{
    model::headroom::{Fit, Resource},
    track::assessment::ServerAssessment,
};

/// One resource, with the figures that it was decided by.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ShownFit {
    /// Bytes of memory.
    Memory {
        fits: bool,
        forecast_bytes: u64,
        available_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sampled_at: Option<At>,
    },
    /// Bytes of `/dev/shm`.
    Shm { fits: bool, needed_bytes: u64, available_bytes: u64 },
    /// Slots: those that are free now, and those that a restart finds, because their children leave.
    Slots {
        fits: bool,
        needed: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        free: Option<u32>,
        available: u64,
    },
    /// Whatever else is counted.
    Counted { fits: bool, needed: u64, available: u64 },
}

/// Every resource that could be told.
pub(super) fn shown(it: &ServerAssessment) -> BTreeMap<&'static str, ShownFit> {
    let fits = it.headroom.fits.iter();
    fits.map(|(resource, fit)| (resource.label(), one(*resource, *fit, it))).collect()
}

fn one(resource: Resource, fit: Fit, it: &ServerAssessment) -> ShownFit {
    let (fits, Fit { needed, available }) = (fit.fits(), fit);
    match resource {
        Resource::Memory => ShownFit::Memory {
            fits,
            forecast_bytes: needed,
            available_bytes: available,
            sampled_at: it.headroom.memory.oldest.map(|at| At(at.wall)),
        },
        Resource::Shm => ShownFit::Shm { fits, needed_bytes: needed, available_bytes: available },
        Resource::Slots => {
            let free = it.board.as_ref().map(|board| board.slots.free);
            ShownFit::Slots { fits, needed, free, available }
        }
        Resource::Fds | Resource::Semaphores | Resource::Pids => {
            ShownFit::Counted { fits, needed, available }
        }
    }
}
