//! Files of the simulated machine: direct I/O on the disk model.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::disk::{Done, Errno, InodeId, Op};
use super::machine::machine;
use crate::io::{AlignedBuf, Error, ErrorKind, Open, Result, Sync};
use crate::limits::{IO_ALIGNMENT_BYTES, WRITE_SLICES_MAX};

/// An open file. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct File {
    handle: Rc<Handle>,
}

struct Handle {
    inode: InodeId,
    open: Open,
}

impl Drop for Handle {
    fn drop(&mut self) {
        machine().disk.borrow_mut().close(self.inode);
    }
}

impl File {
    /// Opens or creates a file.
    pub async fn open(path: impl AsRef<Path>, open: Open) -> Result<File> {
        let path = path.as_ref().to_owned();
        if !machine().disk.borrow().direct_io() {
            let message = format!("{}: no direct I/O on this file system", path.display());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let op = match open {
            Open::Read | Open::ReadWrite => Op::Open { path },
            Open::CreateNew => Op::Create { path },
        };
        match machine().submit(op).await? {
            Done::Opened(inode) => Ok(File {
                handle: Rc::new(Handle { inode, open }),
            }),
            // A device that lies about an open gives nothing to work with.
            Done::Unit | Done::Data(_) | Done::Names(_) => Err(Errno(libc::EIO).into()),
        }
    }

    /// Writes all of `bytes`, or fails, having written any part of it.
    pub async fn write_at(&self, bytes: Bytes, offset: u64, sync: Sync) -> Result<()> {
        self.write_all_at(vec![bytes], offset, sync).await
    }

    /// The same for slices that follow one another in the file, each of them aligned.
    pub async fn write_all_at(&self, slices: Vec<Bytes>, offset: u64, sync: Sync) -> Result<()> {
        self.writable()?;
        assert!(
            slices.len() <= WRITE_SLICES_MAX,
            "more slices than the kernel takes"
        );
        for slice in &slices {
            self.aligned(slice.as_ptr() as usize, slice.len(), offset)?;
        }
        let data = Bytes::from(slices.concat());
        if data.is_empty() {
            return Ok(());
        }
        // The device's own copy: what the caller frees or recycles later is not the file.
        let op = Op::Write {
            inode: self.handle.inode,
            offset,
            data,
            sync: sync == Sync::Data,
        };
        let done = machine().submit(op).await;
        drop(slices);
        done?;
        Ok(())
    }

    /// Fills the buffer from `offset`; less only at the end of the file.
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
        let into = &mut buffer[place];
        if let Err(error) = self.aligned(into.as_ptr() as usize, into.len(), offset) {
            return (Err(error), buffer);
        }
        let op = Op::Read {
            inode: self.handle.inode,
            offset,
            len: into.len(),
        };
        let result = match machine().submit(op).await {
            Ok(Done::Data(data)) => {
                into[..data.len()].copy_from_slice(&data);
                Ok(data.len())
            }
            Ok(Done::Unit | Done::Opened(_) | Done::Names(_)) => Ok(0),
            Err(errno) => Err(errno.into()),
        };
        (result, buffer)
    }

    /// Reserves space up to `len` and sets the size to it, unless the file is longer already.
    pub async fn allocate(&self, len: u64) -> Result<()> {
        self.writable()?;
        if len == 0 {
            return Err(Errno::INVALID.into());
        }
        let inode = self.handle.inode;
        machine().submit(Op::Allocate { inode, len }).await?;
        Ok(())
    }

    /// Makes a range read as zeros, as a write of zeros that is not synced does.
    pub async fn write_zeroes(&self, offset: u64, length_bytes: u64) -> Result<()> {
        let zeros = AlignedBuf::zeroed(length_bytes as usize).freeze();
        self.write_at(zeros, offset, Sync::None).await
    }

    /// Makes everything durable whose write completed before this call.
    pub async fn sync(&self) -> Result<()> {
        let op = Op::Sync {
            inode: self.handle.inode,
            through: 0,
        };
        machine().submit(op).await?;
        Ok(())
    }

    /// The size in bytes.
    pub async fn len(&self) -> Result<u64> {
        Ok(machine().disk.borrow().len(self.handle.inode))
    }

    /// What offsets and lengths must be multiples of, in bytes.
    pub fn alignment(&self) -> usize {
        machine().disk.borrow().alignment_bytes()
    }

    fn writable(&self) -> Result<()> {
        match self.handle.open {
            Open::Read => Err(Errno::BAD_HANDLE.into()),
            Open::ReadWrite | Open::CreateNew => Ok(()),
        }
    }

    /// As O_DIRECT: misaligned is EINVAL.
    fn aligned(&self, address: usize, length: usize, offset: u64) -> Result<()> {
        let alignment = self.alignment();
        let fits = length.is_multiple_of(alignment)
            && offset.is_multiple_of(alignment as u64)
            // An empty slice may have any address.
            && (length == 0 || address.is_multiple_of(alignment.min(IO_ALIGNMENT_BYTES)))
            && offset
                .checked_add(length as u64)
                .is_some_and(|end| end <= i64::MAX as u64);
        match fits {
            true => Ok(()),
            false => Err(Errno::INVALID.into()),
        }
    }
}
