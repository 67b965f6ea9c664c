//! Sockets: multishot receive, zero-copy send, busy polling, shared ports, kernel TLS.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, types};

use super::ring::{next, submit};
use super::{Row, row, told};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "multishot",
            "one receive, two messages",
            told(multishot(), |seen| seen),
        ),
        row(
            "zero-copy-send",
            "SEND_ZC over loopback",
            told(zero_copy(), |seen| seen),
        ),
        row(
            "busy-poll",
            "SO_BUSY_POLL = 50",
            told(busy_poll(), |()| "yes".into()),
        ),
        row(
            "reuseport",
            "two listeners on one port",
            told(reuseport(), |()| "yes".into()),
        ),
        row(
            "ktls",
            "TCP_ULP = tls",
            told(kernel_tls(), |()| "yes".into()),
        ),
    ]
}

/// Both ends of a connection over loopback.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    Ok((client, listener.accept()?.0))
}

/// Bytes of each buffer that the kernel may choose.
const BUFFER_BYTES: usize = 64;
const GROUP: u16 = 7;

fn multishot() -> io::Result<String> {
    let (mut client, server) = pair()?;
    let mut ring = IoUring::new(8)?;
    let mut buffers = [0u8; 4 * BUFFER_BYTES];
    let provide =
        opcode::ProvideBuffers::new(buffers.as_mut_ptr(), BUFFER_BYTES as i32, 4, GROUP, 0);
    submit(&mut ring, &provide.build())?;
    let fd = types::Fd(server.as_raw_fd());
    client.write_all(b"first")?;
    let (first, flags) = submit(&mut ring, &opcode::RecvMulti::new(fd, GROUP).build())?;
    let is_armed = cqueue::more(flags);
    client.write_all(b"second")?;
    let (second, _) = next(&mut ring)?;
    Ok(format!(
        "{first} and {second} bytes, still armed after the first: {is_armed}"
    ))
}

/// The bit of a notification's result that says the bytes were copied after all, and the flag that
/// asks for it: IORING_NOTIF_USAGE_ZC_COPIED and IORING_SEND_ZC_REPORT_USAGE of linux/io_uring.h.
const COPIED: u32 = 1 << 31;
const REPORT_USAGE: u16 = 1 << 3;

fn zero_copy() -> io::Result<String> {
    let (client, mut server) = pair()?;
    let mut ring = IoUring::new(8)?;
    let bytes = vec![7u8; 16 << 10];
    let fd = types::Fd(client.as_raw_fd());
    let send = opcode::SendZc::new(fd, bytes.as_ptr(), bytes.len() as u32).zc_flags(REPORT_USAGE);
    let (sent, flags) = submit(&mut ring, &send.build())?;
    // The pages are the kernel's until the other side has taken the bytes.
    let mut received = vec![0; usize::try_from(sent).unwrap_or(0)];
    server.read_exact(&mut received)?;
    if !cqueue::more(flags) {
        return Ok(format!("{sent} bytes, without a notification"));
    }
    if ring.completion().is_empty() {
        ring.submit_and_wait(1)?;
    }
    let told = ring.completion().next().ok_or(io::ErrorKind::WouldBlock)?;
    let how = match told.result() as u32 & COPIED {
        0 => "not copied",
        _ => "copied after all",
    };
    Ok(format!("{sent} bytes, {how}"))
}

/// Sets a socket option, whose value is any plain bytes.
fn set(fd: i32, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a live slice, which the call reads.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn busy_poll() -> io::Result<()> {
    let (client, _server) = pair()?;
    let us = 50i32.to_ne_bytes();
    set(
        client.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_BUSY_POLL,
        &us,
    )
}

fn kernel_tls() -> io::Result<()> {
    let (client, _server) = pair()?;
    set(client.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

fn reuseport() -> io::Result<()> {
    let first = shared(0)?;
    let port = TcpListener::from(first.try_clone()?).local_addr()?.port();
    shared(port).map(drop)
}

/// A socket bound to a port of loopback with SO_REUSEPORT.
fn shared(port: u16) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made above, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(
        fd,
        libc::SOL_SOCKET,
        libc::SO_REUSEPORT,
        &1i32.to_ne_bytes(),
    )?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address lives and has the length that is told.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), length) };
    // SAFETY: the call takes no pointers.
    if bound != 0 || unsafe { libc::listen(fd, 8) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}
