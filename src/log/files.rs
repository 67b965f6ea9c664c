//! The open files of one shard's chunks: a bounded cache, so that idle partitions own none.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use crate::io::{self, File, Open};

use super::chunk::ChunkId;

/// Files by chunk, at most `capacity` of them; the ones not used of late go first.
///
/// Whoever got a file keeps it open for as long as it uses it, cached or not.
pub(super) struct Files {
    dir: PathBuf,
    capacity: usize,
    cached: RefCell<Cached>,
}

#[derive(Default)]
struct Cached {
    files: HashMap<ChunkId, Entry>,
    /// Every cached id once, in the order in which eviction looks at them.
    order: VecDeque<ChunkId>,
}

struct Entry {
    file: File,
    used: Cell<bool>,
}

impl Files {
    pub(super) fn new(dir: PathBuf, capacity: usize) -> Files {
        Files {
            dir,
            capacity,
            cached: RefCell::default(),
        }
    }

    /// The pool directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The chunk's file, opened if it is not open.
    pub(super) async fn get(&self, id: ChunkId) -> io::Result<File> {
        if let Some(entry) = self.cached.borrow().files.get(&id) {
            entry.used.set(true);
            return Ok(entry.file.clone());
        }
        let file = File::open(self.dir.join(id.file_name()), Open::ReadWrite).await?;
        let mut cached = self.cached.borrow_mut();
        cached.forget(id);
        while cached.files.len() >= self.capacity {
            cached.evict_one();
        }
        let entry = Entry {
            file: file.clone(),
            used: Cell::new(false),
        };
        cached.files.insert(id, entry);
        cached.order.push_back(id);
        Ok(file)
    }

    /// The chunk's file is not needed soon: its owner is idle, or it is gone.
    pub(super) fn forget(&self, id: ChunkId) {
        self.cached.borrow_mut().forget(id);
    }

    /// How many are cached.
    pub(super) fn open_count(&self) -> usize {
        self.cached.borrow().files.len()
    }
}

impl Cached {
    fn forget(&mut self, id: ChunkId) {
        if self.files.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }

    /// Second chance: one that was used since it was last looked at goes to the end.
    fn evict_one(&mut self) {
        let id = self
            .order
            .pop_front()
            .expect("every cached file stands in the order");
        if self.files[&id].used.take() {
            self.order.push_back(id);
        } else {
            self.files.remove(&id);
        }
    }
}
