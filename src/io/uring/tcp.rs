//! Connections.
//!
//! Every operation tries its system call first, and only if that would wait asks the ring to say
//! when the socket is ready (`kernel-notes/poll-add.md`). So a busy connection costs no round
//! through the ring, no buffer is given away while a connection is idle, and a future that is
//! dropped has taken nothing from the stream. Receiving by multishot with a buffer ring, and
//! sending without a copy, would stand beside `ready`; so would multishot accept.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::executor;
use super::ready::ready;
use super::run::yield_now;
use super::socket;
use crate::io::{AlignedBuf, Error, ErrorKind, Result};
use crate::limits::SEND_BYTES_MAX;

/// A socket that connections arrive at. Every core binds its own to the same address, and the
/// kernel spreads connections over them.
pub struct TcpListener {
    socket: Rc<OwnedFd>,
    local_addr: SocketAddr,
}

impl TcpListener {
    /// `AddrInUse` if anybody listens at this address, also another broker of the same user,
    /// whose listeners would share their connections with ours (`bind` would succeed). Asked once,
    /// before the first core binds.
    pub async fn check_free(addr: SocketAddr) -> Result<()> {
        socket::bind_alone(&socket::create(addr)?, addr)
    }

    /// Binds and listens. With port 0 the kernel chooses one: bind it on one core, and give
    /// `local_addr` to the others.
    pub async fn bind(addr: SocketAddr) -> Result<TcpListener> {
        let socket = socket::create(addr)?;
        socket::listen(&socket, addr)?;
        let local_addr = socket::local_addr(&socket)?;
        Ok(TcpListener {
            socket: Rc::new(socket),
            local_addr,
        })
    }

    /// The next connection and its peer. Dropping the future loses none.
    ///
    /// Running out of file descriptors or memory is an error that passes: the caller waits a
    /// little before it accepts again.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let accepted = self.accept_unserved().await?;
        let peer = accepted.peer_addr();
        Ok((accepted.serve(), peer))
    }

    /// The same, for whichever core shall serve it.
    pub async fn accept_unserved(&self) -> Result<Unserved> {
        make_way().await;
        loop {
            match socket::accept(&self.socket) {
                Ok((socket, peer)) => {
                    socket::set_nodelay(&socket)?;
                    return Ok(Unserved { socket, peer });
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => ready(&self.socket, libc::POLLIN).await?,
                    // The peer has gone before it was accepted: on to the next one.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// The address that it is bound to, with the port that the kernel chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// A connection that no core serves yet: any may. Dropping it closes the connection.
pub struct Unserved {
    socket: OwnedFd,
    peer: SocketAddr,
}

impl Unserved {
    /// The peer's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// From now on it is this core's.
    pub fn serve(self) -> TcpStream {
        TcpStream {
            socket: Rc::new(self.socket),
            peer: self.peer,
        }
    }
}

/// A connection. A clone is another handle of the same; it is closed when the last is gone.
///
/// One task may read while another writes. Two that read, or two that write, would each get or
/// send pieces in any order.
#[derive(Clone)]
pub struct TcpStream {
    socket: Rc<OwnedFd>,
    peer: SocketAddr,
}

impl TcpStream {
    /// Connects. The caller puts a limit on the time.
    pub async fn connect(addr: SocketAddr) -> Result<TcpStream> {
        let socket = Rc::new(socket::create(addr)?);
        socket::set_nodelay(&socket)?;
        socket::connect(&socket, addr)?;
        ready(&socket, libc::POLLOUT).await?;
        socket::take_error(&socket)?;
        Ok(TcpStream { socket, peer: addr })
    }

    /// Appends what has arrived to the buffer, as far as its spare capacity reaches, waiting if
    /// nothing has. `Ok(0)` is the end of the stream; a buffer without spare capacity is
    /// `InvalidInput`. Dropping the future takes nothing from the stream, but the buffer goes.
    pub async fn read(&self, buffer: BytesMut) -> (Result<usize>, BytesMut) {
        self.read_at_most(buffer, usize::MAX).await
    }

    /// The same, at most `bytes_max` of it, which is not 0.
    pub async fn read_at_most(
        &self,
        mut buffer: BytesMut,
        bytes_max: usize,
    ) -> (Result<usize>, BytesMut) {
        assert!(bytes_max > 0, "no bytes would look like the stream's end");
        if buffer.capacity() == buffer.len() {
            return (
                Err(Error::new(ErrorKind::InvalidInput, "no spare capacity")),
                buffer,
            );
        }
        make_way().await;
        let result = self.received(|socket| socket::receive(socket, &mut buffer, bytes_max));
        let result = result.await;
        (result, buffer)
    }

    /// The same into `place` of the buffer, which is not empty: how many bytes from its start on
    /// are there.
    pub async fn read_into(
        &self,
        mut buffer: AlignedBuf,
        place: Range<usize>,
    ) -> (Result<usize>, AlignedBuf) {
        assert!(
            !place.is_empty(),
            "no bytes would look like the stream's end"
        );
        make_way().await;
        let into = &mut buffer[place];
        let result = self.received(|socket| socket::receive_into(socket, into));
        let result = result.await;
        (result, buffer)
    }

    /// Tries until something has arrived.
    async fn received(&self, mut receive: impl FnMut(&OwnedFd) -> Result<usize>) -> Result<usize> {
        loop {
            match receive(&self.socket) {
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => ready(&self.socket, libc::POLLIN).await?,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Sends all of the slices in order, or fails; then any part may have been sent, as when the
    /// future is dropped.
    pub async fn write_all(&self, slices: Vec<Bytes>) -> Result<()> {
        // How many slices are sent, and how many bytes of the next one.
        let (mut first, mut skip) = (0, 0);
        loop {
            while slices.get(first).is_some_and(|slice| slice.len() == skip) {
                (first, skip) = (first + 1, 0);
            }
            if first == slices.len() {
                return Ok(());
            }
            make_way().await;
            let sent = executor::with(|core| {
                let vectors = &mut core.vectors.borrow_mut();
                socket::send(&self.socket, &slices[first..], skip, vectors)
            });
            match sent {
                Ok(count) => {
                    (first, skip) = advance(&slices, first, skip + count);
                    if count >= SEND_BYTES_MAX {
                        yield_now().await;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => ready(&self.socket, libc::POLLOUT).await?,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Ends the connection in both directions: a pending read ends with `Ok(0)`, a pending write
    /// with an error.
    pub fn shutdown(&self) {
        socket::shutdown(&self.socket);
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

/// Where sending goes on when `count` bytes from the start of slice `first` are sent.
fn advance(slices: &[Bytes], mut first: usize, mut count: usize) -> (usize, usize) {
    while let Some(slice) = slices.get(first)
        && slice.len() <= count
    {
        count -= slice.len();
        first += 1;
    }
    (first, count)
}

/// Lets other tasks run if this one has done many operations without waiting once.
async fn make_way() {
    if !executor::with(|core| core.spend_immediate()) {
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sending_goes_on_where_it_stopped() {
        let slices: Vec<Bytes> = ["abc", "", "de", "f"]
            .iter()
            .map(|s| Bytes::from_static(s.as_bytes()))
            .collect();
        let check = |first, count, expected| {
            assert_eq!(advance(&slices, first, count), expected, "{first} {count}");
        };
        check(0, 0, (0, 0));
        check(0, 2, (0, 2));
        check(0, 3, (2, 0));
        check(0, 4, (2, 1));
        check(0, 6, (4, 0));
        check(2, 2, (3, 0));
        check(3, 1, (4, 0));
    }
}
