//! Memory: hugepages on request, and pages given back.

use std::io;
use std::ptr;

use super::{Row, row, told};

const BYTES: usize = 8 << 20;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "hugepages",
            "8 MiB with MADV_HUGEPAGE, touched",
            told(after(libc::MADV_HUGEPAGE), |seen| seen),
        ),
        row(
            "hugepages",
            "8 MiB touched, then MADV_DONTNEED",
            told(given_back(), |seen| seen),
        ),
        row(
            "hugepages",
            "8 MiB with MAP_HUGETLB",
            told(reserved(), |()| "yes".into()),
        ),
    ]
}

/// A mapping of `BYTES` that goes when it is dropped.
struct Mapping(*mut u8);

impl Mapping {
    fn new(flags: i32) -> io::Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), BYTES, rights, flags, -1, 0) };
        match start == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(Mapping(start.cast())),
        }
    }

    fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is the mapping, of which nobody holds a reference.
        match unsafe { libc::madvise(self.0.cast(), BYTES, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn touch(&self) {
        for at in (0..BYTES).step_by(4096) {
            // SAFETY: `at` is inside of the mapping, which is writable.
            unsafe { self.0.add(at).write_volatile(1) };
        }
    }

    /// A row of /proc/self/smaps for the mapping, in KiB. Neighbours may have been merged with it.
    fn kilobytes(&self, name: &str) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let place = self.0 as u64;
        let mut is_here = false;
        for line in maps.lines() {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let hex = |text: &str| u64::from_str_radix(text, 16).ok();
            if let Some((Some(from), Some(to))) = range.map(|(from, to)| (hex(from), hex(to))) {
                is_here = (from..to).contains(&place);
            } else if let Some(rest) = line.strip_prefix(name).filter(|_| is_here) {
                let number = rest.trim().trim_end_matches(" kB").trim();
                return number.parse().unwrap_or(0);
            }
        }
        0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping, and nobody refers to it any more.
        unsafe { libc::munmap(self.0.cast(), BYTES) };
    }
}

fn after(advice: i32) -> io::Result<String> {
    let mapping = Mapping::new(0)?;
    mapping.advise(advice)?;
    mapping.touch();
    let huge = mapping.kilobytes("AnonHugePages:");
    Ok(format!("{huge} KiB of it in hugepages"))
}

fn given_back() -> io::Result<String> {
    let mapping = Mapping::new(0)?;
    mapping.touch();
    let before = mapping.kilobytes("Rss:");
    mapping.advise(libc::MADV_DONTNEED)?;
    let left = mapping.kilobytes("Rss:");
    Ok(format!("{before} KiB resident before, {left} after"))
}

fn reserved() -> io::Result<()> {
    Mapping::new(libc::MAP_HUGETLB).map(drop)
}
