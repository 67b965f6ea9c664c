#![allow(unsafe_code)]
//! What the kernel knows of an open file, and of a file system. These calls read memory, not a
//! device, so they are made directly.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use super::path;
use crate::io::{Error, Result, Space};

/// Of an open file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    /// The major and minor number of the device that it lies on.
    pub(super) device: (u32, u32),
    pub(super) size_bytes: u64,
    /// What direct I/O must align memory and offsets to; zeros if the file refuses it, `None` if
    /// the kernel does not say (before Linux 6.1).
    pub(super) direct_io: Option<(usize, usize)>,
}

/// Asks about an open file.
pub(super) fn inspect(file: &OwnedFd) -> Result<Inode> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_SIZE | libc::STATX_DIOALIGN;
    // SAFETY: the path is an empty C string, and `answer` has the size that statx writes.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            wanted,
            answer.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: statx has succeeded and written it, and zeroes are a valid value of it anyway.
    let answer = unsafe { answer.assume_init() };
    let told = answer.stx_mask & libc::STATX_DIOALIGN != 0;
    let direct_io = (
        answer.stx_dio_mem_align as usize,
        answer.stx_dio_offset_align as usize,
    );
    Ok(Inode {
        device: (answer.stx_dev_major, answer.stx_dev_minor),
        size_bytes: answer.stx_size,
        direct_io: told.then_some(direct_io),
    })
}

/// The name of the file system that a path lies on, for an error message.
pub(super) fn file_system(of: &Path) -> String {
    let Ok(terminated) = path::terminated(path::parent(of)) else {
        return "unknown".to_owned();
    };
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a C string, and `answer` has the size that statfs writes.
    if unsafe { libc::statfs(terminated.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return "unknown".to_owned();
    }
    // SAFETY: statfs has succeeded and written it, and zeroes are a valid value of it anyway.
    let magic = unsafe { answer.assume_init() }.f_type as u64 & 0xffff_ffff;
    file_system_name(magic)
}

/// The kernel's `linux/magic.h`, as far as these are met in practice.
fn file_system_name(magic: u64) -> String {
    let name = match magic {
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlayfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "smb",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0xf15f => "ecryptfs",
        0x7371_7368 => "squashfs",
        0x9fa0 => "proc",
        other => return format!("type {other:#x}"),
    };
    name.to_owned()
}

/// How much a path's file system has room for. It may wait for a network file system.
pub(super) fn space(of: &Path) -> Result<Space> {
    let of = path::terminated(of)?;
    let mut answer = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is a C string, and `answer` has the size that statvfs writes.
    if unsafe { libc::statvfs(of.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: statvfs has succeeded and written it, and zeroes are a valid value of it anyway.
    let answer = unsafe { answer.assume_init() };
    Ok(Space {
        total_bytes: answer.f_blocks.saturating_mul(answer.f_frsize),
        available_bytes: answer.f_bavail.saturating_mul(answer.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_systems_name_is_known_or_its_number_is_shown() {
        assert_eq!(file_system(Path::new("/proc/version")), "proc");
        assert_eq!(file_system_name(0x1234), "type 0x1234");
    }
}
