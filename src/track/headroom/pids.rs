//! Whether the processes and threads of a restart would fit.

use super::{LimitHeadroom, Plan};
use crate::model::headroom::Fit;

/// Whether there is room for those of the new generation, beyond those that end at once.
///
/// httpd replaces old children one for one as it reaps them, and makes the rest a second later, so
/// who leaves makes room.
#[must_use]
pub(super) fn pid_fit(plan: Option<Plan>, limits: &LimitHeadroom) -> Option<Fit> {
    let (plan, available) = (plan?, limits.pids?);
    // A child makes its workers by a thread that then ends (`start_threads`, event.c and worker.c).
    let starting = if plan.threads > 1 { plan.starts } else { 0 };
    let new = u64::from(plan.grows_to).saturating_mul(plan.threads.into());
    let needed = new.saturating_add(starting.into()).saturating_sub(plan.threads_freed.into());
    Some(Fit { needed, available })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(starts: u32, grows_to: u32, threads: u32, threads_freed: u32) -> u64 {
        let plan = Plan { starts, grows_to, threads, threads_freed, ..Plan::default() };
        let limits = LimitHeadroom { pids: Some(5), ..LimitHeadroom::default() };
        let fit = pid_fit(Some(plan), &limits).unwrap();
        assert_eq!((fit.available, fit.fits()), (5, fit.needed <= 5));
        fit.needed
    }

    #[test]
    fn threads_of_the_new_generation_need_room_beyond_those_that_end() {
        // Two requests in one of two children of event: of 15 tasks 5 are left, and then 14 come;
        // under a limit of 20, seen to fail, as the second child makes its workers by a thread.
        assert_eq!(needed(2, 2, 7, 10), 6);
        assert_eq!(needed(2, 2, 7, 14), 2, "idle");
        assert_eq!(needed(2, 2, 7, 0), 16, "nobody is idle");
        assert_eq!(needed(5, 5, 1, 8), 0, "prefork");
        assert_eq!(needed(5, 5, 1, 0), 5);
        assert_eq!(needed(u32::MAX, u32::MAX, u32::MAX, u32::MAX), u64::from(u32::MAX).pow(2));
    }

    #[test]
    fn without_a_plan_or_a_limit_nothing_is_told() {
        assert_eq!(pid_fit(Some(Plan::default()), &LimitHeadroom::default()), None);
        let limits = LimitHeadroom { pids: Some(5), ..LimitHeadroom::default() };
        assert_eq!(pid_fit(None, &limits), None);
    }
}
