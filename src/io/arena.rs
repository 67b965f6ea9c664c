#![allow(unsafe_code)]
//! The memory of one thread's aligned buffers: carved from large mappings, kept for reuse.
//!
//! A buffer of the hot path lives for a fraction of a millisecond. Taken from the general
//! allocator each would be mapped, faulted in page by page, zeroed by the kernel and unmapped
//! again, which cost more than receiving, checking and writing the bytes together. Here a block
//! that was used once is used again, with its pages in place and whatever bytes are in it.
//!
//! Blocks have size classes, eight to each doubling, so that at most an eighth is wasted. A block
//! is returned to the thread that it came from: directly by that thread, through a lock-free
//! queue by any other. Mappings go when the thread has ended and the last of its blocks is
//! dropped.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::queue::SegQueue;

use crate::limits::{
    ARENA_BLOCK_BYTES_MAX, ARENA_GIVE_BACK_BLOCKS_MAX, ARENA_REGION_BYTES, IO_ALIGNMENT_BYTES,
};

const PAGE_BYTES: usize = IO_ALIGNMENT_BYTES;
/// Classes of one page each, before they grow with the size.
const LINEAR_CLASSES: usize = 8;
/// Of one doubling of the size.
const STEPS: usize = 8;
const CLASSES: usize = class_of(ARENA_BLOCK_BYTES_MAX) + 1;

/// The class of the smallest blocks that hold `bytes`.
const fn class_of(bytes: usize) -> usize {
    let pages = bytes.div_ceil(PAGE_BYTES);
    if pages <= LINEAR_CLASSES {
        return pages.saturating_sub(1);
    }
    let doubling = ((pages - 1) / LINEAR_CLASSES).ilog2() as usize;
    let (start, step) = (LINEAR_CLASSES << doubling, 1 << doubling);
    LINEAR_CLASSES + STEPS * doubling + (pages - start).div_ceil(step) - 1
}

/// Bytes of a block of the class.
const fn block_bytes(class: usize) -> usize {
    if class < LINEAR_CLASSES {
        return (class + 1) * PAGE_BYTES;
    }
    let (doubling, place) = (
        (class - LINEAR_CLASSES) / STEPS,
        (class - LINEAR_CLASSES) % STEPS,
    );
    ((LINEAR_CLASSES + place + 1) << doubling) * PAGE_BYTES
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

/// Memory that one holder owns: initialised bytes of no particular content, aligned to
/// `IO_ALIGNMENT_BYTES`.
pub(super) struct Block {
    memory: NonNull<u8>,
    class: usize,
    home: Arc<Home>,
}

// SAFETY: it owns its memory alone, and where it is dropped makes no difference to that.
unsafe impl Send for Block {}
// SAFETY: through a shared reference only the address can be had.
unsafe impl Sync for Block {}

impl Block {
    /// A block of at least `bytes`, and whether all of its bytes are zero.
    pub(super) fn take(bytes: usize) -> (Block, bool) {
        assert!(bytes <= ARENA_BLOCK_BYTES_MAX);
        ARENA.with_borrow_mut(|arena| arena.take(class_of(bytes)))
    }

    /// Its first byte.
    pub(super) fn memory(&self) -> NonNull<u8> {
        self.memory
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let returned = Returned {
            memory: self.memory,
            class: self.class,
        };
        // The thread's own storage may be gone when the thread ends.
        let kept = ARENA.try_with(|arena| {
            let mut arena = arena.borrow_mut();
            let mine = Arc::ptr_eq(&arena.home, &self.home);
            if mine {
                arena.put(self.memory, self.class);
            }
            mine
        });
        if !kept.unwrap_or(false) {
            self.home.returned.push(returned);
        }
    }
}

/// What other threads know of an arena.
struct Home {
    /// Blocks that other threads have dropped.
    returned: SegQueue<Returned>,
    regions: Mutex<Vec<Region>>,
}

struct Returned {
    memory: NonNull<u8>,
    class: usize,
}

// SAFETY: it stands for the ownership of a block, which nobody else refers to any more.
unsafe impl Send for Returned {}

/// One mapping; unmapped when it is dropped, which happens when no block of its home is left.
struct Region {
    memory: NonNull<u8>,
}

// SAFETY: the address of a mapping means the same on every thread, and only `drop` uses it.
unsafe impl Send for Region {}

impl Region {
    fn map() -> Region {
        let memory = map(ARENA_REGION_BYTES);
        // Where the kernel refuses, small pages serve as well (`kernel-notes/hugepages.md`).
        // SAFETY: the mapping is new and ours; the call changes how it is backed, not what it
        // holds.
        unsafe {
            libc::madvise(
                memory.as_ptr().cast(),
                ARENA_REGION_BYTES,
                libc::MADV_HUGEPAGE,
            )
        };
        Region { memory }
    }
}

/// Memory from a page on that reads as zeros and takes none of the machine's until it is written
/// to. It is the caller's, until it unmaps it.
pub(super) fn map(bytes: usize) -> NonNull<u8> {
    // SAFETY: a new private mapping at an address that the kernel chooses touches no memory that
    // is in use.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    match NonNull::new(memory.cast::<u8>()) {
        Some(memory) if memory.as_ptr().cast() != libc::MAP_FAILED => memory,
        _ => match std::alloc::Layout::from_size_align(bytes, PAGE_BYTES) {
            Ok(layout) => std::alloc::handle_alloc_error(layout),
            Err(_) => panic!("{bytes} bytes do not fit the address space"),
        },
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and every block in it was dropped: each holds
        // its home, and this is the home's end.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), ARENA_REGION_BYTES) };
    }
}

/// One thread's blocks.
struct Arena {
    home: Arc<Home>,
    free: [Free; CLASSES],
    /// What is left of the newest region.
    fresh: Option<NonNull<u8>>,
    fresh_bytes: usize,
}

/// The free blocks of one class, taken from the end.
#[derive(Default)]
struct Free {
    blocks: Vec<NonNull<u8>>,
    /// So many from the start have no pages: they read as zeros.
    clean_count: usize,
    /// The fewest that were free since memory was given back last.
    least_count: usize,
}

impl Arena {
    fn new() -> Arena {
        Arena {
            home: Arc::new(Home {
                returned: SegQueue::new(),
                regions: Mutex::default(),
            }),
            free: std::array::from_fn(|_| Free::default()),
            fresh: None,
            fresh_bytes: 0,
        }
    }

    fn take(&mut self, class: usize) -> (Block, bool) {
        if self.free[class].blocks.is_empty() {
            while let Some(returned) = self.home.returned.pop() {
                self.put(returned.memory, returned.class);
            }
        }
        let (memory, is_zero) = match self.free[class].take() {
            Some(taken) => taken,
            None => (self.carve(block_bytes(class)), true),
        };
        let home = self.home.clone();
        let block = Block {
            memory,
            class,
            home,
        };
        (block, is_zero)
    }

    fn put(&mut self, memory: NonNull<u8>, class: usize) {
        self.free[class].blocks.push(memory);
    }

    /// New memory. What is left of a region that is too short is never touched, so it costs none.
    fn carve(&mut self, bytes: usize) -> NonNull<u8> {
        let start = match self.fresh {
            Some(start) if self.fresh_bytes >= bytes => start,
            _ => {
                let region = Region::map();
                let start = region.memory;
                let regions = &self.home.regions;
                let mut regions = regions.lock().unwrap_or_else(PoisonError::into_inner);
                regions.push(region);
                self.fresh_bytes = ARENA_REGION_BYTES;
                start
            }
        };
        self.fresh_bytes -= bytes;
        // SAFETY: `bytes` of the region were left from `start`, so this is inside of it or just
        // behind it.
        self.fresh = Some(unsafe { start.add(bytes) });
        start
    }

    /// Gives the pages back of blocks that nobody needed since this was called before.
    fn give_back(&mut self) {
        let mut left = ARENA_GIVE_BACK_BLOCKS_MAX;
        for (class, free) in self.free.iter_mut().enumerate() {
            let until = free.least_count.min(free.clean_count + left);
            for block in free.blocks.iter().take(until).skip(free.clean_count) {
                // SAFETY: the block is free: nobody refers to its bytes, and what is read from it
                // next is zeros.
                unsafe {
                    libc::madvise(
                        block.as_ptr().cast(),
                        block_bytes(class),
                        libc::MADV_DONTNEED,
                    )
                };
            }
            left -= until.saturating_sub(free.clean_count);
            free.clean_count = free.clean_count.max(until);
            free.least_count = free.blocks.len();
        }
    }
}

impl Free {
    /// A block, and whether it is all zeros.
    fn take(&mut self) -> Option<(NonNull<u8>, bool)> {
        let block = self.blocks.pop()?;
        let left = self.blocks.len();
        self.least_count = self.least_count.min(left);
        let is_zero = left < self.clean_count;
        self.clean_count = self.clean_count.min(left);
        Some((block, is_zero))
    }
}

/// Gives memory back to the system that this thread's buffers have not needed for a while: since
/// the call before this one.
pub fn give_back_buffers() {
    ARENA.with_borrow_mut(Arena::give_back);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_wastes_an_eighth_at_most_and_a_page_if_small() {
        for pages in 1..=ARENA_BLOCK_BYTES_MAX / PAGE_BYTES {
            for bytes in [(pages - 1) * PAGE_BYTES + 1, pages * PAGE_BYTES] {
                let got = block_bytes(class_of(bytes));
                assert!(got >= bytes, "{bytes}");
                let waste_max = (bytes / STEPS).max(PAGE_BYTES - 1);
                assert!(got - bytes <= waste_max, "{bytes} in {got}");
            }
        }
        assert_eq!(block_bytes(CLASSES - 1), ARENA_BLOCK_BYTES_MAX);
        assert_eq!(class_of(0), 0);
    }

    #[test]
    fn a_dropped_block_is_taken_again_by_its_thread_only() {
        let (block, is_zero) = Block::take(10_000);
        assert!(is_zero);
        let address = block.memory().addr();
        drop(block);
        let (again, is_zero) = Block::take(9_000);
        assert_eq!((again.memory().addr(), is_zero), (address, false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let again = again;
                let (other, _) = Block::take(9_000);
                assert_ne!(other.memory(), again.memory());
                drop(again);
                let (third, _) = Block::take(9_000);
                assert_ne!(third.memory().addr(), address);
            });
        });
        let (back, _) = Block::take(9_000);
        assert_eq!(back.memory().addr(), address);
    }

    #[test]
    fn a_block_outlives_its_thread() {
        let block = std::thread::spawn(|| {
            let (block, _) = Block::take(PAGE_BYTES);
            // SAFETY: the block is a page of initialised bytes that only this thread knows.
            unsafe { block.memory().as_ptr().write(42) };
            block
        });
        let block = block.join().expect("no panic");
        // SAFETY: as above; the value has come here with the block.
        assert_eq!(unsafe { block.memory().as_ptr().read() }, 42);
    }

    #[test]
    fn what_was_not_needed_for_a_while_is_given_back_and_reads_as_zeros() {
        let taken: Vec<Block> = (0..4).map(|_| Block::take(PAGE_BYTES).0).collect();
        for block in &taken {
            // SAFETY: each block is a page that only this test knows.
            unsafe { block.memory().as_ptr().write(1) };
        }
        drop(taken);
        let zeros = |count: usize| {
            let blocks: Vec<(Block, bool)> = (0..count).map(|_| Block::take(PAGE_BYTES)).collect();
            for (block, is_zero) in &blocks {
                // SAFETY: as above.
                let before = unsafe { block.memory().as_ptr().replace(1) };
                assert_eq!(before == 0, *is_zero);
            }
            blocks.iter().filter(|(_, is_zero)| *is_zero).count()
        };
        give_back_buffers();
        assert_eq!(zeros(4), 0, "they were in use since the start");
        give_back_buffers();
        give_back_buffers();
        assert_eq!(zeros(2), 2);
        give_back_buffers();
        assert_eq!(zeros(4), 2, "two were needed meanwhile");
    }
}
