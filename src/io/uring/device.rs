//! What a block device takes at once, and how this core keeps below it.
//!
//! A device has a fixed number of request tags (`queue/nr_requests`). When they are used up,
//! `io_uring_enter` itself sleeps until one is free, and with it the whole core
//! (`kernel-notes/nr-requests.md`). So each core keeps its operations on a device to its share of
//! a part of the tags, and lets further operations wait for a permit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::io::sync::{OwnedSemaphorePermit, Semaphore};
use crate::limits::{DEVICE_REQUEST_BYTES_ASSUMED, DEVICE_REQUESTS_ASSUMED};

/// Writes may use half of a device's tags, reads a quarter; the rest is left to the file system's
/// own writes and to others.
const WRITE_SHARE: u32 = 2;
const READ_SHARE: u32 = 4;

/// The devices that this core has files on.
pub(super) struct Devices {
    cores: u32,
    known: RefCell<HashMap<(u32, u32), Rc<Device>>>,
}

/// One device, and this core's permits for it.
pub(super) struct Device {
    /// Bytes that the device takes with one tag.
    request_bytes: u32,
    /// The granularity of its addresses, in bytes, if the kernel says it.
    pub(super) logical_block_bytes: Option<usize>,
    writes: Lane,
    reads: Lane,
}

/// Permits for operations in one direction; one permit is one tag.
struct Lane {
    permits: Arc<Semaphore>,
    total: u32,
}

impl Devices {
    /// None known; each will be shared by this many cores.
    pub(super) fn new(cores: usize) -> Devices {
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        Devices {
            cores,
            known: RefCell::new(HashMap::new()),
        }
    }

    /// The device with this number. The first call for each reads a few lines of sysfs.
    pub(super) fn get(&self, major: u32, minor: u32) -> Rc<Device> {
        let mut known = self.known.borrow_mut();
        let device = known.entry((major, minor)).or_insert_with(|| {
            let queue = queue_directory(Path::new("/sys"), major, minor);
            Rc::new(Device::new(&Queue::read(&queue), self.cores))
        });
        device.clone()
    }
}

impl Device {
    fn new(queue: &Queue, cores: u32) -> Device {
        let tags = queue.tags.unwrap_or(DEVICE_REQUESTS_ASSUMED);
        let lane = |share: u32| {
            let total = (tags / share / cores).max(1);
            Lane {
                permits: Arc::new(Semaphore::new(total as usize)),
                total,
            }
        };
        Device {
            request_bytes: queue
                .request_bytes
                .unwrap_or(DEVICE_REQUEST_BYTES_ASSUMED)
                .max(512),
            logical_block_bytes: queue.logical_block_bytes,
            writes: lane(WRITE_SHARE),
            reads: lane(READ_SHARE),
        }
    }

    /// Waits for the right to write this much.
    pub(super) async fn permit_write(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        self.writes.permit(length, self.request_bytes).await
    }

    /// Waits for the right to read this much.
    pub(super) async fn permit_read(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        self.reads.permit(length, self.request_bytes).await
    }
}

impl Lane {
    /// As many permits as the device needs tags, but never more than there are.
    async fn permit(&self, length: usize, request_bytes: u32) -> Option<OwnedSemaphorePermit> {
        let tags = length
            .div_ceil(request_bytes as usize)
            .clamp(1, self.total as usize);
        // The semaphore is never closed, so there is always a permit in the end.
        self.permits
            .clone()
            .acquire_many_owned(tags as u32)
            .await
            .ok()
    }
}

/// What sysfs says about a device; `None` where it says nothing, as for a network file system.
#[derive(Debug, Default, PartialEq, Eq)]
struct Queue {
    tags: Option<u32>,
    request_bytes: Option<u32>,
    logical_block_bytes: Option<usize>,
}

impl Queue {
    fn read(directory: &Path) -> Queue {
        let number = |name: &str| -> Option<u32> {
            fs::read_to_string(directory.join(name))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let by_size = number("max_sectors_kb").map(|kib| kib.saturating_mul(1024));
        // Memory is in pages all over, so a segment may be one page.
        let by_segments = number("max_segments").map(|count| count.saturating_mul(4096));
        Queue {
            tags: number("nr_requests"),
            request_bytes: by_size.into_iter().chain(by_segments).min(),
            logical_block_bytes: number("logical_block_size").map(|bytes| bytes as usize),
        }
    }
}

/// A partition has no queue of its own; its disk's is one directory up.
fn queue_directory(sysfs: &Path, major: u32, minor: u32) -> PathBuf {
    let device = sysfs.join(format!("dev/block/{major}:{minor}"));
    let own = device.join("queue");
    if own.is_dir() {
        return own;
    }
    // The entry is a link: its parent is the disk only after it has been followed.
    match fs::canonicalize(&device) {
        Ok(partition) => partition.join("../queue"),
        Err(_) => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn check(tags: Option<u32>, cores: u32, writes: usize, reads: usize) {
        let device = Device::new(
            &Queue {
                tags,
                ..Queue::default()
            },
            cores,
        );
        let free = |lane: &Lane| lane.permits.available_permits();
        assert_eq!((free(&device.writes), free(&device.reads)), (writes, reads));
    }

    #[test]
    fn all_cores_together_stay_below_the_devices_tags() {
        check(Some(256), 1, 128, 64);
        check(Some(256), 4, 32, 16);
        check(Some(31), 2, 7, 3);
        check(Some(2), 64, 1, 1);
        check(
            None,
            1,
            DEVICE_REQUESTS_ASSUMED as usize / 2,
            DEVICE_REQUESTS_ASSUMED as usize / 4,
        );
    }

    #[test]
    fn a_large_write_takes_a_permit_per_tag_and_all_at_most() {
        let queue = Queue {
            tags: Some(16),
            request_bytes: Some(128 << 10),
            logical_block_bytes: None,
        };
        let device = Device::new(&queue, 1);
        let take = |length| device.permit_write(length).now_or_never();
        let one = take(4096).unwrap();
        let three = take(384 << 10).unwrap();
        assert_eq!(device.writes.permits.available_permits(), 4);
        assert!(
            take(1 << 30).is_none(),
            "a write larger than the lane waits for all of it"
        );
        drop((one, three));
        assert_eq!(take(1 << 30).unwrap().unwrap().num_permits(), 8);
    }

    #[test]
    fn sysfs_is_read_for_a_disk_and_for_its_partition() {
        let sysfs = tempfile::tempdir().unwrap();
        let disk = sysfs.path().join("devices/pci/block/vda");
        let queue = disk.join("queue");
        fs::create_dir_all(&queue).unwrap();
        fs::create_dir_all(disk.join("vda1")).unwrap();
        fs::create_dir_all(sysfs.path().join("dev/block")).unwrap();
        let link = |name: &str, target: &str| {
            let target = sysfs.path().join(target);
            std::os::unix::fs::symlink(target, sysfs.path().join("dev/block").join(name)).unwrap();
        };
        link("254:0", "devices/pci/block/vda");
        link("254:1", "devices/pci/block/vda/vda1");
        for (name, value) in [
            ("nr_requests", "256\n"),
            ("max_sectors_kb", "1280\n"),
            ("max_segments", "254\n"),
            ("logical_block_size", "512\n"),
        ] {
            fs::write(queue.join(name), value).unwrap();
        }
        let expected = Queue {
            tags: Some(256),
            request_bytes: Some(254 * 4096),
            logical_block_bytes: Some(512),
        };
        for minor in [0, 1] {
            assert_eq!(
                Queue::read(&queue_directory(sysfs.path(), 254, minor)),
                expected
            );
        }
        assert_eq!(
            Queue::read(&queue_directory(sysfs.path(), 254, 2)),
            Queue::default()
        );
    }
}
