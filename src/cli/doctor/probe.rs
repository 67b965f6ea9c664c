//! What only trying can tell: a ring, direct I/O in the data directory, and how long a data sync
//! takes there. It writes one small file and removes it.

use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::io::{self, AlignedBuf, CoreSpec, File, Open, Space, Sync, fs};

/// What came of it.
#[derive(Debug)]
pub(super) struct Probe {
    /// The mode of the ring that the kernel gave, or why it gave none.
    pub(super) ring: Result<&'static str, String>,
    /// The disk under the data directory; `None` without a ring.
    pub(super) disk: Option<Disk>,
}

/// A directory that a file was written in.
#[derive(Debug)]
pub(super) struct Disk {
    /// What there is room for.
    pub(super) space: Result<Space, String>,
    /// Direct I/O, or why there is none.
    pub(super) direct: Result<Direct, String>,
}

/// A file that was written with direct I/O.
#[derive(Debug)]
pub(super) struct Direct {
    /// What offsets, lengths and memory are multiples of, in bytes.
    pub(super) alignment_bytes: usize,
    /// Writes of one block with data sync, one at a time, in nanoseconds.
    pub(super) syncs: Histogram<u64>,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe {
            ring: Err("nothing was tried".into()),
            disk: None,
        }
    }
}

/// Writes of the probe, and the time after which it stops sooner.
const WRITES_MAX: u64 = 256;
const TIME_MAX: Duration = Duration::from_secs(2);
const WRITE_BYTES: usize = 4096;
/// They go round in a file of this size, which is allocated before.
const FILE_BYTES: u64 = 1 << 20;

/// Tries all of it, in `dir` or the nearest directory above it that exists.
pub(super) fn run(dir: &Path) -> Probe {
    let dir = super::existing(dir);
    let (sender, receiver) = mpsc::channel();
    let ran = io::run(&CoreSpec::unpinned(1), move |_| {
        let (dir, sender) = (dir.clone(), sender.clone());
        async move {
            let probe = Probe {
                ring: Ok(io::stats().ring),
                disk: Some(look_at(&dir).await),
            };
            // The receiver outlives the core.
            let _ = sender.send(probe);
        }
    });
    match (ran, receiver.try_recv()) {
        (_, Ok(probe)) => probe,
        (Err(error), Err(_)) => Probe {
            ring: Err(error.to_string()),
            disk: None,
        },
        (Ok(()), Err(_)) => Probe::default(),
    }
}

async fn look_at(dir: &Path) -> Disk {
    let path = dir.join(format!("corelog-doctor-{}", std::process::id()));
    let space = fs::space(dir).await.map_err(|error| error.to_string());
    let direct = write_at(&path).await.map_err(|error| error.to_string());
    // A file that was not made is not there.
    let _ = fs::remove_file(&path).await;
    Disk { space, direct }
}

async fn write_at(path: &Path) -> io::Result<Direct> {
    let file = Rc::new(File::open(path, Open::CreateNew).await?);
    file.allocate(FILE_BYTES).await?;
    let alignment_bytes = file.alignment();
    let mut syncs = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("legal bounds");
    let block = WRITE_BYTES.max(alignment_bytes);
    // The first round writes what was only allocated; what counts is what overwrites.
    let blocks = FILE_BYTES / block as u64;
    let filling = AlignedBuf::zeroed(FILE_BYTES as usize).freeze();
    file.write_at(filling, 0, Sync::Data).await?;
    let bytes = AlignedBuf::zeroed(block).freeze();
    let end = io::now() + TIME_MAX;
    for number in 0..WRITES_MAX {
        let start = io::now();
        if start > end {
            break;
        }
        let offset = number % blocks * block as u64;
        file.write_at(bytes.clone(), offset, Sync::Data).await?;
        let took = io::now().since(start).as_nanos();
        syncs.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
    }
    Ok(Direct {
        alignment_bytes,
        syncs,
    })
}
