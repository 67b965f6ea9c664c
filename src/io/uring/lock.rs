//! The lock that keeps a directory to one process.

use std::fs::{OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::io::{DirLock, Error, ErrorKind, Result};

/// The file by which a directory is locked.
const LOCK_NAME: &str = ".lock";

/// Locks a directory, or says who has it. Opens, reads and writes a small file, on this thread.
pub(super) fn take(directory: &Path) -> Result<DirLock> {
    let path = directory.join(LOCK_NAME);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(32).read_to_string(&mut holder);
            let message = format!(
                "{} is locked by another process (process id {}); two brokers cannot share a \
                 directory",
                path.display(),
                if holder.trim().is_empty() {
                    "unknown"
                } else {
                    holder.trim()
                }
            );
            return Err(Error::new(ErrorKind::WouldBlock, message));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Only for the message above; the lock itself is the kernel's.
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(DirLock::new(Box::new(file)))
}
