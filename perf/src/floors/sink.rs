//! F1 to F4: a server that does only what cannot be left out of a durable produce: receive the
//! bytes, checksum them, write them, answer. It knows of a request where it ends, and no more. And
//! F1 the other way round: it sends whatever a connection takes.
//!
//! Each core listens on the same ports, one for each floor, and sends on one of its own. Bytes are
//! received into aligned memory and written from there; a write takes whatever has come when it
//! begins, so that many small requests share one.

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::bench::Problem;
use corelog::io::sync::{mpsc as queue, watch};
use corelog::io::{self, AlignedBuf, CoreSpec, File, Sync, Task, TcpListener, TcpStream, blocking};
use corelog::model::CoreId;
use serde_json::json;

use super::disk::open_all;
use crate::limits::{
    SEND_MEMORY_BYTES, SEND_PIECE_BYTES, SEND_PIECES, SINK_READ_BYTES, SINK_WRITES_MAX,
};

/// How far a request gets before it is answered: F1, F2, F3, F4; or nothing is asked for and all is
/// sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Receive,
    Checksum,
    Write,
    Sync,
    Send,
}

impl Step {
    /// Those whose connections the kernel deals to the cores.
    pub(crate) const SHARED: [Step; 4] = [Step::Receive, Step::Checksum, Step::Write, Step::Sync];
}

/// What the server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cpus: Vec<usize>,
    /// Where the floors' files are.
    pub(crate) dir: PathBuf,
    pub(crate) files: usize,
    pub(crate) file_bytes: u64,
}

/// Where it listens, in the order of `Step::SHARED`: all cores at the same addresses.
type Addresses = Vec<SocketAddr>;

/// What a core tells when it listens.
type Told = (Addresses, SocketAddr);

/// Serves until its standard input ends. Its first line on standard output says where it listens.
pub(crate) fn serve(settings: Settings) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::new(format!("the floors' server: {error}"));
    let cpus = settings.cpus.len();
    let (stop, stopped) = watch::channel(false);
    let (tell, told) = mpsc::channel();
    let thread = io::spawn_thread("perf sink", move || run(&settings, tell, &stopped));
    let thread = thread.map_err(failed)?;
    // A core that cannot listen tells nothing, and lets go of its end.
    let told: Vec<Told> = told.iter().collect();
    if let (Some((addresses, _)), true) = (told.first(), told.len() == cpus) {
        let senders: Vec<SocketAddr> = told.iter().map(|(_, sender)| *sender).collect();
        let line = json!({ "addresses": addresses, "senders": senders });
        let line = format!("{line}\n");
        let mut out = blocking::stdout();
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .map_err(failed)?;
        // Whatever ends the process that started this one ends its input, too.
        let _ = blocking::stdin().read(&mut [0]);
    }
    stop.send_replace(true);
    thread.join().expect("no core panics").map_err(failed)
}

fn run(
    settings: &Settings,
    tell: mpsc::Sender<Told>,
    stopped: &watch::Receiver<bool>,
) -> io::Result<()> {
    let cores: Vec<CoreSpec> = (0..)
        .zip(&settings.cpus)
        .map(|(id, &cpu)| CoreSpec {
            id: CoreId(id),
            cpu: Some(cpu),
            spin: Duration::ZERO,
        })
        .collect();
    let (share, shared) = watch::channel(Addresses::new());
    let share = Mutex::new(Some(share));
    // One for each core, so that the last to let go ends the waiting for them.
    let tells = Mutex::new(vec![tell; cores.len()]);
    let problem = Arc::new(Mutex::new(None));
    io::run(&cores, |core| {
        let (settings, problem) = (settings.clone(), Arc::clone(&problem));
        let share = share.lock().expect("no panic").take_if(|_| core.0 == 0);
        let tell = tells.lock().expect("no panic").pop();
        let (shared, mut stopped) = (shared.clone(), stopped.clone());
        async move {
            let served = async {
                let addresses = listen(core, &settings, share, shared).await;
                // Nobody listens any more if another core has failed.
                let _ = tell
                    .zip(addresses.as_ref().ok())
                    .map(|(tell, all)| tell.send(all.clone()));
                addresses?;
                // An error is a sender that has gone: the end as well.
                let _ = stopped.wait_for(|&is_over| is_over).await;
                Ok(())
            };
            if let Err(error) = served.await {
                problem.lock().expect("no panic").get_or_insert(error);
            }
        }
    })?;
    let first = problem.lock().expect("no panic").take();
    first.map_or(Ok(()), Err)
}

/// Binds this core's listeners and lets them accept.
async fn listen(
    core: CoreId,
    settings: &Settings,
    share: Option<watch::Sender<Addresses>>,
    mut shared: watch::Receiver<Addresses>,
) -> io::Result<Told> {
    let files = open_all(&settings.dir, settings.files, settings.file_bytes).await?;
    let store = Rc::new(Store::new(core, settings, files));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listeners = Vec::new();
    let addresses = match share {
        Some(share) => {
            for _ in Step::SHARED {
                listeners.push(TcpListener::bind(any).await?);
            }
            let addresses: Addresses = listeners.iter().map(TcpListener::local_addr).collect();
            share.send_replace(addresses.clone());
            addresses
        }
        None => {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let addresses = shared.wait_for(|all| !all.is_empty()).await;
            let addresses = addresses.map_err(gone)?.clone();
            for &address in &addresses {
                listeners.push(TcpListener::bind(address).await?);
            }
            addresses
        }
    };
    // Who reads chooses the core, as a consumer of a broker with core-direct routing does.
    let own = TcpListener::bind(any).await?;
    let told = (addresses, own.local_addr());
    let steps = Step::SHARED.into_iter().zip(listeners);
    for (step, listener) in steps.chain([(Step::Send, own)]) {
        let store = Rc::clone(&store);
        io::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let store = Rc::clone(&store);
                // A connection ends with an error when the client goes in the middle of a slice.
                io::spawn(async move { serve_one(stream, step, store).await }).detach();
            }
        })
        .detach();
    }
    Ok(told)
}

/// Sends the core's pieces of memory in turn until the other end has gone.
async fn send_all(stream: TcpStream, pieces: &[Bytes]) -> io::Result<()> {
    for sent in pieces.chunks(SEND_PIECES).cycle() {
        stream.write_all(sent.to_vec()).await?;
    }
    Ok(())
}

/// What a core sends of. Written to, as the broker's memory is: pages that never were would all be
/// the kernel's one page of zeros, which the processor's nearest cache holds.
fn pieces_to_send(cpus: usize) -> Vec<Bytes> {
    let own = (SEND_MEMORY_BYTES / cpus).max(SEND_PIECES * SEND_PIECE_BYTES);
    let fill = |_| {
        let mut piece = AlignedBuf::stale(SEND_PIECE_BYTES);
        piece.fill(0x5a);
        piece.freeze()
    };
    (0..own / SEND_PIECE_BYTES).map(fill).collect()
}

/// One connection, to its end.
async fn serve_one(stream: TcpStream, step: Step, store: Rc<Store>) -> io::Result<()> {
    if step == Step::Send {
        return send_all(stream, store.pieces()).await;
    }
    let (written, answers) = queue::channel(SINK_WRITES_MAX);
    let answerer = io::spawn(answer_written(stream.clone(), answers, Rc::clone(&store)));
    let mut framing = Framing::default();
    loop {
        let mut room = store.take();
        let mut whole = Vec::new();
        let mut checksum = 0;
        while whole.is_empty() && room.len() < SINK_READ_BYTES {
            let before = room.len();
            let (result, back) = stream.read(room).await;
            room = back;
            if result? == 0 {
                drop(written);
                return answerer.await;
            }
            if step >= Step::Checksum {
                checksum = crc32c::crc32c_append(checksum, &room[before..]);
            }
            framing.take(&room[before..], &mut whole)?;
        }
        black_box(checksum);
        if step < Step::Write {
            store.give(room);
            stream.write_all(vec![answers_to(&whole)]).await?;
            continue;
        }
        room.resize(room.len().next_multiple_of(4096), 0);
        let write = io::spawn(Rc::clone(&store).write(room.freeze(), step));
        if written.send((write, whole)).await.is_err() {
            return answerer.await;
        }
    }
}

type Written = (Task<io::Result<Bytes>>, Vec<i32>);

/// Answers when the bytes are written, in the order of their arrival.
async fn answer_written(
    stream: TcpStream,
    mut writes: queue::Receiver<Written>,
    store: Rc<Store>,
) -> io::Result<()> {
    while let Some((write, whole)) = writes.recv().await {
        store.give_back(write.await?);
        if !whole.is_empty() {
            stream.write_all(vec![answers_to(&whole)]).await?;
        }
    }
    Ok(())
}

/// One core's files and free memory.
struct Store {
    files: Vec<File>,
    file_bytes: u64,
    /// Counts writes; the next one's file follows from it.
    next: Cell<usize>,
    /// Of each file; another core begins elsewhere.
    offsets: RefCell<Vec<u64>>,
    free: RefCell<Vec<BytesMut>>,
    /// What is sent when nothing is asked for; made when it is first needed.
    pieces: OnceCell<Vec<Bytes>>,
    cpus: usize,
}

impl Store {
    fn new(core: CoreId, settings: &Settings, files: Vec<File>) -> Store {
        let share = settings.file_bytes / settings.cpus.len() as u64;
        let begin = u64::from(core.0) * share / 4096 * 4096;
        Store {
            file_bytes: settings.file_bytes,
            next: Cell::new(core.0.into()),
            offsets: RefCell::new(vec![begin; files.len()]),
            free: RefCell::new(Vec::new()),
            pieces: OnceCell::new(),
            cpus: settings.cpus.len(),
            files,
        }
    }

    fn pieces(&self) -> &[Bytes] {
        self.pieces.get_or_init(|| pieces_to_send(self.cpus))
    }

    /// Empty memory that begins and ends at a page, so that filling up the last page of what was
    /// received moves nothing.
    fn take(&self) -> BytesMut {
        let free = self.free.borrow_mut().pop();
        let mut room = free.unwrap_or_else(|| {
            let mut room = BytesMut::with_capacity(SINK_READ_BYTES + 4096);
            let before = room.as_ptr().align_offset(4096);
            room.resize(before, 0);
            let _ = room.split_to(before);
            room
        });
        let _ = room.split_off(SINK_READ_BYTES);
        room
    }

    fn give(&self, mut room: BytesMut) {
        room.clear();
        if room.capacity() >= SINK_READ_BYTES && room.as_ptr().align_offset(4096) == 0 {
            self.free.borrow_mut().push(room);
        }
    }

    /// Gives memory back that was written from; the ring has no part in it any more.
    fn give_back(&self, bytes: Bytes) {
        if let Ok(room) = bytes.try_into_mut() {
            self.give(room);
        }
    }

    async fn write(self: Rc<Self>, bytes: Bytes, step: Step) -> io::Result<Bytes> {
        let number = self.next.replace(self.next.get() + 1) % self.files.len();
        let length = bytes.len() as u64;
        let offset = {
            let own = &mut self.offsets.borrow_mut()[number];
            if *own + length > self.file_bytes {
                *own = 0;
            }
            *own += length;
            *own - length
        };
        let sync = match step {
            Step::Sync => Sync::Data,
            Step::Receive | Step::Checksum | Step::Write | Step::Send => Sync::None,
        };
        self.files[number]
            .write_at(bytes.clone(), offset, sync)
            .await?;
        Ok(bytes)
    }
}

/// Bytes of a request's size, API key, version and correlation id.
const HEAD_BYTES: usize = 12;

/// Finds where requests end. Pure.
#[derive(Debug, Default)]
struct Framing {
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// Bytes of the request behind its head that are still to come.
    left: usize,
}

impl Framing {
    /// Adds the correlation id of each request that ends within these bytes.
    fn take(&mut self, mut bytes: &[u8], whole: &mut Vec<i32>) -> io::Result<()> {
        loop {
            if self.head_length < HEAD_BYTES {
                let length = (HEAD_BYTES - self.head_length).min(bytes.len());
                let (head, rest) = bytes.split_at(length);
                self.head[self.head_length..][..length].copy_from_slice(head);
                self.head_length += length;
                bytes = rest;
                if self.head_length < HEAD_BYTES {
                    return Ok(());
                }
                let size = i32::from_be_bytes([0, 1, 2, 3].map(|at| self.head[at]));
                let left = usize::try_from(size).ok();
                let left = left.and_then(|size| size.checked_sub(HEAD_BYTES - size_of::<i32>()));
                self.left = left.ok_or(io::ErrorKind::InvalidData)?;
            }
            let length = self.left.min(bytes.len());
            bytes = &bytes[length..];
            self.left -= length;
            if self.left > 0 {
                return Ok(());
            }
            whole.push(i32::from_be_bytes([8, 9, 10, 11].map(|at| self.head[at])));
            self.head_length = 0;
        }
    }
}

/// Answers to produce requests of version 9 and later that name no partition and so no error.
fn answers_to(correlation_ids: &[i32]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(correlation_ids.len() * 15);
    for id in correlation_ids {
        bytes.extend_from_slice(&11_i32.to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        // No tagged fields; an empty list; no throttling; no tagged fields.
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0]);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use corelog::bench::{Place, read_answer, take_answer, templates};
    use corelog::protocol::ErrorCode;

    use super::*;
    use crate::workload::tests::w1;

    #[test]
    fn requests_end_where_they_end_however_they_come() {
        let place = Place {
            topic: "t".into(),
            index: 0,
            leader: 0,
        };
        let templates = templates(&w1().load, &[place], 1, 12).remove(0);
        let mut sent = BytesMut::new();
        for id in 0..5 {
            for slice in templates[0].request(id) {
                sent.extend_from_slice(&slice);
            }
        }
        for piece in [1, 7, 100, 1000, sent.len()] {
            let (mut framing, mut whole) = (Framing::default(), Vec::new());
            for bytes in sent.chunks(piece) {
                framing.take(bytes, &mut whole).expect("requests");
            }
            assert_eq!(whole, [0, 1, 2, 3, 4], "in pieces of {piece}");
        }
        let mut framing = Framing::default();
        for size in [-1_i32, 0, 7] {
            let mut bytes = vec![0; HEAD_BYTES];
            bytes[..4].copy_from_slice(&size.to_be_bytes());
            framing.head_length = 0;
            let result = framing.take(&bytes, &mut Vec::new());
            assert!(result.is_err(), "{size}");
        }
    }

    #[test]
    fn an_answer_is_one_that_the_load_understands() {
        let mut arrived = BytesMut::from(&answers_to(&[7, 8])[..]);
        for expected in [7, 8] {
            let answer = take_answer(&mut arrived).expect("a size").expect("whole");
            assert_eq!(read_answer(&answer, 12), Ok((expected, ErrorCode::None)));
        }
        assert!(arrived.is_empty());
    }

    #[test]
    fn memory_is_aligned_and_used_again() {
        let settings = Settings {
            cpus: vec![0],
            dir: PathBuf::new(),
            files: 0,
            file_bytes: 1 << 20,
        };
        let store = Store::new(CoreId(0), &settings, Vec::new());
        let mut room = store.take();
        assert_eq!(room.capacity(), SINK_READ_BYTES);
        assert_eq!(room.as_ptr().align_offset(4096), 0);
        let at = room.as_ptr();
        room.resize(SINK_READ_BYTES, 1);
        assert_eq!(room.as_ptr(), at, "it has room for a whole read");
        store.give_back(room.freeze());
        let again = store.take();
        assert_eq!((again.as_ptr(), again.capacity()), (at, SINK_READ_BYTES));
    }
}
