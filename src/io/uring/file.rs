//! Files under direct I/O: what is written goes to the device, past the page cache
//! (`kernel-notes/o-direct.md`). What that must be a multiple of, the kernel says
//! (`kernel-notes/statx-dioalign.md`), or else `direct`.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::device::Device;
use super::direct;
use super::executor;
use super::inode;
use super::operations::Operation;
use super::path;
use super::request::{Request, opened};
use crate::io::{AlignedBuf, Error, ErrorKind, Open, Result, Sync};
use crate::limits::WRITE_SLICES_MAX;

/// An open file of this core. A clone is another handle of the same; the file is closed when the
/// last handle is gone and the kernel has ended the last operation on it.
///
/// Offsets, lengths and addresses must be multiples of `alignment()`; what is not is refused with
/// `InvalidInput` before anything is written. Operations on one file run in any order.
#[derive(Clone)]
pub struct File {
    file: Rc<OwnedFd>,
    device: Rc<Device>,
    alignment: usize,
}

impl File {
    /// Opens a file. A file system that refuses direct I/O is an error of kind `Unsupported` that
    /// says what to do.
    ///
    /// The name of a file that was created is durable only after `fs::sync_dir` of its directory.
    pub async fn open(path: impl AsRef<Path>, mode: Open) -> Result<File> {
        let path = path.as_ref();
        let flags = match mode {
            Open::Read => libc::O_RDONLY,
            Open::ReadWrite => libc::O_RDWR,
            Open::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        };
        let file = match open_raw(path, flags | libc::O_DIRECT).await {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(refused(path, mode).await);
            }
            Err(error) => return Err(error),
        };
        let inode = inode::inspect(&file)?;
        let device = executor::with(|core| core.devices.get(inode.device.0, inode.device.1));
        match direct::alignment(&inode, device.logical_block_bytes) {
            Some(alignment) => Ok(File {
                file: Rc::new(file),
                device,
                alignment,
            }),
            None => Err(refused(path, mode).await),
        }
    }

    /// What offsets, lengths and addresses must be multiples of, in bytes: a power of two, at
    /// most 4096.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Writes all of `bytes`, or fails; then any part of them may have been written.
    ///
    /// With `Sync::Data` they are durable when it returns. After an error nothing is known about
    /// the bytes' durability, and trying again may hide the loss: the caller gives the file up.
    /// Dropping the future does not take the write back.
    pub async fn write_at(&self, bytes: Bytes, offset: u64, sync: Sync) -> Result<()> {
        self.write_all_at(vec![bytes], offset, sync).await
    }

    /// The same for slices that follow one another in the file, each of them aligned; at most
    /// `WRITE_SLICES_MAX`.
    pub async fn write_all_at(&self, slices: Vec<Bytes>, offset: u64, sync: Sync) -> Result<()> {
        assert!(
            slices.len() <= WRITE_SLICES_MAX,
            "more slices than the kernel takes"
        );
        for slice in &slices {
            direct::check(self.alignment, slice, offset)?;
        }
        let length = slices.iter().map(Bytes::len).sum();
        let mut permit = self.device.permit_write(length).await;
        let file = self.file.clone();
        let mut request = Request::Write {
            file,
            slices,
            vectors: Vec::new(),
            written: 0,
            offset,
            sync,
        };
        let mut done = 0;
        while done < length {
            let ended = Operation::run(request, permit).await;
            (request, permit) = (ended.request, ended.permit);
            match retry(ended.result)? {
                None => continue,
                // A device that is full takes nothing or a part of a block. The next piece would
                // not be aligned, so this is the end either way.
                Some(count) if count == 0 || !count.is_multiple_of(self.alignment) => {
                    return Err(Error::from(ErrorKind::WriteZero));
                }
                Some(count) => done += count,
            }
            let Request::Write { written, .. } = &mut request else {
                panic!("a write is a write")
            };
            *written = done;
        }
        Ok(())
    }

    /// Fills `buffer` from the file, and says how many bytes of it: fewer than its length only at
    /// the end of the file. The buffer comes back in any case, unless the future is dropped.
    pub async fn read_at(&self, buffer: AlignedBuf, offset: u64) -> (Result<usize>, AlignedBuf) {
        let whole = 0..buffer.len();
        self.read_into(buffer, whole, offset).await
    }

    /// The same for a place of `buffer`, which is aligned as well.
    pub async fn read_into(
        &self,
        buffer: AlignedBuf,
        place: Range<usize>,
        offset: u64,
    ) -> (Result<usize>, AlignedBuf) {
        if let Err(error) = direct::check(self.alignment, &buffer[place.clone()], offset) {
            return (Err(error), buffer);
        }
        let length = place.len();
        let mut permit = self.device.permit_read(length).await;
        let file = self.file.clone();
        let mut request = Request::Read {
            file,
            buffer,
            place,
            offset,
        };
        let mut done = 0;
        let result = loop {
            if done == length {
                break Ok(done);
            }
            let ended = Operation::run(request, permit).await;
            (request, permit) = (ended.request, ended.permit);
            let count = match retry(ended.result) {
                Err(error) => break Err(error),
                Ok(None) => continue,
                Ok(Some(count)) => count,
            };
            done += count;
            // A file whose length is not a multiple ends with a part of a block.
            if count == 0 || !count.is_multiple_of(self.alignment) {
                break Ok(done);
            }
            let Request::Read { place, offset, .. } = &mut request else {
                panic!("a read is a read")
            };
            place.start += count;
            *offset += count as u64;
        };
        let Request::Read { buffer, .. } = request else {
            panic!("a read is a read")
        };
        (result, buffer)
    }

    /// Reserves space for `length_bytes` and sets the file's size to it, if it is smaller. A full
    /// disk shows here (`StorageFull`) and not in a later write.
    pub async fn allocate(&self, length_bytes: u64) -> Result<()> {
        loop {
            let request = Request::Fallocate {
                file: self.file.clone(),
                length_bytes,
            };
            if retry(Operation::run(request, None).await.result)?.is_some() {
                return Ok(());
            }
        }
    }

    /// Makes `length_bytes` from `offset` on, all of which are allocated, read as zeros and count
    /// as written, without sending zeros to the device. `Unsupported` where the kernel, the file
    /// system or the device cannot; nothing has changed then. Durable after `sync`.
    pub async fn write_zeroes(&self, offset: u64, length_bytes: u64) -> Result<()> {
        loop {
            let request = Request::WriteZeroes {
                file: self.file.clone(),
                offset,
                length_bytes,
            };
            match retry(Operation::run(request, None).await.result) {
                Ok(None) => continue,
                Ok(Some(_)) => return Ok(()),
                Err(error) => return Err(unsupported(error)),
            }
        }
    }

    /// Makes the file's bytes and size durable, those of writes that have returned.
    pub async fn sync(&self) -> Result<()> {
        sync_raw(&self.file).await
    }

    /// The file's size in bytes.
    pub async fn len(&self) -> Result<u64> {
        // The inode of an open file is in memory, so this does not wait for a device.
        Ok(inode::inspect(&self.file)?.size_bytes)
    }
}

/// The same error, of kind `Unsupported` if it says that something cannot be done here. A kernel
/// that does not know a mode of fallocate says EOPNOTSUPP, as does a device that cannot.
fn unsupported(error: Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Error::new(ErrorKind::Unsupported, error),
        _ => error,
    }
}

/// Opens a file through the ring.
pub(super) async fn open_raw(path: &Path, flags: i32) -> Result<OwnedFd> {
    loop {
        let request = Request::Open {
            path: path::terminated(path)?,
            flags,
        };
        let ended = Operation::run(request, None).await;
        if let Some(descriptor) = retry(ended.result)? {
            return Ok(opened(descriptor as i32));
        }
    }
}

/// Syncs a file or directory through the ring.
pub(super) async fn sync_raw(file: &Rc<OwnedFd>) -> Result<()> {
    // Not tried again by anyone: the kernel reports a lost write once and forgets it then.
    Operation::run(Request::Fsync { file: file.clone() }, None)
        .await
        .result
        .map(drop)
}

/// `None` if the operation was interrupted before it did anything and should be started again.
pub(super) fn retry(result: Result<u32>) -> Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count as usize)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => Ok(None),
            _ => Err(error),
        },
    }
}

/// The error for a file that cannot be used with direct I/O. A file that was created for it is
/// removed: the kernel creates first and refuses then.
async fn refused(path: &Path, mode: Open) -> Error {
    if mode == Open::CreateNew {
        let request = path::terminated(path).map(|path| Request::Unlink { path });
        if let Ok(request) = request {
            // The refusal is the news, not that its trace could not be removed.
            let _ = Operation::run(request, None).await;
        }
    }
    direct::refusal(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_operation_is_started_again_and_an_error_is_not() {
        assert_eq!(retry(Ok(7)).unwrap(), Some(7));
        assert_eq!(
            retry(Err(Error::from_raw_os_error(libc::EINTR))).unwrap(),
            None
        );
        assert_eq!(
            retry(Err(Error::from_raw_os_error(libc::EAGAIN))).unwrap(),
            None
        );
        let error = retry(Err(Error::from_raw_os_error(libc::EIO))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
}
