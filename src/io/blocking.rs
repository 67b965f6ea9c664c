//! Blocking I/O, for the command line and the load harness: they run where io_uring may be missing
//! and have nothing else to do while they wait. Never called on a core.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
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

/// Writes a whole file through the page cache, without promising that it survives a crash.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
}

/// Sleeps this thread.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// The addresses of a host name, or of an address in text, in the resolver's order.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    Ok((host, port).to_socket_addrs()?.collect())
}
