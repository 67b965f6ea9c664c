//! Directories and small files, for start-up and off-path work, through the page cache.
//!
//! All of it runs on the core's blocking thread: glommio itself sends rename, unlink and mkdir
//! there, and has no operation for the rest. So nothing here blocks the core, each call costs two
//! wake-ups of a thread, and the calls of one core queue behind one another. A call that was begun
//! goes on to its end if its future is dropped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::FILE_MODE;
use super::inode;
use super::lock;
use super::operations::blocking;
use super::path::parent;
use crate::io::{AlignedBuf, DirLock, Error, ErrorKind, Result, Space};
use crate::limits::SMALL_FILE_BYTES_MAX;

/// Of a directory that is created.
const DIRECTORY_MODE: u32 = 0o750;

/// Makes a directory; its parent must be there. Durable after `sync_dir` of the parent.
pub async fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || DirBuilder::new().mode(DIRECTORY_MODE).create(path)).await
}

/// Gives a file another name, in one step, replacing what had it. Durable after `sync_dir`.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    blocking(move || std::fs::rename(from, to)).await
}

/// Removes a file. Durable after `sync_dir`.
pub async fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || std::fs::remove_file(path)).await
}

/// Makes the names in a directory durable, as they are now.
pub async fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || sync_names(&path)).await
}

/// Makes everything durable that any process has written to the path's file system so far, names
/// included (syncfs(2)).
pub async fn sync_file_system(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    blocking(move || inode::sync_file_system(&OwnedFd::from(File::open(path)?))).await
}

/// The names in a directory, sorted.
pub async fn list_dir(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let path = path.as_ref().to_owned();
    blocking(move || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    })
    .await
}

/// A whole file of at most `limits::SMALL_FILE_BYTES_MAX`; a longer one is `FileTooLarge`.
pub async fn read_small(path: impl AsRef<Path>) -> Result<Bytes> {
    let path = path.as_ref().to_owned();
    blocking(move || {
        let mut file = File::open(&path)?;
        let size_bytes = file.metadata()?.len();
        check_small(&path, size_bytes)?;
        let mut buffer = AlignedBuf::zeroed(size_bytes as usize);
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(buffer.freeze().slice(..filled))
    })
    .await
}

/// Writes a whole file, durably and in one step: after a crash at any point the path has the old
/// bytes or the new ones. On the way there is a file with `.tmp` behind the name; two writers of
/// one path at a time are the caller's mistake.
pub async fn write_small(path: impl AsRef<Path>, bytes: Bytes) -> Result<()> {
    let path = path.as_ref().to_owned();
    check_small(&path, bytes.len() as u64)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    blocking(move || {
        if let Err(error) = write_and_sync(&temporary, &bytes) {
            // The first error is the news; what is left is overwritten by the next attempt.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        std::fs::rename(&temporary, &path)?;
        sync_names(parent(&path))
    })
    .await
}

/// How much room the path's file system has.
pub async fn space(path: impl AsRef<Path>) -> Result<Space> {
    let path = path.as_ref().to_owned();
    blocking(move || inode::space(&path)).await
}

/// Locks a directory against other processes (and other holders in this one) by a `.lock` file in
/// it. `WouldBlock`, with the holder's process id if it is known, if another one has it.
pub async fn lock_dir(path: impl AsRef<Path>) -> Result<DirLock> {
    let path = path.as_ref().to_owned();
    blocking(move || lock::take(&path)).await
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_names(directory: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    let directory = options
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(directory)?;
    directory.sync_all()
}

fn check_small(path: &Path, size_bytes: u64) -> Result<()> {
    if size_bytes <= SMALL_FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::FileTooLarge,
        format!("{}: {size_bytes} bytes are no small file", path.display()),
    ))
}
