//! Futures that are dropped at any point, while others go on: nothing is corrupted, nothing leaks.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::io::{self, AlignedBuf, File, Open, Sync, TcpListener, TcpStream};

use crate::{Sequence, on_one_core, with_directory};

const BLOCK: usize = 8192;
const BLOCKS: u64 = 64;

/// Every byte tells the block's number and the round in which it was written.
fn block(number: u64, round: u64) -> Bytes {
    let mut buffer = AlignedBuf::zeroed(BLOCK);
    for word in buffer.chunks_exact_mut(16) {
        word[..8].copy_from_slice(&number.to_le_bytes());
        word[8..].copy_from_slice(&round.to_le_bytes());
    }
    buffer.freeze()
}

/// Gives up a future after a random, short time; sometimes before it was polled once.
async fn at_most_briefly<F: Future>(sequence: &mut Sequence, future: F) -> Option<F::Output> {
    match sequence.below(4) {
        0 => None,
        1 => {
            let mut future = std::pin::pin!(future);
            let once = std::future::poll_fn(|context| match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
                std::task::Poll::Pending => std::task::Poll::Ready(None),
            });
            once.await
        }
        _ => io::timeout(Duration::from_micros(sequence.below(300)), future).await,
    }
}

#[test]
fn reads_and_writes_dropped_in_flight_corrupt_nothing() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        for number in 0..BLOCKS {
            file.write_at(block(number, 0), number * BLOCK as u64, Sync::None)
                .await
                .unwrap();
        }
        let tasks: Vec<_> = (0..8)
            .map(|seed| {
                let file = file.clone();
                io::spawn(async move { drop_at_random(&file, seed).await })
            })
            .collect();
        // Memory that is allocated all the time would be hit by a read that lands late.
        let watching = io::spawn(async {
            loop {
                let buffers: Vec<_> = (0..16).map(|_| AlignedBuf::zeroed(BLOCK)).collect();
                io::sleep(Duration::from_micros(100)).await;
                for buffer in &buffers {
                    assert!(
                        buffer.iter().all(|byte| *byte == 0),
                        "memory of ours was written to"
                    );
                }
            }
        });
        let mut given_up = 0;
        for task in tasks {
            given_up += task.await;
        }
        assert!(given_up > 500, "{given_up} operations were given up");
        drop(watching);
        while io::stats().in_flight > 1 {
            io::sleep(Duration::from_millis(1)).await;
        }
        for number in 0..BLOCKS {
            check_block(&file, number, &mut Sequence(1), false).await;
        }
    });
}

/// Works on every eighth block from `seed` on; returns how many operations it gave up.
async fn drop_at_random(file: &File, seed: u64) -> u64 {
    let mut sequence = Sequence(seed * 77 + 1);
    let mut given_up = 0;
    for round in 1..=300 {
        let number = seed + 8 * sequence.below(BLOCKS / 8);
        let offset = number * BLOCK as u64;
        if sequence.below(2) == 0 {
            given_up += u64::from(!check_block(file, number, &mut sequence, true).await);
        } else {
            let write = file.write_at(block(number, round), offset, Sync::None);
            match at_most_briefly(&mut sequence, write).await {
                Some(result) => result.unwrap(),
                None => given_up += 1,
            }
        }
    }
    given_up
}

/// A block is as some round wrote it, or, while writes run unseen, a mix of two rounds; never
/// another block's. Returns whether the read was not given up.
async fn check_block(file: &File, number: u64, sequence: &mut Sequence, may_give_up: bool) -> bool {
    let read = file.read_at(AlignedBuf::zeroed(BLOCK), number * BLOCK as u64);
    let ended = if may_give_up {
        at_most_briefly(sequence, read).await
    } else {
        Some(read.await)
    };
    let Some((result, buffer)) = ended else {
        return false;
    };
    assert_eq!(result.unwrap(), BLOCK);
    for word in buffer.chunks_exact(16) {
        assert_eq!(word[..8], number.to_le_bytes(), "in block {number}");
        assert!(u64::from_le_bytes(word[8..].try_into().unwrap()) <= 300);
    }
    true
}

#[test]
fn connections_dropped_at_any_point_leave_nothing_behind() {
    on_one_core(|| async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let addr = listener.local_addr();
        let serving = io::spawn(async move {
            let mut sequence = Sequence(99);
            loop {
                let accepted = at_most_briefly(&mut sequence, listener.accept()).await;
                let Some(accepted) = accepted else {
                    io::yield_now().await;
                    continue;
                };
                let (stream, _) = accepted.unwrap();
                let seed = sequence.next();
                io::spawn(async move { talk(stream, seed).await }).detach();
            }
        });
        let clients: Vec<_> = (0..100_u64)
            .map(|n| {
                io::spawn(async move {
                    let mut sequence = Sequence(n + 1);
                    for _ in 0..5 {
                        let connect = TcpStream::connect(addr);
                        let connected = at_most_briefly(&mut sequence, connect).await;
                        if let Some(Ok(stream)) = connected {
                            talk(stream, sequence.next()).await;
                        }
                    }
                })
            })
            .collect();
        for (n, client) in clients.into_iter().enumerate() {
            if n % 5 != 4 {
                client.await;
            }
        }
        drop(serving);
        // Everything that was in flight ends: cancelled, or because its connection did.
        while io::stats().in_flight > 1 || io::stats().tasks > 1 {
            io::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Reads and writes a little, giving some of it up.
async fn talk(stream: TcpStream, seed: u64) {
    let mut sequence = Sequence(seed | 1);
    for _ in 0..20 {
        if sequence.below(2) == 0 {
            let read = stream.read(BytesMut::with_capacity(512));
            if let Some((Ok(0) | Err(_), _)) = at_most_briefly(&mut sequence, read).await {
                return;
            }
        } else {
            let write = stream.write_all(vec![Bytes::from(vec![7; 2000])]);
            if let Some(Err(_)) = at_most_briefly(&mut sequence, write).await {
                return;
            }
        }
    }
    if sequence.below(2) == 0 {
        stream.shutdown();
    }
}

#[test]
fn cores_stop_while_everything_is_in_flight() {
    for round in 0..10 {
        with_directory(move |dir| async move {
            let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
            file.allocate(4 << 20).await.unwrap();
            for n in 0..64_u64 {
                let file = file.clone();
                let work = async move {
                    loop {
                        let write = file.write_at(block(n, 0), n * BLOCK as u64, Sync::Data);
                        write.await.unwrap();
                        let buffer = AlignedBuf::zeroed(BLOCK);
                        file.read_at(buffer, n * BLOCK as u64).await.0.unwrap();
                    }
                };
                io::spawn(work).detach();
            }
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())
                .await
                .unwrap();
            for _ in 0..20 {
                let stream = TcpStream::connect(listener.local_addr()).await.unwrap();
                let (other, _) = listener.accept().await.unwrap();
                io::spawn(async move {
                    // The other end stays open and silent.
                    let _other = other;
                    stream.read(BytesMut::with_capacity(16)).await.0.unwrap();
                })
                .detach();
            }
            io::spawn(async move { listener.accept().await.map(drop) }).detach();
            // The main returns in the midst of it, at another point each time.
            io::sleep(Duration::from_micros(round * 150)).await;
        });
    }
}
