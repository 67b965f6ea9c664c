#![allow(unsafe_code)]
//! Limits that the system sets for this process.

use super::{Error, Result};

/// Raises the number of files that may be open to what the process may raise it to by itself, and
/// returns it. The soft limit is low by default for the sake of select(2), which nothing here uses.
pub fn raise_open_files_limit() -> Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit, which the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the pointer is to a live rlimit, which the call reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let limit = raise_open_files_limit().expect("allowed");
        assert!(limit >= 256, "{limit}");
        assert_eq!(raise_open_files_limit().expect("allowed"), limit);
    }
}
