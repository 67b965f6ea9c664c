//! A disk with a volatile cache, as one file of a FUSE file system, for a loop device on top.
//!
//!     volatile-disk MOUNTPOINT MEBIBYTES
//!
//! Says `ready`, then obeys its standard input, one answer per line: `cut LOSS... SEED` cuts the
//! power (everything fails with EIO from then on) and loses what `image::Loss` says; `on` switches
//! it on again. It unmounts and ends when the standard input ends. MOUNTPOINT/disk is the disk.
//!
//! Linux sends the flushes of a file system on a loop device as fsync here, so that what was
//! written and never synced is known. Everything is in memory.

mod image;

use std::ffi::OsStr;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, WriteFlags,
};
use image::{Image, Loss};

const DISK: INodeNo = INodeNo(2);
const ATTRIBUTES_VALID: Duration = Duration::from_secs(3600);

/// The file system of one file.
struct DiskFile(Arc<Mutex<Image>>);

impl DiskFile {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_disk = inode == DISK;
        let size = self.image().size() as u64;
        FileAttr {
            ino: inode,
            size: if is_disk { size } else { 0 },
            blocks: if is_disk { size / 512 } else { 0 },
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_disk {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_disk { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }

    fn image(&self) -> std::sync::MutexGuard<'_, Image> {
        self.0.lock().expect("no holder panics")
    }
}

impl Filesystem for DiskFile {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match parent == INodeNo::ROOT && name == "disk" {
            true => reply.entry(&ATTRIBUTES_VALID, &self.attributes(DISK), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&ATTRIBUTES_VALID, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No page cache of the kernel between the loop device and this disk.
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.image().read(offset as usize, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.image().write(offset as usize, bytes) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.image().flush() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // The close of a descriptor, which is no promise.
        reply.ok();
    }
}

/// Carries out one line; what to answer.
fn obey(line: &str, image: &Mutex<Image>) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut image = image.lock().expect("no holder panics");
    match words.as_slice() {
        ["on"] => {
            image.switch_on();
            "on".to_owned()
        }
        ["cut", loss @ .., seed] => match (Loss::parse(loss), seed.parse()) {
            (Some(loss), Ok(seed)) => {
                let (kept, all) = image.cut(loss, seed);
                format!("cut {kept} {all}")
            }
            _ => format!("not understood: {line}"),
        },
        _ => format!("not understood: {line}"),
    }
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let [_, mountpoint, size] = words.as_slice() else {
        eprintln!("usage: volatile-disk MOUNTPOINT MEBIBYTES");
        std::process::exit(64);
    };
    let Ok(mebibytes) = size.parse::<usize>() else {
        eprintln!("volatile-disk: {size} is no number");
        std::process::exit(64);
    };
    let image = Arc::new(Mutex::new(Image::new(mebibytes << 20)));
    let session = fuser::spawn_mount(DiskFile(image.clone()), mountpoint, &Config::default())?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lines() {
        writeln!(out, "{}", obey(&line?, &image))?;
        out.flush()?;
    }
    session.umount_and_join()
}
