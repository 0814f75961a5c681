//! How many things there are, as what is shown counts them.

/// A length; of more than fit, as many as fit.
pub(super) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
