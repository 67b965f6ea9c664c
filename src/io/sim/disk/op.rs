//! The operations of the disk.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::InodeId;

/// An operation, with all it needs to complete without its caller: a dropped future changes
/// nothing about what is in flight.
#[derive(Clone)]
pub(crate) enum Op {
    Open {
        path: PathBuf,
    },
    Create {
        path: PathBuf,
    },
    Read {
        inode: InodeId,
        offset: u64,
        len: usize,
    },
    Write {
        inode: InodeId,
        offset: u64,
        data: Bytes,
        sync: bool,
    },
    Allocate {
        inode: InodeId,
        len: u64,
    },
    /// Covers what had completed when it began: `through` is set by [`super::Disk::begin`].
    Sync {
        inode: InodeId,
        through: u64,
    },
    CreateDir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// Covers the changes that had completed when it began: `through` is set by
    /// [`super::Disk::begin`], here and in the two others that sync.
    SyncDir {
        path: PathBuf,
        through: u64,
    },
    /// Covers every file, as `Sync` does one, and every name.
    SyncFileSystem {
        path: PathBuf,
        through: u64,
    },
    List {
        path: PathBuf,
    },
}

/// What an operation gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Unit,
    Opened(InodeId),
    Data(Vec<u8>),
    Names(Vec<String>),
}

/// The kinds of operations, as faults, counts and traces name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpKind {
    /// Opening an existing file.
    Open,
    /// Creating a file.
    Create,
    /// Reading from a file.
    Read,
    /// Writing to a file, with or without data sync.
    Write,
    /// Setting a file's size and reserving its space.
    Allocate,
    /// Syncing a file.
    Sync,
    /// Creating a directory.
    CreateDir,
    /// Renaming a file or a directory.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Syncing everything there is.
    SyncFileSystem,
    /// Listing a directory.
    List,
}

/// One operation as the trace and the observers see it, when it is about to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpInfo {
    /// Counted from 1 over the life of the disk.
    pub number: u64,
    /// Counted from 1 among the sync points, if it is one.
    pub sync_number: Option<u64>,
    /// What it does.
    pub kind: OpKind,
    /// To which file or directory.
    pub path: String,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

impl fmt::Display for OpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let synced = if self.sync_number.is_some() {
            " synced"
        } else {
            ""
        };
        write!(
            f,
            "op {} {:?}{synced} {} {}+{}",
            self.number, self.kind, self.path, self.offset, self.len
        )
    }
}

impl Op {
    pub(super) fn kind(&self) -> OpKind {
        match self {
            Op::Open { .. } => OpKind::Open,
            Op::Create { .. } => OpKind::Create,
            Op::Read { .. } => OpKind::Read,
            Op::Write { .. } => OpKind::Write,
            Op::Allocate { .. } => OpKind::Allocate,
            Op::Sync { .. } => OpKind::Sync,
            Op::CreateDir { .. } => OpKind::CreateDir,
            Op::Rename { .. } => OpKind::Rename,
            Op::Remove { .. } => OpKind::Remove,
            Op::SyncDir { .. } => OpKind::SyncDir,
            Op::SyncFileSystem { .. } => OpKind::SyncFileSystem,
            Op::List { .. } => OpKind::List,
        }
    }

    /// Whether its completion promises durability.
    pub(super) fn is_sync(&self) -> bool {
        match self {
            Op::Write { sync, .. } => *sync,
            Op::Sync { .. } | Op::SyncDir { .. } | Op::SyncFileSystem { .. } => true,
            _ => false,
        }
    }

    pub(super) fn inode(&self) -> Option<InodeId> {
        match self {
            Op::Read { inode, .. }
            | Op::Write { inode, .. }
            | Op::Allocate { inode, .. }
            | Op::Sync { inode, .. } => Some(*inode),
            _ => None,
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Op::Open { path }
            | Op::Create { path }
            | Op::CreateDir { path }
            | Op::Remove { path }
            | Op::SyncDir { path, .. }
            | Op::SyncFileSystem { path, .. }
            | Op::List { path } => Some(path),
            Op::Rename { to, .. } => Some(to),
            _ => None,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        match self {
            Op::Read { offset, .. } | Op::Write { offset, .. } => *offset,
            _ => 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Op::Read { len, .. } => *len as u64,
            Op::Write { data, .. } => data.len() as u64,
            Op::Allocate { len, .. } => *len,
            _ => 0,
        }
    }

    /// Offset and bytes, if it writes to this file.
    pub(super) fn write_to(&self, file: InodeId) -> Option<(u64, Bytes)> {
        match self {
            Op::Write {
                inode,
                offset,
                data,
                ..
            } if *inode == file => Some((*offset, data.clone())),
            _ => None,
        }
    }

    /// What a device says that lies. Only what has nothing to give can be lied about.
    pub(super) fn done_without_effect(self) -> Done {
        Done::Unit
    }
}
