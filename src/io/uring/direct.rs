//! What direct I/O asks of a file, and of each operation on it.

use std::path::Path;

use super::inode::{self, Inode};
use crate::io::{Error, ErrorKind, Result};
use crate::limits::IO_ALIGNMENT_BYTES;

/// What direct I/O on this file must be a multiple of; `None` if the file refuses it. A kernel
/// before 6.1 does not say, and then the device's logical block is what the file systems ask for.
pub(super) fn alignment(inode: &Inode, logical_block_bytes: Option<usize>) -> Option<usize> {
    let (memory, offset) = match inode.direct_io {
        Some(told) => told,
        None => {
            let block = logical_block_bytes.unwrap_or(IO_ALIGNMENT_BYTES);
            (block, block)
        }
    };
    let alignment = memory.max(offset);
    let usable = memory > 0 && offset > 0 && alignment.is_power_of_two();
    (usable && alignment <= IO_ALIGNMENT_BYTES).then_some(alignment)
}

/// `InvalidInput` unless memory, length and offset are multiples of the file's alignment.
pub(super) fn check(block: usize, bytes: &[u8], offset: u64) -> Result<()> {
    let (address, length) = (bytes.as_ptr() as usize, bytes.len());
    let named = [
        // An empty slice may have any address.
        ("address", length == 0 || address.is_multiple_of(block)),
        ("length", length.is_multiple_of(block)),
        ("offset", offset.is_multiple_of(block as u64)),
    ];
    match named.into_iter().find(|(_, aligned)| !aligned) {
        None => Ok(()),
        Some((name, _)) => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the {name} is not a multiple of the file's alignment, {block} bytes"),
        )),
    }
}

/// The error for a file that cannot be used with direct I/O.
pub(super) fn refusal(path: &Path) -> Error {
    let name = inode::file_system(path);
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{}: the file system there ({name}) refuses direct I/O (O_DIRECT) in blocks of at \
             most {IO_ALIGNMENT_BYTES} bytes, which the log needs. Put the data directory on ext4 \
             or XFS on a local disk; `df -T {}` shows what is mounted",
            path.display(),
            path.parent().unwrap_or(path).display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_is_what_the_kernel_says_or_the_devices_block() {
        let check = |direct_io, block, expected| {
            let inode = Inode {
                device: (0, 0),
                size_bytes: 0,
                direct_io,
            };
            assert_eq!(
                alignment(&inode, block),
                expected,
                "{direct_io:?} {block:?}"
            );
        };
        check(Some((512, 512)), None, Some(512));
        check(Some((4, 512)), Some(4096), Some(512));
        check(Some((512, 4096)), None, Some(4096));
        check(Some((0, 0)), Some(512), None);
        check(Some((512, 65_536)), None, None);
        check(None, Some(512), Some(512));
        check(None, Some(4096), Some(4096));
        check(None, None, Some(4096));
        check(None, Some(3), None);
    }
}
