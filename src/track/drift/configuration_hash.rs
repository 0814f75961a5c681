//! A configuration as one number: the same content has the same on every host.

use crate::model::files::{Content, Digest, FileSightings};

/// Every number below this has its own double, as a metric's value is one.
const BITS: u32 = 52;
// FNV-1a of 64 bits: what goes into it is digests, which nobody can choose.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The number of what lies on disk: of the contents in httpd's order and of what the command line
/// says beside paths. `None` where a file cannot be read, or there is none.
pub(super) fn configuration_hash(files: &FileSightings) -> Option<u64> {
    let mut hash = folded(BASIS, files.list.told);
    for path in &files.list.configuration {
        match files.file(path)?.content {
            Content::Bytes(digest) => hash = folded(hash, digest),
            Content::Inode(..) | Content::Missing | Content::Unseen(_) => return None,
        }
    }
    let low = hash & ((1 << BITS) - 1);
    (!files.list.configuration.is_empty()).then_some(low ^ (hash >> BITS))
}

fn folded(hash: u64, digest: Digest) -> u64 {
    digest.0.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::model::{
        files::{FileList, FileSighting},
        source::Why,
        time::Timestamp,
    };

    fn files(folder: &str, told: u8, contents: &[Content]) -> FileSightings {
        let path = |number: usize| PathBuf::from(format!("{folder}/{number}.conf"));
        let changed = i64::try_from(folder.len()).ok().map(Timestamp::from_micros);
        let sighting = |content| FileSighting { content, changed, modified: changed };
        let list = FileList {
            configuration: (0..contents.len()).map(path).collect(),
            told: Digest([told; 16]),
            ..FileList::default()
        };
        let files = contents.iter().enumerate();
        let files = files.map(|(number, content)| (path(number), sighting(*content)));
        FileSightings { list: Arc::new(list), files: files.collect(), ..FileSightings::default() }
    }

    const fn bytes(number: u8) -> Content {
        Content::Bytes(Digest([number; 16]))
    }

    #[test]
    fn contents_and_their_order_and_the_command_line_make_the_number_and_no_path_or_time() {
        let of = |folder, told, contents: &[Content]| {
            configuration_hash(&files(folder, told, contents)).unwrap()
        };
        let one = of("/etc/httpd", 0, &[bytes(1), bytes(2)]);
        assert_eq!(one, of("/srv/other", 0, &[bytes(1), bytes(2)]));
        for other in [
            of("/etc/httpd", 0, &[bytes(2), bytes(1)]),
            of("/etc/httpd", 1, &[bytes(1), bytes(2)]),
            of("/etc/httpd", 0, &[bytes(1)]),
            of("/etc/httpd", 0, &[bytes(1), bytes(3)]),
        ] {
            assert_ne!(one, other);
            assert!(other < 1 << 52);
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_number() {
        for content in [
            Content::Missing,
            Content::Inode(Digest([1; 16]), Why::Limit),
            Content::Unseen(Why::Other),
        ] {
            assert_eq!(configuration_hash(&files("/etc", 0, &[bytes(1), content])), None);
        }
        assert_eq!(configuration_hash(&FileSightings::default()), None);
    }
}
