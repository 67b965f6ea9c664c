//! F6, and F4's writes without a network: slices of direct writes and reads of one size on files
//! that hold bytes already, with synced writes at a steady rate beside them if asked for.
//!
//! The files are made once; a slice opens them and begins. So slices of a floor can stand between
//! slices of a broker.

use std::cell::Cell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog::bench::{Problem, histogram};
use corelog::io::blocking::{self, ScratchDir};
use corelog::io::{self, AlignedBuf, File, Sync};
use corelog::model::CoreId;

use crate::limits::WRITE_DEPTH_MAX;
use crate::loops::{Place, Times, file_at, on_cores};
use crate::machine::own_cpu_seconds;

/// Files that hold bytes, to be overwritten and read. They go with this value.
#[derive(Debug)]
pub(crate) struct FloorFiles {
    dir: ScratchDir,
    pub(crate) count: usize,
    /// Of each.
    pub(crate) bytes: u64,
}

impl FloorFiles {
    /// Makes them in a new directory below `parent`, and fills them.
    pub(crate) fn make(parent: &Path, count: usize, bytes: u64) -> Result<FloorFiles, Problem> {
        let failed = |error: io::Error| Problem::new(format!("the floors' files: {error}"));
        std::fs::create_dir_all(parent).map_err(failed)?;
        let dir = ScratchDir::new(Some(&blocking::absolute(parent))).map_err(failed)?;
        let path = dir.path().to_owned();
        on_cores(&[None], move |_| {
            let path = path.clone();
            async move { Some(open_all(&path, count, bytes).await.map(drop)) }
        })
        .map_err(failed)?;
        Ok(FloorFiles { dir, count, bytes })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Opens the files of a directory, or makes and fills those that are not there.
pub(crate) async fn open_all(dir: &Path, count: usize, bytes: u64) -> io::Result<Vec<File>> {
    let mut files = Vec::with_capacity(count);
    for number in 0..count {
        let path: PathBuf = dir.join(format!("floor-{number}"));
        files.push(file_at(&path, Place::Overwritten, bytes).await?);
    }
    Ok(files)
}

/// What a slice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write(Sync),
    Read,
}

/// One slice of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskLoad {
    pub(crate) access: Access,
    /// Bytes of one operation.
    pub(crate) bytes: usize,
    /// Operations in flight, of all cores together; 0 where only what is beside them counts.
    pub(crate) depth: usize,
    /// How many of the files take part.
    pub(crate) files: usize,
    pub(crate) time: Duration,
    pub(crate) beside: Option<Steady>,
}

/// Writes with data sync at their intended times, whatever becomes of those before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    /// Bytes of one write.
    pub(crate) bytes: usize,
    /// Of all cores together.
    pub(crate) writes_per_second: u32,
}

/// What a slice brought.
#[derive(Clone, Debug)]
pub(crate) struct DiskSlice {
    pub(crate) bytes_per_second: f64,
    /// Of each operation.
    pub(crate) times: Times,
    /// Of each steady write, from its intended time.
    pub(crate) steady_times: Times,
    /// Processor time of this whole process, which does nothing else.
    pub(crate) cpu_seconds: f64,
}

impl DiskSlice {
    /// Nanoseconds within which this share of the operations ended.
    pub(crate) fn ns_at(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64
    }

    /// Microseconds within which this share of the steady writes ended.
    pub(crate) fn steady_us_at(&self, quantile: f64) -> f64 {
        self.steady_times.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Runs one slice on these CPUs.
pub(crate) fn slice(
    cpus: &[usize],
    files: &FloorFiles,
    load: DiskLoad,
) -> Result<DiskSlice, Problem> {
    let cores = match load.beside {
        Some(_) => cpus.len(),
        None => cpus.len().clamp(1, load.depth.max(1)),
    };
    let cpus: Vec<Option<usize>> = cpus[..cores].iter().map(|&cpu| Some(cpu)).collect();
    let (dir, count, file_bytes) = (files.dir().to_owned(), files.count, files.bytes);
    let results = Arc::new(Mutex::new(Vec::new()));
    let cpu_before = own_cpu_seconds();
    let ran = on_cores(&cpus, |core| {
        let (dir, results) = (dir.clone(), Arc::clone(&results));
        async move {
            let result = async {
                let files = open_all(&dir, count, file_bytes).await?;
                run_core(
                    core,
                    cores,
                    &files[..load.files.min(count)],
                    file_bytes,
                    load,
                )
                .await
            };
            let result = result.await;
            results.lock().expect("no core panicked").push(result);
            Some(Ok(()))
        }
    });
    let failed = |error: io::Error| Problem::new(format!("the disk's floor: {error}"));
    ran.map_err(failed)?;
    let mut sum = DiskSlice {
        bytes_per_second: 0.0,
        times: histogram(),
        steady_times: histogram(),
        cpu_seconds: own_cpu_seconds() - cpu_before,
    };
    for result in results.lock().expect("no core panicked").drain(..) {
        let core = result.map_err(failed)?;
        sum.bytes_per_second += core.bytes_per_second;
        add(&mut sum.times, &core.times);
        add(&mut sum.steady_times, &core.steady_times);
    }
    Ok(sum)
}

fn add(sum: &mut Times, times: &Times) {
    sum.add(times).expect("histograms have the same bounds");
}

/// What one core of a slice brought.
struct CoreSlice {
    bytes_per_second: f64,
    times: Times,
    steady_times: Times,
}

async fn run_core(
    core: CoreId,
    cores: usize,
    files: &[File],
    file_bytes: u64,
    load: DiskLoad,
) -> io::Result<CoreSlice> {
    let place = usize::from(core.0);
    let own_depth = load.depth / cores + usize::from(place < load.depth % cores);
    let next = Rc::new(Cell::new(place as u64));
    let begin = io::now();
    let tasks: Vec<_> = (0..own_depth)
        .map(|_| {
            let worker = Worker {
                files: files.to_vec(),
                next: Rc::clone(&next),
                stride: cores as u64,
                blocks: file_bytes / load.bytes as u64,
                load,
                deadline: begin + load.time,
            };
            io::spawn(worker.run())
        })
        .collect();
    let mut steady_times = histogram();
    if let Some(steady) = load.beside {
        let turn = Turn {
            core: place as u32,
            cores: cores as u32,
        };
        let time = begin..begin + load.time;
        steady_times = write_steadily(files, file_bytes, steady, turn, time).await?;
    }
    let mut times = histogram();
    for task in tasks {
        add(&mut times, &task.await?);
    }
    let bytes = times.len() * load.bytes as u64;
    Ok(CoreSlice {
        bytes_per_second: bytes as f64 / (io::now() - begin).as_secs_f64(),
        times,
        steady_times,
    })
}

/// Which of the steady writes are a core's: they go round the cores.
#[derive(Clone, Copy, Debug)]
struct Turn {
    core: u32,
    cores: u32,
}

/// A core's share of the steady writes; the time of each, from when it was meant to begin.
async fn write_steadily(
    files: &[File],
    file_bytes: u64,
    steady: Steady,
    turn: Turn,
    time: Range<io::Instant>,
) -> io::Result<Times> {
    let written = AlignedBuf::zeroed(steady.bytes).freeze();
    let blocks = file_bytes / steady.bytes as u64;
    let between = Duration::from_secs(1) / steady.writes_per_second.max(1);
    let mut due = time.start + between * turn.core;
    let mut number = u64::from(turn.core);
    let mut tasks = Vec::new();
    while due < time.end {
        let now = io::now();
        if due > now {
            io::sleep(due - now).await;
        }
        let (file, block) = place_of(number, files.len() as u64, blocks);
        let (file, written) = (files[file as usize].clone(), written.clone());
        tasks.push(io::spawn(async move {
            let offset = block * steady.bytes as u64;
            file.write_at(written, offset, Sync::Data).await?;
            Ok::<_, io::Error>((io::now() - due).as_nanos() as u64)
        }));
        due = due + between * turn.cores;
        number += u64::from(turn.cores);
    }
    let mut times = histogram();
    for task in tasks {
        times.saturating_record(task.await?);
    }
    Ok(times)
}

/// One of the operations that are in flight all the time.
struct Worker {
    files: Vec<File>,
    /// The number of the next operation: its file and its block follow from it, so that all
    /// together write each file from its start to its end, and again.
    next: Rc<Cell<u64>>,
    stride: u64,
    /// Of each file.
    blocks: u64,
    load: DiskLoad,
    deadline: io::Instant,
}

impl Worker {
    async fn run(self) -> io::Result<Times> {
        let mut times = histogram();
        let mut buffer = AlignedBuf::zeroed(self.load.bytes);
        let written = AlignedBuf::zeroed(self.load.bytes).freeze();
        loop {
            let begin = io::now();
            if begin >= self.deadline {
                return Ok(times);
            }
            let number = self.next.replace(self.next.get() + self.stride);
            let (file, block) = place_of(number, self.files.len() as u64, self.blocks);
            let file = &self.files[file as usize];
            let offset = block * self.load.bytes as u64;
            match self.load.access {
                Access::Write(sync) => file.write_at(written.clone(), offset, sync).await?,
                Access::Read => {
                    let (result, back) = file.read_at(buffer, offset).await;
                    result?;
                    buffer = back;
                }
            }
            times.saturating_record((io::now() - begin).as_nanos() as u64);
        }
    }
}

/// File and block of an operation.
fn place_of(number: u64, files: u64, blocks: u64) -> (u64, u64) {
    (number % files, number / files % blocks)
}

/// The fastest depth of 1 to 32, and its bytes a second.
pub(crate) fn best_depth(
    cpus: &[usize],
    files: &FloorFiles,
    load: DiskLoad,
) -> Result<(usize, f64), Problem> {
    let mut best = (1, 0.0);
    for depth in depths() {
        let rate = slice(cpus, files, DiskLoad { depth, ..load })?.bytes_per_second;
        if rate > best.1 {
            best = (depth, rate);
        }
    }
    Ok(best)
}

/// 1, 2, 4 and so on.
pub(crate) fn depths() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |depth| Some(depth * 2))
        .take_while(|&depth| depth <= WRITE_DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_written_from_start_to_end_and_again() {
        let places: Vec<_> = (0..6).map(|number| place_of(number, 2, 2)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0)]);
        assert_eq!(depths().collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32]);
    }

    #[test]
    fn slices_repeat_on_the_same_files() {
        let files = FloorFiles::make(&std::env::temp_dir(), 3, 1 << 20).expect("files");
        let cpus = io::available_cpus();
        let mut load = DiskLoad {
            access: Access::Write(Sync::Data),
            bytes: 4096,
            depth: 4,
            files: 3,
            time: Duration::from_millis(20),
            beside: None,
        };
        for access in [load.access, Access::Read, Access::Write(Sync::None)] {
            load.access = access;
            let slice = slice(&cpus, &files, load).expect("a slice");
            assert!(slice.bytes_per_second > 0.0, "{access:?}");
            assert!(slice.ns_at(0.5) > 0.0 && slice.ns_at(0.99) >= slice.ns_at(0.5));
        }
        let (depth, rate) = best_depth(&cpus, &files, load).expect("a best depth");
        assert!(depth >= 1 && rate > 0.0);
    }

    #[test]
    fn steady_writes_come_at_their_rate_beside_reads_or_alone() {
        let files = FloorFiles::make(&std::env::temp_dir(), 3, 1 << 20).expect("files");
        for depth in [0, 1, 4] {
            let load = DiskLoad {
                access: Access::Read,
                bytes: 4096,
                depth,
                files: 3,
                time: Duration::from_millis(100),
                beside: Some(Steady {
                    bytes: 8192,
                    writes_per_second: 200,
                }),
            };
            let slice = slice(&io::available_cpus(), &files, load).expect("a slice");
            assert_eq!(slice.steady_times.len(), 20, "beside {depth}");
            assert!(slice.steady_us_at(0.5) > 0.0);
            assert_eq!(slice.times.is_empty(), depth == 0);
        }
    }
}
