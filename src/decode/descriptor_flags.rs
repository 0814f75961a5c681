//! How a descriptor was opened: `flags` in `/proc/PID/fdinfo/N`, of which nothing else is wanted.

/// The name of the row.
const ROW: &[u8] = b"flags:";

/// Reads the flags of `open(2)`, which the kernel writes in octal; `None` if there are none.
#[must_use]
pub fn descriptor_flags(text: &[u8]) -> Option<u32> {
    let row = text.split(|byte| *byte == b'\n').find_map(|row| row.strip_prefix(ROW))?;
    let digits = row.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_log_are_read() {
        let text = b"pos:\t0\nflags:\t02102001\nmnt_id:\t29\nino:\t5\n";
        assert_eq!(descriptor_flags(text), Some(0o2_102_001));
        assert_eq!(descriptor_flags(b"flags:\t00"), Some(0));
    }

    #[test]
    fn what_is_no_number_of_eight_fingers_is_none() {
        for text in [
            "",
            "pos:\t0\n",
            "flags:",
            "flags:\t8",
            "flags:\t-1",
            "flags:\t+1",
            "flags:\t777777777777",
        ] {
            assert_eq!(descriptor_flags(text.as_bytes()), None, "{text}");
        }
    }
}
