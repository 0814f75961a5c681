//! What tells contents apart: the beginning of a SHA-256.

use ring::digest::{Context, SHA256};

use crate::model::files::Digest;

/// Of all these pieces, one after the other.
#[must_use]
pub fn digest<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let whole = context.finish();
    Digest(whole.as_ref().first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_beginning_of_a_sha_256() {
        // printf abc | sha256sum
        let abc = 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223_u128;
        assert_eq!(digest([b"a".as_slice(), b"bc"]), Digest(abc.to_be_bytes()));
        assert_ne!(digest([]), digest([b"a".as_slice()]));
    }
}
