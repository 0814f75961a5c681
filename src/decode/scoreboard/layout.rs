//! Where each httpd release keeps what in its scoreboard, on 64-bit little-endian Linux.

use serde::{Deserialize, Serialize};

/// The layout of a scoreboard, named after the releases of httpd that write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Up to 2.4.17, as in Red Hat Enterprise Linux 7.
    Until2_4_17,
    /// 2.4.18 to 2.4.24: `process_score.bucket`.
    Since2_4_18,
    /// 2.4.25 to 2.4.34: `worker_score.protocol`.
    Since2_4_25,
    /// About 2.4.35 to 2.4.62: `global_score.times`, `worker_score.duration` and `client64`.
    Since2_4_35,
    /// The releases after that: `process_score.wait_io`.
    WithWaitIo,
}

/// The sizes that make up a layout, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Of `global_score`.
    pub(super) global: u64,
    /// From one `process_score` to the next: `sizeof(process_score)`.
    pub(super) stride: u64,
    /// What is reserved for a `process_score`: its size rounded up to 8, as `scoreboard.c` does.
    pub(super) room: u64,
    /// Of `worker_score`.
    pub(super) worker: u64,
}

/// APR keeps the size of a shared segment in front of it.
pub(super) const APR_HEADER: u64 = 8;

impl Layout {
    /// Every known layout.
    pub const ALL: [Self; 5] = [
        Self::Until2_4_17,
        Self::Since2_4_18,
        Self::Since2_4_25,
        Self::Since2_4_35,
        Self::WithWaitIo,
    ];

    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::Until2_4_17 => Shape { global: 24, stride: 32, room: 32, worker: 248 },
            Self::Since2_4_18 => Shape { global: 24, stride: 36, room: 40, worker: 248 },
            Self::Since2_4_25 => Shape { global: 24, stride: 36, room: 40, worker: 264 },
            Self::Since2_4_35 => Shape { global: 56, stride: 36, room: 40, worker: 336 },
            Self::WithWaitIo => Shape { global: 56, stride: 40, room: 40, worker: 336 },
        }
    }
}

impl Shape {
    /// The size of a segment with these limits, as its first word says it.
    pub(super) fn segment_size(self, server_limit: u32, thread_limit: u32) -> Option<u64> {
        let slots = u64::from(server_limit);
        let workers = slots.checked_mul(u64::from(thread_limit))?;
        let slots = slots.checked_mul(self.room)?;
        let workers = workers.checked_mul(self.worker)?;
        APR_HEADER.checked_add(self.global)?.checked_add(slots)?.checked_add(workers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_those_that_were_seen() {
        assert_eq!(Layout::Until2_4_17.shape().segment_size(8, 5), Some(10_208), "2.4.6, event");
        assert_eq!(Layout::Until2_4_17.shape().segment_size(8, 1), Some(2_272), "2.4.6, prefork");
        assert_eq!(Layout::Since2_4_35.shape().segment_size(8, 5), Some(13_824), "2.4.37, event");
        assert_eq!(Layout::WithWaitIo.shape().segment_size(8, 5), Some(13_824), "2.4.71, event");
    }

    proptest! {
        /// Releases only ever added fields, so that each layout of other sizes is longer than the
        /// one before, whatever the limits: the size leaves nothing open but the stride.
        #[test]
        fn only_the_stride_is_left_open_by_the_size(slots in 1u32..=200_000, threads in 1u32..=100_000) {
            for pair in Layout::ALL.windows(2) {
                let [older, newer] = [pair[0].shape(), pair[1].shape()];
                let sizes = [older, newer].map(|shape| shape.segment_size(slots, threads));
                let same = Shape { stride: newer.stride, ..older } == newer;
                prop_assert_eq!(sizes[0] == sizes[1], same);
                prop_assert!(sizes[0] <= sizes[1]);
            }
        }
    }
}
