//! Blocking I/O, for the command line and the load harness: they run where io_uring may be missing
//! and have nothing else to do while they wait. Never called on a core.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use std::io::{stderr, stdin, stdout};

use super::{ErrorKind, Result};

/// A connection whose calls block the thread.
#[derive(Debug)]
pub struct TcpStream(std::net::TcpStream);

impl TcpStream {
    /// Connects, giving up after `limit`. Small writes are sent at once (TCP_NODELAY).
    pub fn connect(addr: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let stream = std::net::TcpStream::connect_timeout(&addr, limit)?;
        stream.set_nodelay(true)?;
        Ok(TcpStream(stream))
    }

    /// Reads and writes that take longer fail with `WouldBlock` or `TimedOut`; `None` waits for
    /// ever.
    pub fn set_timeout(&self, limit: Option<Duration>) -> Result<()> {
        self.0.set_read_timeout(limit)?;
        self.0.set_write_timeout(limit)
    }

    /// Another handle of the same connection, for reading and writing from two threads.
    pub fn try_clone(&self) -> Result<TcpStream> {
        Ok(TcpStream(self.0.try_clone()?))
    }

    /// The other end.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// Whether a read would return at once: with bytes, the end of the stream, or an error.
    pub fn has_input(&self) -> Result<bool> {
        self.0.set_nonblocking(true)?;
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false)?;
        match peeked {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            _ => Ok(true),
        }
    }

    /// Ends both directions, and wakes a thread that reads from another handle.
    pub fn shutdown(&self) -> Result<()> {
        self.0.shutdown(Shutdown::Both)
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[std::io::IoSlice<'_>]) -> Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// A whole file, such as the configuration, through the page cache.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    std::fs::read(path)
}

/// A file to be read from its beginning, through the page cache.
pub fn open_file(path: impl AsRef<Path>) -> Result<impl Read> {
    std::fs::File::open(path)
}

/// A new, empty file that a child process may be given to write to.
pub fn create_file(path: impl AsRef<Path>) -> Result<std::fs::File> {
    std::fs::File::create(path)
}

/// Writes a whole file through the page cache, without promising that it survives a crash.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
}

/// Sleeps this thread.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// What this machine calls itself; `localhost` if it does not say.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The addresses of a host name, or of an address in text, in the resolver's order.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Puts a whole file in place at once, so that a reader never sees half of it. It need not survive
/// a power cut.
pub fn replace_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let mut written = path.as_ref().as_os_str().to_owned();
    written.push(".new");
    std::fs::write(&written, bytes)?;
    std::fs::rename(&written, path)
}

/// A new directory that only this process uses, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes one in `parent`, or where the system keeps such.
    pub fn new(parent: Option<&Path>) -> Result<ScratchDir> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let process = std::process::id();
        for number in 0..1000 {
            let path = parent.join(format!("corelog-{process}-{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(ScratchDir(path)),
                Err(error) if error.kind() == super::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(super::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
