//! Loopback TCP in memory: bytes arrive in order, late, in pieces, or not at all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::chance::Chance;
use super::executor::yield_now;
use super::machine::{Machine, machine};
use super::trace::What;
use crate::io::{AlignedBuf, Error, ErrorKind, Result};
use crate::limits::SIM_BACKLOG_MAX;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// The shortest time that bytes travel.
    pub delay_min: Duration,
    /// The longest time that bytes travel.
    pub delay_max: Duration,
    /// Bytes that one direction of a connection holds, travelling or unread; a writer waits then.
    pub buffer_bytes: usize,
    /// How often a write or a read takes only a part of what it could, in a million.
    pub partial_ppm: u32,
    /// How often a write cuts its connection, both ways, in a million.
    pub cut_ppm: u32,
    /// How often a write is held up on its way (and all that follow it), in a million.
    pub stall_ppm: u32,
    /// How long it is held up at most.
    pub stall_max: Duration,
}

impl Default for NetOptions {
    fn default() -> NetOptions {
        NetOptions {
            delay_min: Duration::from_micros(5),
            delay_max: Duration::from_micros(200),
            buffer_bytes: 64 * 1024,
            partial_ppm: 300_000,
            cut_ppm: 0,
            stall_ppm: 1_000,
            stall_max: Duration::from_millis(50),
        }
    }
}

/// The network of one machine. A crash of the machine ends all that is in it.
pub struct Net {
    options: NetOptions,
    chance: Chance,
    listeners: BTreeMap<SocketAddr, Vec<Rc<Queue>>>,
    connections: Vec<Weak<Connection>>,
    /// Accepted, and on the way to the core that shall serve them.
    unserved: BTreeMap<u64, TcpStream>,
    next_port: u16,
    next_connection: u64,
}

const FIRST_EPHEMERAL_PORT: u16 = 32_768;

impl Net {
    pub(super) fn new(seed: u64, options: NetOptions) -> Net {
        Net {
            options,
            chance: Chance::new(seed, "net"),
            listeners: BTreeMap::new(),
            connections: Vec::new(),
            unserved: BTreeMap::new(),
            next_port: FIRST_EPHEMERAL_PORT,
            next_connection: 1,
        }
    }

    /// The network's properties; they may be changed at any time.
    pub fn options_mut(&mut self) -> &mut NetOptions {
        &mut self.options
    }

    /// Connections that have an open end.
    pub fn connection_count(&self) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.strong_count() > 0)
            .count()
    }

    /// Resets every connection, both ways: what is under way is lost.
    pub fn cut_all(&mut self) {
        for connection in std::mem::take(&mut self.connections) {
            if let Some(connection) = connection.upgrade() {
                connection.cut();
            }
        }
    }

    /// The machine starts again, with nothing bound and nothing connected.
    pub(super) fn restart(&mut self, seed: u64) {
        self.chance = Chance::new(seed, "net");
        self.listeners.clear();
        self.connections.clear();
        self.unserved.clear();
    }

    fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        port
    }

    fn delay(&mut self) -> Duration {
        let ns = |duration: Duration| duration.as_nanos() as u64;
        let (low, high) = (ns(self.options.delay_min), ns(self.options.delay_max));
        let mut delay = self.chance.between(low, high.max(low));
        if self.chance.ppm(self.options.stall_ppm) {
            delay += self.chance.below(ns(self.options.stall_max).max(1));
        }
        Duration::from_nanos(delay)
    }

    /// How much of `most` bytes goes in one piece; 0 only of 0.
    fn piece(&mut self, most: usize) -> usize {
        match most > 1 && self.chance.ppm(self.options.partial_ppm) {
            true => 1 + self.chance.index(most),
            false => most,
        }
    }

    /// A listener of the address, drawn among those that share it.
    fn listener_at(&mut self, addr: SocketAddr) -> Option<Rc<Queue>> {
        let any: IpAddr = match addr {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bound = [addr, SocketAddr::new(any, addr.port())];
        let queues = bound.iter().find_map(|addr| self.listeners.get(addr))?;
        Some(queues[self.chance.index(queues.len())].clone())
    }
}

/// Connections that nobody has accepted yet.
struct Queue {
    addr: SocketAddr,
    waiting: RefCell<VecDeque<(TcpStream, SocketAddr)>>,
    waker: Cell<Option<Waker>>,
}

/// A bound address. All cores may bind the same one: each connection goes to one of them.
pub struct TcpListener {
    queue: Rc<Queue>,
}

impl TcpListener {
    /// `AddrInUse` if anybody listens at the address.
    pub async fn check_free(addr: SocketAddr) -> Result<()> {
        let machine = machine();
        let net = machine.net.borrow();
        match net.listeners.contains_key(&addr) {
            true => Err(Error::from(ErrorKind::AddrInUse)),
            false => Ok(()),
        }
    }

    /// Binds; port 0 is given a free one.
    pub async fn bind(addr: SocketAddr) -> Result<TcpListener> {
        let machine = machine();
        let mut net = machine.net.borrow_mut();
        let port = match addr.port() {
            0 => net.port(),
            port => port,
        };
        let addr = SocketAddr::new(addr.ip(), port);
        let queue = Rc::new(Queue {
            addr,
            waiting: RefCell::default(),
            waker: Cell::default(),
        });
        net.listeners.entry(addr).or_default().push(queue.clone());
        Ok(TcpListener { queue })
    }

    /// The next connection, with its peer's address.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        make_way().await;
        poll_fn(
            |context| match self.queue.waiting.borrow_mut().pop_front() {
                Some(connection) => Poll::Ready(Ok(connection)),
                None => {
                    self.queue.waker.set(Some(context.waker().clone()));
                    Poll::Pending
                }
            },
        )
        .await
    }

    /// The same, for whichever core shall serve it.
    pub async fn accept_unserved(&self) -> Result<Unserved> {
        let (stream, peer) = self.accept().await?;
        let id = stream.end.connection.id;
        machine().net.borrow_mut().unserved.insert(id, stream);
        Ok(Unserved { id, peer })
    }

    /// The address, with the port it was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.queue.addr
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let machine = machine();
        let mut net = machine.net.borrow_mut();
        if let Some(queues) = net.listeners.get_mut(&self.queue.addr) {
            queues.retain(|queue| !Rc::ptr_eq(queue, &self.queue));
            if queues.is_empty() {
                net.listeners.remove(&self.queue.addr);
            }
        }
        drop(net);
        for (stream, _) in self.queue.waiting.take() {
            stream.end.connection.cut();
        }
    }
}

/// A connection that no core serves yet: any may. Dropping it closes the connection.
pub struct Unserved {
    id: u64,
    peer: SocketAddr,
}

impl Unserved {
    /// The peer's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// From now on it is this core's.
    pub fn serve(self) -> TcpStream {
        self.take().expect("it is served once, on its machine")
    }

    fn take(&self) -> Option<TcpStream> {
        machine().net.borrow_mut().unserved.remove(&self.id)
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        // The end closes when the network is no longer borrowed.
        drop(self.take());
    }
}

/// Lets other tasks run now and then though nothing has to be waited for, as the real backend
/// does after many operations in a row.
async fn make_way() {
    const YIELD_PPM: u32 = 100_000;
    let yields = machine().net.borrow_mut().chance.ppm(YIELD_PPM);
    if yields {
        yield_now().await;
    }
}

/// Two ends, and a pipe from each to the other.
struct Connection {
    id: u64,
    addrs: [SocketAddr; 2],
    pipes: [RefCell<Pipe>; 2],
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    arrived: BytesMut,
    travelling_bytes: usize,
    /// When the last of what travels arrives: order is kept.
    last_arrival_ns: u64,
    /// The writing end has said that nothing follows.
    ended: bool,
    /// That has arrived.
    end_arrived: bool,
    /// The reading end takes nothing any more.
    deaf: bool,
    /// Cut: nothing travels, both ends see an error.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake_both(&mut self) {
        self.reader
            .take()
            .into_iter()
            .chain(self.writer.take())
            .for_each(Waker::wake);
    }
}

impl Connection {
    fn cut(&self) {
        for pipe in &self.pipes {
            let mut pipe = pipe.borrow_mut();
            pipe.reset = true;
            pipe.travelling_bytes = 0;
            pipe.wake_both();
        }
    }

    /// Sends the end of the stream behind what travels.
    fn end(self: &Rc<Connection>, machine: &Machine, side: usize) {
        let mut pipe = self.pipes[side].borrow_mut();
        if std::mem::replace(&mut pipe.ended, true) || pipe.reset {
            return;
        }
        pipe.wake_both();
        let connection = self.clone();
        let arrive = move |machine: &Machine| {
            machine.note(What::Net(connection.id, "ends", side));
            let mut pipe = connection.pipes[side].borrow_mut();
            pipe.end_arrived = true;
            pipe.wake_both();
        };
        let at_ns = arrival(machine, &mut pipe);
        machine.at(at_ns, Box::new(arrive));
    }

    fn send(self: &Rc<Connection>, machine: &Machine, side: usize, bytes: BytesMut) {
        let mut pipe = self.pipes[side].borrow_mut();
        pipe.travelling_bytes += bytes.len();
        let at_ns = arrival(machine, &mut pipe);
        let connection = self.clone();
        let arrive = move |machine: &Machine| {
            machine.note(What::Net(connection.id, "carries", bytes.len()));
            let mut pipe = connection.pipes[side].borrow_mut();
            if pipe.reset {
                return;
            }
            if pipe.deaf {
                // The reader is gone: the kernel answers with a reset.
                drop(pipe);
                connection.cut();
                return;
            }
            pipe.travelling_bytes -= bytes.len();
            pipe.arrived.extend_from_slice(&bytes);
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        };
        machine.at(at_ns, Box::new(arrive));
    }
}

fn arrival(machine: &Machine, pipe: &mut Pipe) -> u64 {
    let delay = machine.net.borrow_mut().delay().as_nanos() as u64;
    pipe.last_arrival_ns = pipe.last_arrival_ns.max(machine.now_ns() + delay);
    pipe.last_arrival_ns
}

/// One end of a connection. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct TcpStream {
    end: Rc<End>,
}

struct End {
    connection: Rc<Connection>,
    side: usize,
}

impl TcpStream {
    /// Connects to an address of this machine.
    pub async fn connect(addr: SocketAddr) -> Result<TcpStream> {
        let (connection, delay) = {
            let machine = machine();
            let mut net = machine.net.borrow_mut();
            let local = SocketAddr::new(addr.ip(), net.port());
            let id = net.next_connection;
            net.next_connection += 1;
            let connection = Rc::new(Connection {
                id,
                addrs: [local, addr],
                pipes: [RefCell::default(), RefCell::default()],
            });
            net.connections
                .retain(|connection| connection.strong_count() > 0);
            net.connections.push(Rc::downgrade(&connection));
            (connection, net.delay())
        };
        crate::io::sleep(delay).await;
        let listener = machine().net.borrow_mut().listener_at(addr);
        let Some(queue) = listener else {
            return Err(ErrorKind::ConnectionRefused.into());
        };
        if queue.waiting.borrow().len() >= SIM_BACKLOG_MAX {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let local = connection.addrs[0];
        let ours = TcpStream::new(connection.clone(), 0);
        let theirs = TcpStream::new(connection, 1);
        queue.waiting.borrow_mut().push_back((theirs, local));
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
        Ok(ours)
    }

    fn new(connection: Rc<Connection>, side: usize) -> TcpStream {
        TcpStream {
            end: Rc::new(End { connection, side }),
        }
    }

    /// Appends what has arrived to `buffer`'s spare capacity, waiting for something; 0 is the end
    /// of the stream.
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
            return (Err(ErrorKind::InvalidInput.into()), buffer);
        }
        make_way().await;
        let room = (buffer.capacity() - buffer.len()).min(bytes_max);
        let mut take = |bytes: &[u8]| buffer.put_slice(bytes);
        let result = poll_fn(|context| self.poll_read(context, room, &mut take)).await;
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
        let (start, room) = (place.start, place.len());
        let mut take = |bytes: &[u8]| buffer[start..start + bytes.len()].copy_from_slice(bytes);
        let result = poll_fn(|context| self.poll_read(context, room, &mut take)).await;
        (result, buffer)
    }

    /// Gives what has arrived to `take`, at most `room` bytes of it.
    fn poll_read(
        &self,
        context: &mut Context<'_>,
        room: usize,
        take: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<usize>> {
        let mut pipe = self.incoming().borrow_mut();
        if !pipe.arrived.is_empty() {
            let most = pipe.arrived.len().min(room);
            let count = machine().net.borrow_mut().piece(most);
            take(&pipe.arrived[..count]);
            pipe.arrived.advance(count);
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(count));
        }
        if pipe.reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if pipe.end_arrived || pipe.deaf {
            return Poll::Ready(Ok(0));
        }
        pipe.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Sends all the bytes, waiting for room; of an error, any part has been sent.
    pub async fn write_all(&self, slices: Vec<Bytes>) -> Result<()> {
        let mut slices = VecDeque::from(slices);
        loop {
            while slices.front().is_some_and(Bytes::is_empty) {
                slices.pop_front();
            }
            if slices.is_empty() {
                return Ok(());
            }
            make_way().await;
            poll_fn(|context| self.poll_write(context, &mut slices)).await?;
        }
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        slices: &mut VecDeque<Bytes>,
    ) -> Poll<Result<()>> {
        let machine = machine();
        let room = {
            let mut pipe = self.outgoing().borrow_mut();
            if pipe.reset || pipe.ended {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            let room = machine.net.borrow().options.buffer_bytes;
            let room = room.saturating_sub(pipe.arrived.len() + pipe.travelling_bytes);
            if room == 0 {
                pipe.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            room
        };
        let cut = {
            let mut net = machine.net.borrow_mut();
            let cut_ppm = net.options.cut_ppm;
            net.chance.ppm(cut_ppm)
        };
        if cut {
            self.end.connection.cut();
            return Poll::Ready(Err(Error::from(ErrorKind::ConnectionReset)));
        }
        let wanted: usize = slices.iter().map(Bytes::len).sum();
        let mut left = machine.net.borrow_mut().piece(wanted.min(room));
        let mut bytes = BytesMut::with_capacity(left);
        while left > 0 {
            let slice = slices.front_mut().expect("what is left is in the slices");
            let piece = slice.split_to(left.min(slice.len()));
            left -= piece.len();
            bytes.put(piece);
            if slice.is_empty() {
                slices.pop_front();
            }
        }
        self.end.connection.send(&machine, self.end.side, bytes);
        Poll::Ready(Ok(()))
    }

    /// Ends both directions and wakes a pending read, which gives 0.
    pub fn shutdown(&self) {
        self.end.connection.end(&machine(), self.end.side);
        let mut pipe = self.incoming().borrow_mut();
        pipe.deaf = true;
        pipe.wake_both();
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.end.connection.addrs[1 - self.end.side]
    }

    /// Ends the outgoing direction only. For a test's client; the door has no such thing.
    pub fn close_write(&self) {
        self.end.connection.end(&machine(), self.end.side);
    }

    /// Cuts the connection as a broken network does: both ends see a reset.
    pub fn cut(&self) {
        self.end.connection.cut();
    }

    /// Holds up everything that this end sends from now on, for so long.
    pub fn stall(&self, duration: Duration) {
        let until_ns = machine().now_ns() + duration.as_nanos() as u64;
        let mut pipe = self.outgoing().borrow_mut();
        pipe.last_arrival_ns = pipe.last_arrival_ns.max(until_ns);
    }

    fn outgoing(&self) -> &RefCell<Pipe> {
        &self.end.connection.pipes[self.end.side]
    }

    fn incoming(&self) -> &RefCell<Pipe> {
        &self.end.connection.pipes[1 - self.end.side]
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let incoming = &self.connection.pipes[1 - self.side];
        let unread = !incoming.borrow().arrived.is_empty();
        incoming.borrow_mut().deaf = true;
        match unread {
            true => self.connection.cut(),
            false => self.connection.end(&machine(), self.side),
        }
    }
}
