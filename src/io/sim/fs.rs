//! Directories and small files of the simulated machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::disk::{Done, Errno, InodeId, Op};
use super::machine::machine;
use crate::io::{DirLock, Error, ErrorKind, Result, Space};
use crate::limits::SMALL_FILE_BYTES_MAX;

/// Creates a directory in one that exists; durable once that one is synced.
pub async fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    unit(Op::CreateDir { path }).await
}

/// Renames a file, taking the place of what has the new name; durable once synced.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    unit(Op::Rename { from, to }).await
}

/// Removes a file's name; durable once the directory is synced.
pub async fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    unit(Op::Remove { path }).await
}

/// Makes the names of a directory durable.
pub async fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    unit(Op::SyncDir { path, through: 0 }).await
}

/// Makes everything durable that any process has written to the path's file system so far, names
/// included.
pub async fn sync_file_system(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    unit(Op::SyncFileSystem { path, through: 0 }).await
}

/// The names in a directory, sorted.
pub async fn list_dir(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let path = path.as_ref().to_owned();
    match machine().submit(Op::List { path }).await? {
        Done::Names(names) => Ok(names),
        Done::Unit | Done::Opened(_) | Done::Data(_) => Ok(Vec::new()),
    }
}

/// A whole small file.
pub async fn read_small(path: impl AsRef<Path>) -> Result<Bytes> {
    let path = path.as_ref().to_owned();
    let file = Opened::by(Op::Open { path }).await?;
    let len = machine().disk.borrow().len(file.0);
    if len > SMALL_FILE_BYTES_MAX {
        return Err(Errno::TOO_LARGE.into());
    }
    let read = Op::Read {
        inode: file.0,
        offset: 0,
        len: len as usize,
    };
    match machine().submit(read).await? {
        Done::Data(data) => Ok(Bytes::from(data)),
        Done::Unit | Done::Opened(_) | Done::Names(_) => Ok(Bytes::new()),
    }
}

/// Puts a whole small file in its place, durably: after a crash the old or the new one is there.
///
/// Its steps are operations of their own, so a crash falls between any two of them.
pub async fn write_small(path: impl AsRef<Path>, bytes: Bytes) -> Result<()> {
    let path = path.as_ref();
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVALID.into());
    };
    if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
        return Err(Errno::TOO_LARGE.into());
    }
    let temporary: PathBuf = dir.join(format!("{}.tmp", name.to_string_lossy()));
    match remove_file(&temporary).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written = async {
        let path = temporary.clone();
        let file = Opened::by(Op::Create { path }).await?;
        let write = Op::Write {
            inode: file.0,
            offset: 0,
            data: Bytes::copy_from_slice(&bytes),
            sync: false,
        };
        unit(write).await?;
        let sync = Op::Sync {
            inode: file.0,
            through: 0,
        };
        unit(sync).await
    };
    match written.await {
        Ok(()) => {
            rename(&temporary, path).await?;
            sync_dir(dir).await
        }
        Err(error) => {
            // The error that matters is the first; what is left is overwritten next time.
            drop(remove_file(&temporary).await);
            Err(error)
        }
    }
}

/// The disk's size and what is free.
pub async fn space(path: impl AsRef<Path>) -> Result<Space> {
    let machine = machine();
    let disk = machine.disk.borrow();
    disk.check_exists(path.as_ref())?;
    Ok(Space {
        total_bytes: disk.capacity_bytes(),
        available_bytes: disk.free_bytes(),
    })
}

/// Locks a directory against the other processes of the machine, until the lock is dropped, by a
/// `.lock` file in it as the real backend does.
pub async fn lock_dir(path: impl AsRef<Path>) -> Result<DirLock> {
    let machine = machine();
    machine.disk.borrow().check_exists(path.as_ref())?;
    let path = path.as_ref().display().to_string();
    let locks = machine.locks.borrow().clone();
    if !locks
        .lock()
        .expect("nothing panics in here")
        .insert(path.clone())
    {
        return Err(Error::from(ErrorKind::WouldBlock));
    }
    Ok(DirLock::new(Box::new(Held { locks, path })))
}

/// A lock; the set is that of one start of the machine, as the kernel's would be.
struct Held {
    locks: Arc<Mutex<BTreeSet<String>>>,
    path: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks
            .lock()
            .expect("nothing panics in here")
            .remove(&self.path);
    }
}

async fn unit(op: Op) -> Result<()> {
    machine().submit(op).await?;
    Ok(())
}

/// A file open for as long as this lives.
struct Opened(InodeId);

impl Opened {
    async fn by(op: Op) -> Result<Opened> {
        match machine().submit(op).await? {
            Done::Opened(inode) => Ok(Opened(inode)),
            Done::Unit | Done::Data(_) | Done::Names(_) => Err(Errno(libc::EIO).into()),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        machine().disk.borrow_mut().close(self.0);
    }
}
