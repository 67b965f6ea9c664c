#![allow(unsafe_code)]
//! System calls on sockets, none of which waits.

use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bytes::{BufMut, Bytes, BytesMut};

use crate::io::{Error, ErrorKind, Result};
use crate::limits::{LISTEN_BACKLOG, SEND_BYTES_MAX, SEND_SLICES_MAX};

/// A TCP socket that never waits, for addresses like this one.
pub(super) fn create(addr: SocketAddr) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes no pointers.
    let descriptor = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just made the descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Binds, unless any socket listens at the address.
pub(super) fn bind_alone(socket: &OwnedFd, addr: SocketAddr) -> Result<()> {
    // Without this, connections of an earlier broker that linger would look like a listener.
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind(socket, addr)
}

/// Binds and listens. Several sockets may have the same address: the kernel spreads connections
/// over them by a hash of the peer's address (`kernel-notes/reuseport.md`).
pub(super) fn listen(socket: &OwnedFd, addr: SocketAddr) -> Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    bind(socket, addr)?;
    // SAFETY: the call takes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), LISTEN_BACKLOG) })?;
    Ok(())
}

fn bind(socket: &OwnedFd, addr: SocketAddr) -> Result<()> {
    let (address, length) = encode(addr);
    // SAFETY: pointer and length are those of an initialised address that lives through the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(())
}

/// A connection that waits to be accepted; `WouldBlock` if there is none.
pub(super) fn accept(listener: &OwnedFd) -> Result<(OwnedFd, SocketAddr)> {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `address` has room for `length` bytes, and both live through the call.
    let descriptor = check(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            address.as_mut_ptr().cast(),
            &mut length,
            flags,
        )
    })?;
    // SAFETY: the kernel has just made the descriptor for us, and nobody else knows it.
    let stream = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: every part that accept4 did not write is zero, which is a valid address.
    let address = unsafe { address.assume_init() };
    let peer = decode(&address)?;
    Ok((stream, peer))
}

/// Begins to connect; whether it worked is `take_error` once the socket is writable.
pub(super) fn connect(socket: &OwnedFd, addr: SocketAddr) -> Result<()> {
    let (address, length) = encode(addr);
    // SAFETY: pointer and length are those of an initialised address that lives through the call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    match check(result) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The error that a connection attempt ended with, if any.
pub(super) fn take_error(socket: &OwnedFd) -> Result<()> {
    let mut errno: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `errno` has room for `length` bytes, and both live through the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut errno).cast(),
            &mut length,
        )
    })?;
    if errno == 0 {
        Ok(())
    } else {
        Err(Error::from_raw_os_error(errno))
    }
}

/// Sends small answers at once instead of waiting for more to send.
pub(super) fn set_nodelay(socket: &OwnedFd) -> Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// The address that the socket is bound to.
pub(super) fn local_addr(socket: &OwnedFd) -> Result<SocketAddr> {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `address` has room for `length` bytes, and both live through the call.
    check(unsafe {
        libc::getsockname(socket.as_raw_fd(), address.as_mut_ptr().cast(), &mut length)
    })?;
    // SAFETY: every part that getsockname did not write is zero, which is a valid address.
    let address = unsafe { address.assume_init() };
    decode(&address)
}

/// Receives into `place`; `WouldBlock` if nothing has arrived, `Ok(0)` at the end of the stream.
pub(super) fn receive_into(socket: &OwnedFd, place: &mut [u8]) -> Result<usize> {
    // SAFETY: pointer and length are those of `place`, which is borrowed through the call.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            place.as_mut_ptr().cast(),
            place.len(),
            libc::MSG_DONTWAIT,
        )
    };
    check_size(received)
}

/// Receives at most `bytes_max` into the buffer's spare capacity; `WouldBlock` if nothing has
/// arrived, `Ok(0)` at the end of the stream.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut BytesMut, bytes_max: usize) -> Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let length = spare.len().min(bytes_max);
    // SAFETY: pointer and length are within the buffer's own spare memory, which may be
    // uninitialised because the kernel only writes to it.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            spare.as_mut_ptr().cast(),
            length,
            libc::MSG_DONTWAIT,
        )
    };
    let count = check_size(received)?;
    // SAFETY: the kernel has written `count` bytes at the start of the spare memory.
    unsafe { buffer.advance_mut(count) };
    Ok(count)
}

/// Sends from the start of the first slices, at most `SEND_SLICES_MAX` of them and
/// `SEND_BYTES_MAX`, in one call; `WouldBlock` if the socket has no room. `skip` bytes of the
/// first slice have been sent.
pub(super) fn send(
    socket: &OwnedFd,
    slices: &[Bytes],
    skip: usize,
    vectors: &mut Vec<libc::iovec>,
) -> Result<usize> {
    vectors.clear();
    let (mut skip, mut room) = (skip, SEND_BYTES_MAX);
    for slice in slices.iter().take(SEND_SLICES_MAX) {
        let rest = &slice[std::mem::take(&mut skip)..];
        let rest = &rest[..rest.len().min(room)];
        room -= rest.len();
        vectors.push(libc::iovec {
            iov_base: rest.as_ptr() as *mut _,
            iov_len: rest.len(),
        });
        if room == 0 {
            break;
        }
    }
    // SAFETY: zeroes are a valid message header: no name, no control data, no vectors.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the vectors point into `slices`, which are borrowed through the call, and the kernel
    // only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
    // The addresses are of no use, and of no danger, after the call.
    vectors.clear();
    check_size(sent)
}

/// Ends both directions; who waits on the socket wakes. A connection that is not up any more is
/// no news to who wants it down.
pub(super) fn shutdown(socket: &OwnedFd) {
    // SAFETY: the call takes no pointers.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

fn set_option(socket: &OwnedFd, level: i32, name: i32, value: libc::c_int) -> Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`, which lives through the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    })?;
    Ok(())
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_size(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os_error())
}

/// The address as the kernel takes it, and its length.
fn encode(addr: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeroes are a valid address of no family.
    let mut storage: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    let length = match addr {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is large and aligned enough for every kind of address.
            unsafe {
                (&raw mut storage)
                    .cast::<libc::sockaddr_in>()
                    .write(address)
            };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: the storage is large and aligned enough for every kind of address.
            unsafe {
                (&raw mut storage)
                    .cast::<libc::sockaddr_in6>()
                    .write(address)
            };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn decode(storage: &libc::sockaddr_storage) -> Result<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds an address of this kind.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(address.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds an address of this kind.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let (flow, scope) = (address.sin6_flowinfo, address.sin6_scope_id);
            let port = u16::from_be(address.sin6_port);
            Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
        }
        family => Err(Error::new(
            ErrorKind::Unsupported,
            format!("a socket address of family {family}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in [
            "127.0.0.1:9092",
            "0.0.0.0:0",
            "[::1]:65535",
            "[fe80::1%3]:80",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(decode(&encode(addr).0).unwrap(), addr);
        }
    }
}
