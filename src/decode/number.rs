//! Files that hold one number, as `/proc/sys/kernel/shmmni` and most of a cgroup's.

/// The number; `None` if it is not one of 64 bits without a sign.
#[must_use]
pub fn number(content: &[u8]) -> Option<u64> {
    std::str::from_utf8(content).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_and_nothing_else_is_read() {
        assert_eq!(number(b"18446744073692774399\n"), Some(18_446_744_073_692_774_399));
        for other in
            [&b""[..], b"\n", b"max\n", b"-5\n", b"1 2\n", b"18446744073709551616", b"\xff"]
        {
            assert_eq!(number(other), None, "{other:?}");
        }
    }
}
