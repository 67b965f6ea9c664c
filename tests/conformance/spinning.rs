//! Cores that look for work before they sleep.

use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::io::{self, AlignedBuf, CoreSpec, File, Open, TcpListener, TcpStream, mailbox};
use corelog::model::CoreId;

/// How long they do: whatever waits until a core sleeps is late by as much.
const SPIN: Duration = Duration::from_secs(30);

/// Two cores; pinned, because a backend may spin on such cores only.
fn cores() -> Vec<CoreSpec> {
    let cpus = io::available_cpus();
    (0..2)
        .map(|core| CoreSpec {
            id: CoreId(core),
            cpu: Some(cpus[usize::from(core) % cpus.len()]),
            spin: SPIN,
        })
        .collect()
}

#[test]
fn a_core_that_spins_misses_nothing_that_would_wake_it() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let parts = mailbox::channels::<u32>(2, 8).into_iter().map(Some);
    let parts: Mutex<Vec<_>> = Mutex::new(parts.collect());
    let begin = io::now();
    io::run(&cores(), |core| {
        let own = parts.lock().unwrap()[usize::from(core.0)].take();
        let (mut mailbox, senders) = own.expect("each core takes its own once");
        let path = directory.path().join(core.0.to_string());
        async move {
            let other = &senders[usize::from(1 - core.0)];
            for n in 0..50 {
                other.send(n).await;
                assert_eq!(mailbox.recv().await, n);
            }
            io::sleep(Duration::from_millis(5)).await;
            use_a_file(&path).await;
            use_a_socket().await;
            // The last core stops the other one, which looks for work.
            io::sleep(Duration::from_millis(u64::from(core.0) * 10)).await;
        }
    })
    .expect("the cores start");
    assert!(io::now() - begin < SPIN, "something waited for a sleep");
}

async fn use_a_file(path: &std::path::Path) {
    crate::make_directory(path).await;
    let file = File::open(path.join("file"), Open::CreateNew).await;
    let file = file.expect("a new file");
    file.allocate(4096).await.expect("room");
    let bytes = AlignedBuf::zeroed(4096).freeze();
    file.write_at(bytes, 0, io::Sync::Data)
        .await
        .expect("a write");
}

async fn use_a_socket() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let listener = TcpListener::bind(any).await.expect("a port");
    let stream = TcpStream::connect(listener.local_addr()).await;
    let stream = stream.expect("a connection");
    let (accepted, _) = listener.accept().await.expect("the same connection");
    let reading = io::spawn(async move { accepted.read(BytesMut::with_capacity(8)).await });
    io::sleep(Duration::from_millis(1)).await;
    stream
        .write_all(vec![Bytes::from_static(b"hello")])
        .await
        .expect("sent");
    assert_eq!(reading.await.1, "hello");
}
