//! Headroom, as metrics.

use super::{Page, truth};
use crate::{
    expose::catalogue::{self, Metric},
    model::headroom::Pressure,
    track::headroom::{Headroom, LimitHeadroom, ListenerHeadroom},
};

/// Everything that is known of it.
pub(super) fn headroom(page: &mut Page, name: &str, it: &Headroom) {
    for (role, memory) in &it.memory.by_role {
        let labels = [name, role.label()];
        page.gauge(&catalogue::MEMORY_PSS, &labels, Some(bytes(memory.pss)));
        page.gauge(&catalogue::MEMORY_PRIVATE, &labels, Some(bytes(memory.private)));
        page.gauge(&catalogue::SWAP, &labels, Some(bytes(memory.swap)));
    }
    for (role, open) in &it.descriptors.open {
        page.gauge(&catalogue::OPEN_FDS, &[name, role.label()], Some(bytes(*open)));
    }
    let mut gauge = |metric: &Metric, value: Option<f64>| page.gauge(metric, &[name], value);
    gauge(&catalogue::MEMORY_FORECAST, it.restart.memory.map(bytes));
    gauge(&catalogue::MEMORY_PEAK, it.restart.memory_peak.map(bytes));
    gauge(&catalogue::PEAK_CHILD_STARTS, it.restart.peak_child_starts.map(f64::from));
    gauge(&catalogue::MAX_FDS, it.descriptors.lowest_limit.map(bytes));
    gauge(&catalogue::FD_USAGE, it.descriptors.worst_ratio);
    gauge(&catalogue::SEMAPHORES_LIMIT, it.ipc.semaphores_limit.map(bytes));
    for (owner, count) in &it.ipc.semaphores {
        page.gauge(&catalogue::SEMAPHORES, &[name, owner.label()], Some(bytes(*count)));
    }
    for (owner, count) in &it.ipc.shm {
        page.gauge(&catalogue::SHM_SEGMENTS, &[name, owner.label()], Some(bytes(*count)));
    }
    for (resource, fit) in &it.fits {
        page.gauge(&catalogue::FITS, &[name, resource.label()], Some(truth(fit.fits())));
    }
    limits(page, name, &it.limits);
    listeners(page, name, &it.listeners);
}

fn limits(page: &mut Page, name: &str, it: &LimitHeadroom) {
    page.gauge(&catalogue::MEMORY_HEADROOM, &[name, "host"], it.host_memory.map(bytes));
    page.gauge(&catalogue::MEMORY_HEADROOM, &[name, "cgroup"], it.cgroup_memory.map(bytes));
    page.counter(&catalogue::OOM_KILLS, &[name], it.oom_kills.unwrap_or(0));
    for resource in Pressure::ALL {
        let stalled = it.pressure.get(resource).copied().unwrap_or_default().as_secs_f64();
        page.seconds(&catalogue::PRESSURE, &[name, resource.label()], stalled);
    }
    let celsius = it.peak_temperature.map(|it| bytes(it.unsigned_abs()).copysign(sign(it)) / 1e3);
    page.gauge(&catalogue::PEAK_TEMPERATURE, &[name], celsius);
}

fn listeners(page: &mut Page, name: &str, it: &ListenerHeadroom) {
    page.gauge(&catalogue::LISTENERS, &[name], it.count.map(f64::from));
    page.counter(&catalogue::LISTENERS_REPLACED, &[name], it.replaced);
    for (listener, queue) in &it.queues {
        page.gauge(&catalogue::QUEUE_LENGTH, &[name, listener], Some(bytes(queue.length)));
        page.gauge(&catalogue::QUEUE_LIMIT, &[name, listener], Some(bytes(queue.limit)));
    }
    for (listener, drops) in &it.drops {
        page.counter(&catalogue::LISTENER_DROPS, &[name, listener], *drops);
    }
    page.gauge(&catalogue::PEAK_QUEUE, &[name], it.restart_peak_queue.map(f64::from));
}

const fn sign(value: i64) -> f64 {
    if value < 0 { -1.0 } else { 1.0 }
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 bytes of memory")]
const fn bytes(value: u64) -> f64 {
    value as f64
}
