//! Files under direct I/O, by glommio's `DmaFile`.
//!
//! # What the door costs here
//!
//! - glommio writes from, and reads into, buffers of its own only. So each write copies its bytes
//!   once, and each read does; `metrics` counts them as copied payload.
//! - It has no flags per write (RWF_DSYNC). Writes with data sync go through a second descriptor of
//!   the file, opened with O_DSYNC before the first of them. The alternative, a write and then a
//!   data sync, is two operations, and a worker thread of the kernel does the second.
//! - It opens without O_DIRECT and switches it on afterwards, which a file system may refuse only
//!   at the first read or write. The flag is given to the open as well, so that the open fails.
//! - It has no FALLOC_FL_WRITE_ZEROES: `write_zeroes` is `Unsupported`, and the log writes zeros.

use std::cell::OnceCell;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use glommio::io::{DmaFile, OpenOptions};

use super::device::Device;
use super::direct;
use super::executor;
use super::inode::{self, Inode};
use super::operations::{complete, plain, start};
use crate::io::{AlignedBuf, Error, ErrorKind, Open, Result, Sync};
use crate::limits::WRITE_SLICES_MAX;
use crate::metrics;

/// Of a file that is created: read and written by its owner, read by the group.
pub(super) const FILE_MODE: u32 = 0o640;

/// An open file of this core. A clone is another handle of the same; the file is closed when the
/// last handle is gone and the last operation on it has ended.
///
/// Offsets, lengths and addresses must be multiples of `alignment()`; what is not is refused with
/// `InvalidInput` before anything is written. Operations on one file run in any order.
#[derive(Clone)]
pub struct File {
    file: Rc<Handle>,
    /// The same file with O_DSYNC; empty until it is needed.
    synced: Rc<OnceCell<Rc<Handle>>>,
    mode: Open,
    device: Rc<Device>,
    alignment: usize,
}

/// glommio's file, closed through the reactor when it is dropped.
struct Handle(Option<DmaFile>);

impl Handle {
    fn get(&self) -> &DmaFile {
        match &self.0 {
            Some(file) => file,
            None => panic!("only dropping takes it"),
        }
    }

    fn inspect(&self) -> Result<Inode> {
        inode::inspect(&self.get().as_fd().try_clone_to_owned()?)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let file = self.0.take();
        // Without a core glommio's own drop closes it.
        if let Some(file) = file
            && executor::try_with(|_| ()).is_some()
        {
            // Whoever needs to know whether the bytes are safe has synced.
            start(async move { drop(file.close().await) });
        }
    }
}

impl File {
    /// Opens a file. A file system that refuses direct I/O is an error of kind `Unsupported` that
    /// says what to do.
    ///
    /// The name of a file that was created is durable only after `fs::sync_dir` of its directory.
    pub async fn open(path: impl AsRef<Path>, mode: Open) -> Result<File> {
        let path = path.as_ref();
        let file = match open_direct(path, mode, 0).await {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(refused(path, mode).await);
            }
            Err(error) => return Err(error),
        };
        let inode = file.inspect()?;
        let device = executor::with(|core| core.devices.get(inode.device.0, inode.device.1));
        match direct::alignment(&inode, device.logical_block_bytes) {
            Some(alignment) => Ok(File {
                file: Rc::new(file),
                synced: Rc::default(),
                mode,
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
            "more slices than one write takes"
        );
        for slice in &slices {
            direct::check(self.alignment, slice, offset)?;
        }
        let length = slices.iter().map(Bytes::len).sum();
        if length == 0 {
            return Ok(());
        }
        let permit = self.device.permit_write(length).await;
        let file = match sync {
            Sync::None => self.file.clone(),
            Sync::Data => self.synced().await?,
        };
        let alignment = self.alignment;
        complete(async move {
            let _permit = permit;
            let file = file.get();
            let mut done = 0;
            while done < length {
                let mut buffer = file.alloc_dma_buffer(length - done);
                copy_from(&slices, done, buffer.as_bytes_mut());
                let written = file.write_at(buffer, offset + done as u64).await;
                match retry(plain(written))? {
                    None => continue,
                    // A device that is full takes nothing or a part of a block. The next piece
                    // would not be aligned, so this is the end either way.
                    Some(count) if count == 0 || !count.is_multiple_of(alignment) => {
                        return Err(Error::from(ErrorKind::WriteZero));
                    }
                    Some(count) => done += count,
                }
            }
            Ok(())
        })
        .await
    }

    /// The handle whose writes are durable when they return.
    async fn synced(&self) -> Result<Rc<Handle>> {
        if self.mode == Open::Read {
            // Its writes fail, as they should.
            return Ok(self.file.clone());
        }
        if let Some(file) = self.synced.get() {
            return Ok(file.clone());
        }
        // By the descriptor: the file's name may be another one, or gone.
        let path = format!("/proc/self/fd/{}", self.file.get().as_raw_fd());
        let file = open_direct(Path::new(&path), Open::ReadWrite, libc::O_DSYNC).await?;
        // Another write may have been quicker; one of the two handles is closed then.
        Ok(self.synced.get_or_init(|| Rc::new(file)).clone())
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
        mut buffer: AlignedBuf,
        place: Range<usize>,
        offset: u64,
    ) -> (Result<usize>, AlignedBuf) {
        if let Err(error) = direct::check(self.alignment, &buffer[place.clone()], offset) {
            return (Err(error), buffer);
        }
        let permit = self.device.permit_read(place.len()).await;
        let (file, alignment) = (self.file.clone(), self.alignment);
        complete(async move {
            let _permit = permit;
            let into = &mut buffer[place];
            let mut done = 0;
            while done < into.len() {
                let rest = &mut into[done..];
                let read = file.get().read_at_aligned(offset + done as u64, rest.len());
                match retry(plain(read.await)) {
                    Err(error) => return (Err(error), buffer),
                    Ok(None) => continue,
                    Ok(Some(bytes)) => {
                        metrics::copy_payload(&mut rest[..bytes.len()], &bytes);
                        done += bytes.len();
                        // A file whose length is not a multiple ends with a part of a block.
                        if bytes.is_empty() || !bytes.len().is_multiple_of(alignment) {
                            break;
                        }
                    }
                }
            }
            (Ok(done), buffer)
        })
        .await
    }

    /// Reserves space for `length_bytes` and sets the file's size to it, if it is smaller. A full
    /// disk shows here (`StorageFull`) and not in a later write.
    pub async fn allocate(&self, length_bytes: u64) -> Result<()> {
        let file = self.file.clone();
        complete(async move {
            loop {
                let allocated = file.get().pre_allocate(length_bytes, false).await;
                if retry(plain(allocated))?.is_some() {
                    return Ok(());
                }
            }
        })
        .await
    }

    /// `Unsupported`: glommio has no such operation. Nothing has changed.
    pub async fn write_zeroes(&self, _offset: u64, _length_bytes: u64) -> Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    /// Makes the file's bytes and size durable, those of writes that have returned.
    pub async fn sync(&self) -> Result<()> {
        let file = self.file.clone();
        complete(async move { plain(file.get().fdatasync().await) }).await
    }

    /// The file's size in bytes.
    pub async fn len(&self) -> Result<u64> {
        // The inode of an open file is in memory; glommio would ask a worker thread for it.
        Ok(self.file.inspect()?.size_bytes)
    }
}

async fn open_direct(path: &Path, mode: Open, flags: i32) -> Result<Handle> {
    let mut options = OpenOptions::new();
    options.read(true).mode(FILE_MODE);
    options.custom_flags(libc::O_DIRECT | flags);
    match mode {
        Open::Read => {}
        Open::ReadWrite => drop(options.write(true)),
        Open::CreateNew => drop(options.write(true).create_new(true)),
    }
    let path = path.to_owned();
    let opened = complete(async move {
        // glommio asks about the file system by the path again once the file is open, and panics
        // if somebody has removed the name by then.
        AssertUnwindSafe(options.dma_open(path))
            .catch_unwind()
            .await
    });
    match opened.await {
        Ok(opened) => Ok(Handle(Some(plain(opened)?))),
        Err(_) => Err(Error::from(ErrorKind::NotFound)),
    }
}

/// The error for a file that cannot be used with direct I/O. A file that was created for it is
/// removed: the kernel creates first and refuses then.
async fn refused(path: &Path, mode: Open) -> Error {
    if mode == Open::CreateNew {
        // The refusal is the news, not that its trace could not be removed.
        let _ = super::fs::remove_file(path).await;
    }
    direct::refusal(path)
}

/// `None` if the operation was interrupted before it did anything and should be started again.
fn retry<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(output) => Ok(Some(output)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Fills `to` from the slices, one behind the other, from the byte at `skip` on.
fn copy_from(slices: &[Bytes], mut skip: usize, mut to: &mut [u8]) {
    for slice in slices {
        let from = &slice[skip.min(slice.len())..];
        skip -= slice.len() - from.len();
        let (here, rest) = to.split_at_mut(from.len());
        metrics::copy_payload(here, from);
        to = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_the_slices_is_copied_in_order() {
        let slices: Vec<Bytes> = ["abc", "", "de", "f"]
            .iter()
            .map(|s| Bytes::from_static(s.as_bytes()))
            .collect();
        for skip in 0..=6 {
            let mut to = vec![0; 6 - skip];
            copy_from(&slices, skip, &mut to);
            assert_eq!(to, b"abcdef"[skip..]);
        }
    }

    #[test]
    fn writes_with_data_sync_go_through_a_descriptor_that_syncs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        crate::io::run(&crate::io::CoreSpec::unpinned(1), |_| {
            let path = path.clone();
            async move {
                let file = File::open(&path, Open::CreateNew).await.unwrap();
                let block = AlignedBuf::zeroed(4096).freeze();
                file.write_at(block.clone(), 0, Sync::None).await.unwrap();
                assert!(file.synced.get().is_none(), "only who needs it has it");
                // By a name it would not be found any more.
                std::fs::remove_file(&path).unwrap();
                file.write_at(block, 4096, Sync::Data).await.unwrap();
                assert_eq!(file.len().await.unwrap(), 8192);
                let synced = file.synced.get().unwrap().get().as_raw_fd();
                let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{synced}")).unwrap();
                let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
                let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
                let both = libc::O_DSYNC | libc::O_DIRECT;
                assert_eq!(flags & both, both, "{flags:o}");
            }
        })
        .unwrap();
    }
}
