#![allow(unsafe_code)]
//! Memory for direct I/O: aligned, initialised, owned by one holder until frozen.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytes::Bytes;

use super::arena::{Block, map};
use crate::limits::ARENA_BLOCK_BYTES_MAX;

/// A buffer whose first byte lies at a multiple of `IO_ALIGNMENT_BYTES`.
///
/// Any length is allowed; that a file operation's length is a multiple of the file's own
/// alignment is the operation's check, not this type's.
/// The memory never moves while the value does, so the kernel may hold its address while
/// the value travels into and out of the table of operations.
/// Its memory comes from the arena of the thread that made it, and returns there when the buffer,
/// or the last slice of what it was frozen into, is dropped on whichever thread. Longer ones than
/// `ARENA_BLOCK_BYTES_MAX` are mappings of their own, of which a page takes memory once it is
/// written to.
pub struct AlignedBuf {
    memory: Memory,
    length: usize,
}

enum Memory {
    Arena(Block),
    Own(NonNull<u8>),
}

// SAFETY: the value is the only owner of its memory, as a `Box<[u8]>` is; nothing in it refers to
// the thread that made it but the way back to its arena, which any thread may take.
unsafe impl Send for AlignedBuf {}
// SAFETY: through a shared reference the bytes can only be read; there is no interior mutability.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `length` bytes, all zero.
    pub fn zeroed(length: usize) -> AlignedBuf {
        let (mut buffer, is_zero) = AlignedBuf::take(length);
        if !is_zero {
            buffer.fill(0);
        }
        buffer
    }

    /// A buffer of `length` bytes with whatever some buffer of this process had in it last: for
    /// who overwrites it, and hands out, or writes to a disk, nothing else.
    pub fn stale(length: usize) -> AlignedBuf {
        AlignedBuf::take(length).0
    }

    fn take(length: usize) -> (AlignedBuf, bool) {
        if length <= ARENA_BLOCK_BYTES_MAX {
            let (block, is_zero) = Block::take(length);
            let memory = Memory::Arena(block);
            return (AlignedBuf { memory, length }, is_zero);
        }
        let memory = Memory::Own(map(length));
        (AlignedBuf { memory, length }, true)
    }

    fn start(&self) -> *mut u8 {
        match &self.memory {
            Memory::Arena(block) => block.memory().as_ptr(),
            Memory::Own(memory) => memory.as_ptr(),
        }
    }

    /// The same bytes, shared and immutable from now on, without a copy. A slice of the result
    /// keeps the whole buffer alive, on whichever core holds it.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Memory::Own(memory) = self.memory {
            // SAFETY: it is the mapping of this very length, which never changes, and nobody else
            // refers to it: the value is its only owner.
            unsafe { libc::munmap(memory.as_ptr().cast(), self.length) };
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is valid for `length` initialised bytes (zeros when it was mapped,
        // written only as bytes since), and the borrow of `self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the exclusive borrow of `self` keeps everyone else out.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.length) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::IO_ALIGNMENT_BYTES;

    fn check(length: usize) {
        let mut buffer = AlignedBuf::zeroed(length);
        assert_eq!(buffer.len(), length);
        assert_eq!(buffer.as_ptr() as usize % IO_ALIGNMENT_BYTES, 0);
        assert!(buffer.iter().all(|byte| *byte == 0));
        buffer.fill(7);
        let address = buffer.as_ptr();
        let frozen = buffer.freeze();
        assert_eq!(frozen.as_ptr(), address, "freezing must not copy");
        assert_eq!(frozen.len(), length);
        assert!(frozen.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn any_length_is_aligned_zeroed_and_frozen_in_place() {
        for length in [
            0,
            1,
            511,
            512,
            4095,
            4096,
            4097,
            65_536,
            ARENA_BLOCK_BYTES_MAX + 1,
        ] {
            check(length);
            check(length);
        }
    }

    #[test]
    fn a_large_buffer_takes_memory_where_it_is_written_to() {
        let mut buffer = AlignedBuf::stale(64 << 20);
        let pages = buffer.len() / IO_ALIGNMENT_BYTES;
        let resident_pages = |buffer: &mut AlignedBuf| {
            let mut pages = vec![0_u8; pages];
            let memory = buffer.as_mut_ptr().cast();
            // SAFETY: the range is one mapping, and the list has a byte for each of its pages.
            let result = unsafe { libc::mincore(memory, buffer.len(), pages.as_mut_ptr()) };
            assert_eq!(result, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        };
        assert_eq!(resident_pages(&mut buffer), 0);
        buffer[1 << 20] = 1;
        let resident = resident_pages(&mut buffer);
        assert!((1..=pages / 8).contains(&resident), "{resident} of {pages}");
    }

    #[test]
    fn a_slice_keeps_the_memory_alive_on_another_thread() {
        let mut buffer = AlignedBuf::zeroed(8192);
        buffer[5000] = 42;
        let slice = buffer.freeze().slice(5000..5001);
        let seen = std::thread::scope(|scope| scope.spawn(move || slice[0]).join().unwrap());
        assert_eq!(seen, 42);
    }
}
