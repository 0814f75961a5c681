//! File systems whose changes the kernel does not hear of, because other hosts make them.

use std::path::Path;

use rustix::fs::statfs;

/// By the number that `statfs` gives, from the kernel's `magic.h`: whether the next host may write
/// there too.
const REMOTE: [u64; 14] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB 2
    0x6573_5546, // FUSE: sshfs, GlusterFS, s3fs
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x6b41_4653, // the kernel's own AFS
    0x00c3_6400, // Ceph
    0x7375_7245, // Coda
    0x564c,      // NCP
    0x0bd0_0bd0, // Lustre
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
];

/// Another host may write in this directory without that being heard here.
pub(super) fn is_remote(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|system| is_number_of_remote(system.f_type))
}

/// Architectures differ in how wide the number is, and in whether it has a sign.
fn is_number_of_remote(number: impl TryInto<i128>) -> bool {
    let Ok(number) = number.try_into() else { return false };
    REMOTE.iter().any(|remote| i128::from(*remote) == number & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_of_this_host_alone_is_not_remote() {
        assert!(!is_remote(Path::new("/proc")));
        assert!(!is_remote(Path::new("/nowhere")));
        assert!(is_number_of_remote(0x6969_i64));
        assert!(is_number_of_remote(-0x00ac_b2be_i32), "CIFS where numbers are narrow");
        assert!(!is_number_of_remote(0xef53_i64));
    }
}
