//! The errors that the simulated kernel gives, as the real one numbers them.

use std::io;

/// An errno of Linux; becomes the `io::Error` that the real backend would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const NOT_FOUND: Errno = Errno(libc::ENOENT);
    pub(crate) const EXISTS: Errno = Errno(libc::EEXIST);
    pub(crate) const NOT_A_DIRECTORY: Errno = Errno(libc::ENOTDIR);
    pub(crate) const IS_A_DIRECTORY: Errno = Errno(libc::EISDIR);
    pub(crate) const INVALID: Errno = Errno(libc::EINVAL);
    pub(crate) const NO_SPACE: Errno = Errno(libc::ENOSPC);
    pub(crate) const BAD_HANDLE: Errno = Errno(libc::EBADF);
    pub(crate) const TOO_LARGE: Errno = Errno(libc::EFBIG);
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}
