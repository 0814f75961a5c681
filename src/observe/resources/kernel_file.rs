//! Files of the kernel's, of whatever length.

use std::path::Path;

use crate::{
    model::source::Why,
    observe::{process_table::why, regular_file},
};

/// More than any of them is: 32 768 System V objects of some 130 bytes, or as many mounts.
const LONGEST: u64 = 8 << 20;

/// What such a file says; `Limit` if that is not all of it.
pub(super) fn content(path: &Path) -> Result<Vec<u8>, Why> {
    let read = regular_file::read(path, LONGEST).map_err(|error| why(&error))?;
    let (content, _) = read.ok_or(Why::Invalid)?;
    let length = u64::try_from(content.len()).map_err(|_| Why::Limit)?;
    if length < LONGEST { Ok(content) } else { Err(Why::Limit) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn what_is_too_long_is_not_cut_silently() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("mountinfo");
        fs::write(&path, vec![b'm'; 1 << 20]).unwrap();
        assert_eq!(content(&path).map(|content| content.len()), Ok(1 << 20));
        File::options().write(true).open(&path).unwrap().set_len(LONGEST).unwrap();
        assert_eq!(content(&path), Err(Why::Limit));
        assert_eq!(content(root.path()), Err(Why::Invalid));
        assert_eq!(content(&root.path().join("none")), Err(Why::Missing));
    }
}
