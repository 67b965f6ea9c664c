//! What the engine under the broker costs on this machine, without the broker.
//!
//! `cargo bench --bench io [-- DIRECTORY]`; the files are written in DIRECTORY, or in the build
//! directory. Goal: see within seconds whether a change to `io` made its floor higher.
//! Not a goal: figures that compare machines, or that say what the broker does.
//!
//! Each line is one closed loop: one thing in flight at a time, so that it shows latency.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::io::mailbox::{self, MailSender, Mailbox};
use corelog::io::{self, AlignedBuf, CoreSpec, File, Open, Sync, TcpListener, TcpStream};
use corelog::model::CoreId;
use hdrhistogram::Histogram;

const WARM_UP: u32 = 500;
const ROUNDS: u32 = 20_000;
const WRITES: u32 = 3_000;
const WRITE_BYTES: usize = 4096;

fn main() {
    // cargo itself adds `--bench`.
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let parent = given.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("a directory for the files");
    println!("| what | p50 us | p99 us | max us | rounds |\n|---|---|---|---|---|");
    mailbox_round_trip("mailbox round trip, both cores sleep between", false);
    mailbox_round_trip("mailbox round trip, both cores have another task", true);
    tcp_round_trip();
    for (name, sync, overwrite) in [
        ("write 4 KiB, allocated", Sync::None, false),
        ("write 4 KiB, overwritten", Sync::None, true),
        ("write 4 KiB with data sync, allocated", Sync::Data, false),
        ("write 4 KiB with data sync, overwritten", Sync::Data, true),
    ] {
        file_write(name, directory.path().join(name), sync, overwrite);
    }
}

/// Runs `main` on as many cores as it takes, each pinned if there are enough CPUs.
fn on_cores<F>(count: u16, main: impl Fn(CoreId) -> F + Send + std::marker::Sync)
where
    F: Future<Output = ()> + 'static,
{
    let cpus = io::available_cpus();
    let spec = |id: u16| CoreSpec {
        id: CoreId(id),
        cpu: cpus.get(usize::from(id)).copied(),
    };
    let cores: Vec<CoreSpec> = (0..count).map(spec).collect();
    io::run(&cores, main).expect("the cores start");
}

/// Collects the times of a loop's rounds.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Times {
        let minute_ns = 60_000_000_000;
        Times(Histogram::new_with_bounds(1, minute_ns, 3).expect("bounds are in order"))
    }

    fn add(&mut self, round: u32, took: Duration) {
        if round >= WARM_UP {
            self.0.saturating_record(took.as_nanos() as u64);
        }
    }

    fn print(&self, name: &str) {
        let us = |ns: u64| ns as f64 / 1000.0;
        let (p50, p99) = (
            self.0.value_at_quantile(0.5),
            self.0.value_at_quantile(0.99),
        );
        let (max, rounds) = (self.0.max(), self.0.len());
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {rounds} |",
            us(p50),
            us(p99),
            us(max)
        );
    }
}

type Ends = (Mailbox<u64>, Vec<MailSender<u64>>);

fn mailbox_round_trip(name: &'static str, busy: bool) {
    let ends: Vec<Option<Ends>> = mailbox::channels(2, 64).into_iter().map(Some).collect();
    let ends = Arc::new(Mutex::new(ends));
    on_cores(2, |core| {
        let own = ends.lock().expect("no panic")[usize::from(core.0)].take();
        let (mut mailbox, senders) = own.expect("each core takes its own");
        async move {
            let other = &senders[usize::from(1 - core.0)];
            let _busy = busy.then(|| {
                io::spawn(async {
                    loop {
                        io::yield_now().await;
                    }
                })
            });
            let mut times = Times::new();
            for round in 0..ROUNDS {
                if core == CoreId(0) {
                    let begin = io::now();
                    other.send(round.into()).await;
                    mailbox.recv().await;
                    times.add(round, io::now() - begin);
                } else {
                    let message = mailbox.recv().await;
                    other.send(message).await;
                }
            }
            if core == CoreId(0) {
                times.print(name);
            }
        }
    });
}

/// 64 bytes there and back over loopback, each end on its own core.
fn tcp_round_trip() {
    let (tell, told) = io::sync::watch::channel(None);
    on_cores(2, |core| {
        let (tell, mut told) = (tell.clone(), told.clone());
        async move {
            if core == CoreId(1) {
                let any = "127.0.0.1:0".parse().expect("an address");
                let listener = TcpListener::bind(any).await.expect("a port");
                tell.send_replace(Some(listener.local_addr()));
                let (stream, _) = listener.accept().await.expect("a connection");
                while let Some(request) = read_64(&stream).await {
                    stream.write_all(vec![request]).await.expect("a response");
                }
                return;
            }
            let told = told
                .wait_for(Option::is_some)
                .await
                .expect("the listener's address");
            let addr = told.expect("it was waited for");
            drop(told);
            let stream = TcpStream::connect(addr).await.expect("a connection");
            let mut times = Times::new();
            for round in 0..ROUNDS {
                let begin = io::now();
                stream
                    .write_all(vec![Bytes::from_static(&[7; 64])])
                    .await
                    .expect("a request");
                read_64(&stream).await.expect("a response");
                times.add(round, io::now() - begin);
            }
            stream.shutdown();
            times.print("TCP round trip, 64 bytes, both cores sleep between");
        }
    });
}

async fn read_64(stream: &TcpStream) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(64);
    while buffer.len() < 64 {
        let (result, back) = stream.read(buffer).await;
        buffer = back;
        if result.expect("a read") == 0 {
            return None;
        }
    }
    Some(buffer.freeze())
}

fn file_write(name: &'static str, path: PathBuf, sync: Sync, overwrite: bool) {
    on_cores(1, |_| {
        let path = path.clone();
        async move {
            let file = File::open(&path, Open::CreateNew).await.expect("a file");
            let rounds = WARM_UP + WRITES;
            let size = u64::from(rounds) * WRITE_BYTES as u64;
            file.allocate(size).await.expect("space");
            if overwrite {
                let filler = AlignedBuf::zeroed(size as usize).freeze();
                file.write_at(filler, 0, Sync::Data).await.expect("a write");
            }
            file.sync().await.expect("a sync");
            let bytes = AlignedBuf::zeroed(WRITE_BYTES).freeze();
            let mut times = Times::new();
            for round in 0..rounds {
                let offset = u64::from(round) * WRITE_BYTES as u64;
                let begin = io::now();
                file.write_at(bytes.clone(), offset, sync)
                    .await
                    .expect("a write");
                times.add(round, io::now() - begin);
            }
            times.print(name);
        }
    });
}
