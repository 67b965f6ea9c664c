//! Files: direct I/O and its alignment, data sync, reserved and zeroed blocks, atomic writes, and
//! which writes need a worker thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use io_uring::{IoUring, opcode, types};

use super::ring::submit;
use super::{Row, row, told};

const FILE_BYTES: u64 = 4 << 20;
const WRITE_BYTES: usize = 64 << 10;
/// Writes that are in flight at the same time.
const WRITES: u64 = 16;

/// Not in every libc: FALLOC_FL_WRITE_ZEROES of linux/falloc.h, RWF_ATOMIC and RWF_DONTCACHE of
/// linux/fs.h.
const WRITE_ZEROES: i32 = 0x80;
const RWF_ATOMIC: i32 = 0x40;
const RWF_DONTCACHE: i32 = 0x80;

pub(super) fn rows(dir: &Path) -> Vec<Row> {
    let path = dir.join(format!("probe-{}", std::process::id()));
    let rows = with_file(&path);
    // A file that was not made is not there.
    let _ = std::fs::remove_file(&path);
    match rows {
        Ok(rows) => rows,
        Err(error) => vec![row(
            "o-direct",
            "open with O_DIRECT",
            format!("no: {error}"),
        )],
    }
}

/// A block's memory, aligned to the largest block there is.
#[repr(align(4096))]
struct Memory([u8; WRITE_BYTES]);

fn with_file(path: &Path) -> io::Result<Vec<Row>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let mut rows = vec![row("o-direct", "open with O_DIRECT", "yes")];
    rows.push(row("statx-dioalign", "STATX_DIOALIGN", alignment(&file)));
    let memory = Box::new(Memory([0; WRITE_BYTES]));
    let write = |offset: u64, flags: i32| write(&file, &memory.0, offset, flags);
    rows.push(row(
        "fallocate",
        "FALLOCATE, mode 0",
        told(allocate(&file, 0), |()| "yes".into()),
    ));
    let inside = workers(&file, &memory.0)?;
    rows.push(row(
        "rwf-dsync",
        "16 writes at once, in allocated space",
        inside,
    ));
    let written = |count| format!("{count} bytes");
    let misaligned = told(write(100, 0), written);
    rows.push(row("o-direct", "a write at offset 100", misaligned));
    let synced = told(write(0, libc::RWF_DSYNC), written);
    rows.push(row("rwf-dsync", "a write with RWF_DSYNC", synced));
    let zeroes = told(allocate(&file, WRITE_ZEROES), |()| "yes".into());
    rows.push(row(
        "fallocate-write-zeroes",
        "FALLOC_FL_WRITE_ZEROES",
        zeroes,
    ));
    let atomic = told(write(0, RWF_ATOMIC), written);
    rows.push(row("write-flags", "a write with RWF_ATOMIC", atomic));
    let uncached = told(write(0, RWF_DONTCACHE), written);
    rows.push(row("write-flags", "a write with RWF_DONTCACHE", uncached));
    // Last, because the threads that it starts stay for a while.
    file.set_len(0)?;
    let appended = workers(&file, &memory.0)?;
    rows.push(row("rwf-dsync", "16 writes at once, appending", appended));
    Ok(rows)
}

fn alignment(file: &File) -> String {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is an empty C string, and `answer` has the size that statx writes.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            answer.as_mut_ptr(),
        )
    };
    if result != 0 {
        return format!("no: {}", io::Error::last_os_error());
    }
    // SAFETY: zeroes are a valid value of it, and statx has succeeded.
    let answer = unsafe { answer.assume_init() };
    match answer.stx_mask & libc::STATX_DIOALIGN {
        0 => "the kernel does not say".into(),
        _ => format!(
            "memory {}, offset {} bytes",
            answer.stx_dio_mem_align, answer.stx_dio_offset_align
        ),
    }
}

fn allocate(file: &File, mode: i32) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    match unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, FILE_BYTES as libc::off_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write(file: &File, bytes: &[u8], offset: u64, flags: i32) -> io::Result<i32> {
    let mut ring = IoUring::new(8)?;
    let fd = types::Fd(file.as_raw_fd());
    let entry = opcode::Write::new(fd, bytes.as_ptr(), bytes.len() as u32);
    let (written, _) = submit(&mut ring, &entry.offset(offset).rw_flags(flags).build())?;
    Ok(written)
}

/// Writes several blocks at once, and says how many threads the kernel started for them.
fn workers(file: &File, bytes: &[u8]) -> io::Result<String> {
    let mut ring = IoUring::new(WRITES as u32)?;
    let fd = types::Fd(file.as_raw_fd());
    for number in 0..WRITES {
        let entry = opcode::Write::new(fd, bytes.as_ptr(), bytes.len() as u32);
        let entry = entry.offset(number * bytes.len() as u64).build();
        // SAFETY: the bytes live until all completions have come, below.
        unsafe { ring.submission().push(&entry) }.map_err(|_| io::ErrorKind::Other)?;
    }
    ring.submit_and_wait(WRITES as usize)?;
    let done = ring.completion().filter(|entry| entry.result() > 0).count();
    let threads = std::fs::read_dir("/proc/self/task")?;
    let is_worker = |thread: io::Result<std::fs::DirEntry>| {
        let name = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("comm")));
        name.is_ok_and(|name| name.starts_with("iou-wrk"))
    };
    let workers = threads.map(is_worker).filter(|is| *is).count();
    Ok(format!("{done} done, {workers} worker threads"))
}
