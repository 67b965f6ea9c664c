#![allow(unsafe_code)]
//! What can be asked of the ring. A request owns all memory that the kernel touches for it, and a
//! share of the file that it is for.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use bytes::Bytes;
use io_uring::{opcode, squeue, types};

use crate::io::{AlignedBuf, Sync};
use crate::limits::FILE_OPERATION_BYTES_MAX;

/// One operation. The table of operations keeps it until its completion.
///
/// The addresses that `entry` hands to the kernel are of heap memory, so they stay right while
/// the request itself is moved; and the file cannot be closed, and its number not be used again,
/// while a request holds a share of it, even if it has not reached the kernel yet.
pub(super) enum Request {
    /// Wait until the file is readable (`POLLIN`) or writable (`POLLOUT`).
    Poll { file: Rc<OwnedFd>, events: i16 },
    /// Read the eventfd by which other threads wake this core.
    Wake { file: Rc<OwnedFd>, count: Box<u64> },
    /// Read into a place of the buffer.
    Read {
        file: Rc<OwnedFd>,
        buffer: AlignedBuf,
        place: Range<usize>,
        offset: u64,
    },
    /// Write the slices, one behind the other, from `written` bytes on.
    Write {
        file: Rc<OwnedFd>,
        slices: Vec<Bytes>,
        /// Where the slices lie; filled in by `entry`.
        vectors: Vec<libc::iovec>,
        written: usize,
        offset: u64,
        sync: Sync,
    },
    /// Make the file's bytes and metadata durable.
    Fsync { file: Rc<OwnedFd> },
    /// Reserve space from 0 to `length_bytes`, and set the size to it.
    Fallocate {
        file: Rc<OwnedFd>,
        length_bytes: u64,
    },
    /// Make a range of allocated blocks read as zeros and count as written.
    WriteZeroes {
        file: Rc<OwnedFd>,
        offset: u64,
        length_bytes: u64,
    },
    /// Open a file; the result is a file descriptor.
    Open { path: CString, flags: i32 },
    /// Remove a file's name.
    Unlink { path: CString },
    /// Give a file another name, replacing what had it.
    Rename { from: CString, to: CString },
    /// Make a directory.
    MakeDir { path: CString },
}

/// Of linux/falloc.h; the C library does not name it yet.
const FALLOC_FL_WRITE_ZEROES: i32 = 0x80;
/// Of a file that is created: read and written by its owner, read by the group.
const FILE_MODE: libc::mode_t = 0o640;
/// Of a directory that is created.
const DIRECTORY_MODE: libc::mode_t = 0o750;

impl Request {
    /// The ring's entry for this request; it points into memory that the request owns.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        match self {
            Request::Poll { file, events } => {
                opcode::PollAdd::new(fd(file), *events as u16 as u32).build()
            }
            Request::Wake { file, count } => {
                let address: *mut u64 = &mut **count;
                opcode::Read::new(fd(file), address.cast(), 8).build()
            }
            Request::Read {
                file,
                buffer,
                place,
                offset,
            } => {
                let into = &mut buffer[place.clone()];
                opcode::Read::new(fd(file), into.as_mut_ptr(), piece_length(into.len()))
                    .offset(*offset)
                    .build()
            }
            Request::Write {
                file,
                slices,
                vectors,
                written,
                offset,
                sync,
            } => {
                fill(vectors, slices, *written);
                let flags = match sync {
                    Sync::None => 0,
                    // Durable with this very write, and, unlike a separate fsync, without a
                    // kernel worker (`kernel-notes/rwf-dsync.md`).
                    Sync::Data => libc::RWF_DSYNC,
                };
                let offset = *offset + *written as u64;
                match &vectors[..] {
                    [one] => opcode::Write::new(
                        fd(file),
                        one.iov_base.cast_const().cast(),
                        piece_length(one.iov_len),
                    )
                    .offset(offset)
                    .rw_flags(flags)
                    .build(),
                    many => opcode::Writev::new(fd(file), many.as_ptr(), many.len() as u32)
                        .offset(offset)
                        .rw_flags(flags)
                        .build(),
                }
            }
            Request::Fsync { file } => opcode::Fsync::new(fd(file)).build(),
            Request::Fallocate { file, length_bytes } => {
                // Mode 0 sets the size, so that later writes do not change it and run without a
                // kernel worker (`kernel-notes/fallocate.md`).
                opcode::Fallocate::new(fd(file), *length_bytes)
                    .offset(0)
                    .mode(0)
                    .build()
            }
            Request::WriteZeroes {
                file,
                offset,
                length_bytes,
            } => {
                // Left to the device where it can (`kernel-notes/fallocate-write-zeroes.md`).
                opcode::Fallocate::new(fd(file), *length_bytes)
                    .offset(*offset)
                    .mode(FALLOC_FL_WRITE_ZEROES)
                    .build()
            }
            Request::Open { path, flags } => opcode::OpenAt::new(here, path.as_ptr())
                .flags(*flags | libc::O_CLOEXEC)
                .mode(FILE_MODE)
                .build(),
            Request::Unlink { path } => opcode::UnlinkAt::new(here, path.as_ptr()).build(),
            Request::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build()
            }
            Request::MakeDir { path } => opcode::MkDirAt::new(here, path.as_ptr())
                .mode(DIRECTORY_MODE)
                .build(),
        }
    }

    /// Whether it may wait for ever, so that nobody waiting for it any more must be said.
    pub(super) fn waits_for_others(&self) -> bool {
        match self {
            Request::Poll { .. } | Request::Wake { .. } => true,
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Fsync { .. }
            | Request::Fallocate { .. }
            | Request::WriteZeroes { .. }
            | Request::Open { .. }
            | Request::Unlink { .. }
            | Request::Rename { .. }
            | Request::MakeDir { .. } => false,
        }
    }

    /// Called with the kernel's answer when nobody waits for it: what the answer gave is given
    /// back.
    pub(super) fn undo(&self, result: i32) {
        if matches!(self, Request::Open { .. }) && result >= 0 {
            drop(opened(result));
        }
    }
}

/// Takes over the file descriptor that an `Open` request gave.
pub(super) fn opened(descriptor: RawFd) -> OwnedFd {
    assert!(descriptor >= 0, "a descriptor, not an errno");
    // SAFETY: the kernel has just made this descriptor for the request that calls here, once, and
    // nobody else has seen it, so it is open and ours alone.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn fd(file: &Rc<OwnedFd>) -> types::Fd {
    types::Fd(file.as_raw_fd())
}

/// The slices as the kernel takes them, without the first `skip` bytes.
fn fill(vectors: &mut Vec<libc::iovec>, slices: &[Bytes], skip: usize) {
    vectors.clear();
    let mut skip = skip;
    for slice in slices {
        let skipped = skip.min(slice.len());
        skip -= skipped;
        let rest = &slice[skipped..];
        if !rest.is_empty() {
            vectors.push(libc::iovec {
                iov_base: rest.as_ptr().cast_mut().cast(),
                iov_len: rest.len(),
            });
        }
    }
}

/// The kernel takes 32 bits of length and moves at most 2 GiB at once.
fn piece_length(rest: usize) -> u32 {
    const _: () = assert!(FILE_OPERATION_BYTES_MAX < u32::MAX as usize / 2);
    rest.min(FILE_OPERATION_BYTES_MAX) as u32
}
