//! What holds of whatever the kernel says of cgroups, whoever named them.

use gracekeeper::decode::{cgroup, number};

pub(crate) fn run(input: &[u8]) {
    for membership in cgroup::memberships(input) {
        let path = membership.path.as_os_str().as_encoded_bytes();
        assert!(path.starts_with(b"/") && !path.contains(&b'\n'));
        assert!(input.windows(path.len()).any(|window| window == path));
        assert!(!membership.is_unified() || !membership.has("memory"));
    }
    for mount in cgroup::cgroup_mounts(input) {
        let length = mount.root.as_os_str().len() + mount.point.as_os_str().len();
        assert!(length <= input.len(), "an escape is longer than what it means");
        assert!(!mount.is_unified() || !mount.has("memory"));
    }
    let limit = cgroup::limit(input);
    if let Some(number) = number::number(input) {
        assert!(limit.is_some_and(|limit| limit.is_none_or(|limit| limit == number)));
    }
    let holds = |number: Option<u64>| {
        let text = String::from_utf8_lossy(input);
        let digits = |number: u64| text.contains(number.to_string().trim_start_matches('0'));
        assert!(number.is_none_or(digits));
    };
    holds(cgroup::value(input, "oom_kill"));
    holds(cgroup::value(input, "MemAvailable:"));
    holds(cgroup::stalled(input));
}
