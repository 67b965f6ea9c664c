//! Closed loops over the engine under the broker, one thing in flight at a time, so that each
//! round's time is a latency. `perf floors` and `benches/io.rs` both have this file.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::io::mailbox::{self, MailSender, Mailbox};
use corelog::io::{self, AlignedBuf, CoreSpec, File, Instant, Open, Sync, TcpListener, TcpStream};
use corelog::model::CoreId;
use hdrhistogram::Histogram;

/// The times of a loop's rounds, in nanoseconds.
pub(crate) type Times = Histogram<u64>;

/// When a loop has run long enough: what comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Rounds before those that count.
    pub(crate) warm_up: u32,
    pub(crate) rounds: u32,
    pub(crate) time: Duration,
}

/// What a file is when it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its space is reserved and was never written.
    Allocated,
    /// It holds bytes that are overwritten: the kernel has no metadata to write.
    Overwritten,
}

/// What a core does between two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// It sleeps in the kernel.
    Sleep,
    /// It looks for the next one, as a broker with `corelog.spin.us` does.
    Spin,
    /// It has another task, which is always runnable.
    Work,
}

/// Longer than any two messages of a loop are apart.
const SPIN: Duration = Duration::from_secs(1);

/// A 64-bit number to another core and back.
pub(crate) fn mailbox_round_trip(
    cpus: [Option<usize>; 2],
    between: Between,
    budget: Budget,
) -> io::Result<Times> {
    type Ends = (Mailbox<u64>, Vec<MailSender<u64>>);
    let ends: Vec<Option<Ends>> = mailbox::channels(2, 64).into_iter().map(Some).collect();
    let ends = Arc::new(Mutex::new(ends));
    let spin = match between {
        Between::Spin => SPIN,
        Between::Sleep | Between::Work => Duration::ZERO,
    };
    on_spinning_cores(&cpus, spin, move |core| {
        let own = ends.lock().expect("no panic")[usize::from(core.0)].take();
        let (mut mailbox, senders) = own.expect("each core takes its own");
        async move {
            let other = &senders[usize::from(1 - core.0)];
            let _work = (between == Between::Work).then(|| {
                io::spawn(async {
                    loop {
                        io::yield_now().await;
                    }
                })
            });
            if core == CoreId(1) {
                loop {
                    let message = mailbox.recv().await;
                    if message == LAST {
                        return None;
                    }
                    other.send(message).await;
                }
            }
            let mut rounds = Rounds::new(budget);
            while let Some(begin) = rounds.begin() {
                other.send(0).await;
                mailbox.recv().await;
                rounds.end(begin);
            }
            other.send(LAST).await;
            Some(Ok(rounds.times))
        }
    })
}

/// The message that ends a mailbox's other side.
const LAST: u64 = u64::MAX;

/// 64 bytes there and back over loopback, each end on its own core, both asleep between.
pub(crate) fn tcp_round_trip(cpus: [Option<usize>; 2], budget: Budget) -> io::Result<Times> {
    let (tell, told) = io::sync::watch::channel(None);
    let tell = Arc::new(Mutex::new(Some(tell)));
    on_cores(&cpus, move |core| {
        let tell = tell
            .lock()
            .expect("no panic")
            .take_if(|_| core == CoreId(1));
        let mut told = told.clone();
        async move {
            if let Some(tell) = tell {
                return echo(tell).await.err().map(Err);
            }
            // Core 0 may come here first; the sender is taken by core 1 only.
            let address = match told.wait_for(Option::is_some).await {
                Ok(address) => address.expect("it was waited for"),
                // The other end says why.
                Err(_) => return None,
            };
            Some(ask(address, budget).await)
        }
    })
}

async fn echo(tell: io::sync::watch::Sender<Option<std::net::SocketAddr>>) -> io::Result<()> {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await?;
    tell.send_replace(Some(listener.local_addr()));
    let (stream, _) = listener.accept().await?;
    while let Some(request) = read_64(&stream).await? {
        stream.write_all(vec![request]).await?;
    }
    Ok(())
}

async fn ask(address: std::net::SocketAddr, budget: Budget) -> io::Result<Times> {
    let stream = TcpStream::connect(address).await?;
    let mut rounds = Rounds::new(budget);
    while let Some(begin) = rounds.begin() {
        stream.write_all(vec![Bytes::from_static(&[7; 64])]).await?;
        if read_64(&stream).await?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        rounds.end(begin);
    }
    stream.shutdown();
    Ok(rounds.times)
}

async fn read_64(stream: &TcpStream) -> io::Result<Option<Bytes>> {
    let mut buffer = BytesMut::with_capacity(64);
    while buffer.len() < 64 {
        let (result, back) = stream.read(buffer).await;
        buffer = back;
        if result? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(buffer.freeze()))
}

/// Direct writes of one size to a file, one after the other, from its start again at its end.
pub(crate) fn file_writes(
    cpu: Option<usize>,
    path: &Path,
    shape: Shape,
    sync: Sync,
    budget: Budget,
) -> io::Result<Times> {
    let path = path.to_owned();
    on_cores(&[cpu], move |_| {
        let path = path.clone();
        async move { Some(write_rounds(&path, shape, sync, budget).await) }
    })
}

/// The file of `file_writes`, and what each write covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) place: Place,
    pub(crate) file_bytes: u64,
    pub(crate) write_bytes: usize,
}

async fn write_rounds(path: &Path, shape: Shape, sync: Sync, budget: Budget) -> io::Result<Times> {
    let file = file_at(path, shape.place, shape.file_bytes).await?;
    let bytes = AlignedBuf::zeroed(shape.write_bytes).freeze();
    let writes = shape.file_bytes / shape.write_bytes as u64;
    let mut rounds = Rounds::new(budget);
    let mut next = 0;
    while let Some(begin) = rounds.begin() {
        let offset = next % writes * shape.write_bytes as u64;
        file.write_at(bytes.clone(), offset, sync).await?;
        rounds.end(begin);
        next += 1;
    }
    Ok(rounds.times)
}

/// A new file with its space; or one with bytes that are to be overwritten, which may be there
/// from before.
pub(crate) async fn file_at(path: &Path, place: Place, bytes: u64) -> io::Result<File> {
    if place == Place::Overwritten {
        match File::open(path, Open::ReadWrite).await {
            Ok(file) if file.len().await? == bytes => return Ok(file),
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let file = File::open(path, Open::CreateNew).await?;
    file.allocate(bytes).await?;
    if place == Place::Overwritten {
        let filler = AlignedBuf::zeroed(FILLER_BYTES).freeze();
        let mut offset = 0;
        while offset < bytes {
            let length = (bytes - offset).min(FILLER_BYTES as u64) as usize;
            file.write_at(filler.slice(..length), offset, Sync::None)
                .await?;
            offset += length as u64;
        }
    }
    file.sync().await?;
    Ok(file)
}

/// Bytes that are written at once to fill a file.
const FILLER_BYTES: usize = 1 << 20;

/// Counts rounds and collects the times of those that count.
struct Rounds {
    budget: Budget,
    count: u32,
    /// Known when the warm-up is over.
    deadline: Option<Instant>,
    times: Times,
}

impl Rounds {
    fn new(budget: Budget) -> Rounds {
        let minute_ns = 60_000_000_000;
        Rounds {
            budget,
            count: 0,
            deadline: None,
            times: Histogram::new_with_bounds(1, minute_ns, 3).expect("bounds are in order"),
        }
    }

    /// When the next round begins; `None` if there is none.
    fn begin(&mut self) -> Option<Instant> {
        let now = io::now();
        if self.count < self.budget.warm_up {
            return Some(now);
        }
        let deadline = *self.deadline.get_or_insert(now + self.budget.time);
        let is_last = self.count >= self.budget.warm_up + self.budget.rounds;
        (!is_last && now < deadline).then_some(now)
    }

    fn end(&mut self, begin: Instant) {
        if self.count >= self.budget.warm_up {
            let took = io::now() - begin;
            self.times.saturating_record(took.as_nanos() as u64);
        }
        self.count += 1;
    }
}

/// Runs `main` on as many cores as there are CPUs given; one of them returns the result.
pub(crate) fn on_cores<T, F>(
    cpus: &[Option<usize>],
    main: impl Fn(CoreId) -> F + Send + std::marker::Sync,
) -> io::Result<T>
where
    T: Send,
    F: Future<Output = Option<io::Result<T>>> + 'static,
    T: 'static,
{
    on_spinning_cores(cpus, Duration::ZERO, main)
}

/// The same on cores that look for work for so long before they sleep.
fn on_spinning_cores<T, F>(
    cpus: &[Option<usize>],
    spin: Duration,
    main: impl Fn(CoreId) -> F + Send + std::marker::Sync,
) -> io::Result<T>
where
    T: Send,
    F: Future<Output = Option<io::Result<T>>> + 'static,
    T: 'static,
{
    let cores: Vec<CoreSpec> = (0..)
        .zip(cpus)
        .map(|(id, &cpu)| CoreSpec {
            id: CoreId(id),
            cpu,
            spin,
        })
        .collect();
    let result = Arc::new(Mutex::new(None));
    io::run(&cores, |core| {
        let (run, result) = (main(core), Arc::clone(&result));
        async move {
            if let Some(own) = run.await {
                *result.lock().expect("no panic") = Some(own);
            }
        }
    })?;
    let own = result.lock().expect("no panic").take();
    own.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
}
