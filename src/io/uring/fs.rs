//! Directories and small files, for start-up and off-path work, through the page cache.
//!
//! What creates, renames, removes, reads, writes or syncs goes through the ring. Four calls have
//! no operation of the ring and block the core while they run: `sync_file_system`, `list_dir`,
//! `space` and `lock_dir`. They belong to the start, and to rare work where a pause of some
//! milliseconds is in order.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::file::{open_raw, retry, sync_raw};
use super::inode;
use super::lock;
use super::operations::Operation;
use super::path::{parent, terminated};
use super::request::Request;
use crate::io::{AlignedBuf, DirLock, Error, ErrorKind, Result, Space, Sync};
use crate::limits::SMALL_FILE_BYTES_MAX;

/// Makes a directory; its parent must be there. Durable after `sync_dir` of the parent.
pub async fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = terminated(path.as_ref())?;
    Operation::run(Request::MakeDir { path }, None)
        .await
        .result
        .map(drop)
}

/// Gives a file another name, in one step, replacing what had it. Durable after `sync_dir`.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (terminated(from.as_ref())?, terminated(to.as_ref())?);
    Operation::run(Request::Rename { from, to }, None)
        .await
        .result
        .map(drop)
}

/// Removes a file. Durable after `sync_dir`.
pub async fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = terminated(path.as_ref())?;
    Operation::run(Request::Unlink { path }, None)
        .await
        .result
        .map(drop)
}

/// Makes the names in a directory durable, as they are now.
pub async fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let directory = open_raw(path.as_ref(), libc::O_RDONLY | libc::O_DIRECTORY).await?;
    sync_raw(&Rc::new(directory)).await
}

/// Makes everything durable that any process has written to the path's file system so far, names
/// included (syncfs(2)). Blocks the core.
pub async fn sync_file_system(path: impl AsRef<Path>) -> Result<()> {
    let directory = open_raw(path.as_ref(), libc::O_RDONLY | libc::O_DIRECTORY).await?;
    inode::sync_file_system(&directory)
}

/// The names in a directory, sorted. Blocks the core.
pub async fn list_dir(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// A whole file of at most `limits::SMALL_FILE_BYTES_MAX`; a longer one is `FileTooLarge`.
pub async fn read_small(path: impl AsRef<Path>) -> Result<Bytes> {
    let file = Rc::new(open_raw(path.as_ref(), libc::O_RDONLY).await?);
    let size_bytes = inode::inspect(&file)?.size_bytes;
    check_small(path.as_ref(), size_bytes)?;
    let buffer = AlignedBuf::zeroed(size_bytes as usize);
    let place = 0..buffer.len();
    let mut request = Request::Read {
        file,
        buffer,
        place,
        offset: 0,
    };
    let mut done = 0;
    while done < size_bytes as usize {
        let ended = Operation::run(request, None).await;
        request = ended.request;
        match retry(ended.result)? {
            None => continue,
            Some(0) => break,
            Some(count) => done += count,
        }
        let Request::Read { place, offset, .. } = &mut request else {
            panic!("a read is a read")
        };
        (place.start, *offset) = (done, done as u64);
    }
    let Request::Read { buffer, .. } = request else {
        panic!("a read is a read")
    };
    Ok(buffer.freeze().slice(..done))
}

/// Writes a whole file, durably and in one step: after a crash at any point the path has the old
/// bytes or the new ones. On the way there is a file with `.tmp` behind the name; two writers of
/// one path at a time are the caller's mistake.
pub async fn write_small(path: impl AsRef<Path>, bytes: Bytes) -> Result<()> {
    let path = path.as_ref();
    check_small(path, bytes.len() as u64)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    if let Err(error) = write_and_sync(temporary, bytes).await {
        // The first error is the news; what is left is overwritten by the next attempt.
        let _ = remove_file(temporary).await;
        return Err(error);
    }
    rename(temporary, path).await?;
    sync_dir(parent(path)).await
}

async fn write_and_sync(path: &Path, bytes: Bytes) -> Result<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    let file = Rc::new(open_raw(path, flags).await?);
    let length = bytes.len();
    let mut request = Request::Write {
        file: file.clone(),
        slices: vec![bytes],
        vectors: Vec::new(),
        written: 0,
        offset: 0,
        sync: Sync::None,
    };
    let mut done = 0;
    while done < length {
        let ended = Operation::run(request, None).await;
        request = ended.request;
        match retry(ended.result)? {
            None => continue,
            Some(0) => return Err(Error::from(ErrorKind::WriteZero)),
            Some(count) => done += count,
        }
        let Request::Write { written, .. } = &mut request else {
            panic!("a write is a write")
        };
        *written = done;
    }
    sync_raw(&file).await
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

/// How much room the path's file system has. Blocks the core.
pub async fn space(path: impl AsRef<Path>) -> Result<Space> {
    inode::space(path.as_ref())
}

/// Locks a directory against other processes (and other holders in this one) by a `.lock` file in
/// it. `WouldBlock`, with the holder's process id if it is known, if another one has it. Blocks
/// the core.
pub async fn lock_dir(path: impl AsRef<Path>) -> Result<DirLock> {
    lock::take(path.as_ref())
}
