//! Paths as system calls take them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::io::{Error, ErrorKind, Result};

/// The path's bytes with a zero behind them.
pub(super) fn terminated(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "a path has no zero bytes"))
}

/// The directory in which the path's last name stands.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_stands_in_the_current_directory() {
        for (path, expected) in [("a/b", "a"), ("a", "."), ("/a", "/"), ("a/b/c", "a/b")] {
            assert_eq!(parent(Path::new(path)), Path::new(expected));
        }
        assert!(terminated(Path::new("a\0b")).is_err());
    }
}
