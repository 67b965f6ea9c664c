//! Connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::io::sync::{oneshot, watch};
use corelog::io::{self, AlignedBuf, ErrorKind, TcpListener, TcpStream, Unserved};
use corelog::model::CoreId;

use crate::{Sequence, on_cores, on_one_core};

const ANY_PORT: &str = "127.0.0.1:0";

async fn listener() -> TcpListener {
    TcpListener::bind(ANY_PORT.parse().unwrap()).await.unwrap()
}

/// Both ends of a connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = listener().await;
    let here = TcpStream::connect(listener.local_addr()).await.unwrap();
    let (there, _) = listener.accept().await.unwrap();
    (here, there)
}

/// Reads exactly this many bytes.
async fn read_exact(stream: &TcpStream, length: usize) -> Bytes {
    let mut buffer = BytesMut::with_capacity(length);
    while buffer.len() < length {
        let (result, back) = stream.read(buffer).await;
        buffer = back;
        assert_ne!(
            result.expect("a read"),
            0,
            "the stream ended after {}",
            buffer.len()
        );
    }
    assert_eq!(
        buffer.len(),
        length,
        "a read stays within the capacity it is given"
    );
    buffer.freeze()
}

/// Sends back all that comes, until the stream ends.
async fn echo(stream: TcpStream) {
    loop {
        let (result, buffer) = stream.read(BytesMut::with_capacity(4096)).await;
        match result {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if stream.write_all(vec![buffer.freeze()]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn pattern(length: usize, seed: u64) -> Bytes {
    let mut sequence = Sequence(seed | 1);
    Bytes::from(
        (0..length)
            .map(|_| sequence.next() as u8)
            .collect::<Vec<u8>>(),
    )
}

#[test]
fn bytes_come_back_from_an_echo() {
    on_one_core(|| async {
        let listener = listener().await;
        let addr = listener.local_addr();
        assert_ne!(addr.port(), 0);
        let server = io::spawn(async move {
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!(stream.peer_addr(), peer);
            echo(stream).await;
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        assert_eq!(stream.peer_addr(), addr);
        for length in [1, 100, 5000, 100_000] {
            let sent = pattern(length, length as u64);
            stream.write_all(vec![sent.clone()]).await.unwrap();
            assert_eq!(read_exact(&stream, length).await, sent);
        }
        stream.shutdown();
        server.await;
    });
}

#[test]
fn bytes_are_read_into_a_place_of_a_buffer() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let sent = pattern(20_000, 3);
        there.write_all(vec![sent.clone()]).await.unwrap();
        there.shutdown();
        let mut buffer = AlignedBuf::zeroed(30_000);
        let (mut filled, end) = (100, 100 + sent.len() / 2);
        while filled < end {
            let (result, back) = here.read_into(buffer, filled..end).await;
            buffer = back;
            filled += result.expect("a read");
        }
        assert_eq!(filled, end, "a read stays within its place");
        assert_eq!(buffer[100..end], sent[..end - 100]);
        assert!(buffer[..100].iter().chain(&buffer[end..]).all(|b| *b == 0));
        let rest = read_exact(&here, sent.len() / 2).await;
        assert_eq!(rest, sent[end - 100..]);
        let (result, _) = here.read_into(buffer, 0..10).await;
        assert_eq!(result.expect("the end of the stream"), 0);
    });
}

#[test]
fn more_slices_than_one_send_takes_arrive_in_order() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        for (count, length) in [(2000, 7), (2000, 3000), (1024, 1), (1025, 1), (5, 0)] {
            // Every tenth is empty.
            let slices: Vec<Bytes> = (0..count)
                .map(|n| pattern(if n % 10 == 0 { 0 } else { length }, n as u64))
                .collect();
            let expected = slices.concat();
            let writer = here.clone();
            let sending = io::spawn(async move { writer.write_all(slices).await });
            assert_eq!(read_exact(&there, expected.len()).await, expected);
            sending.await.unwrap();
        }
        here.write_all(Vec::new()).await.unwrap();
    });
}

#[test]
fn a_slow_reader_holds_the_writer_back_and_gets_everything() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let all = pattern(32 << 20, 5);
        let sent = all.clone();
        let sending = io::spawn(async move { here.write_all(vec![sent]).await });
        io::sleep(Duration::from_millis(30)).await;
        assert!(!sending.is_finished(), "nobody takes 32 MiB unread");
        let mut at = 0;
        while at < all.len() {
            let length = (1 << 20).min(all.len() - at);
            assert_eq!(read_exact(&there, length).await, all[at..at + length]);
            at += length;
        }
        sending.await.unwrap();
    });
}

#[test]
fn both_directions_work_at_once() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let tasks: Vec<_> = [(here.clone(), there.clone(), 1), (there, here, 2)]
            .into_iter()
            .map(|(from, to, seed)| {
                io::spawn(async move {
                    let all = pattern(4 << 20, seed);
                    let sent = all.clone();
                    let sending = io::spawn(async move { from.write_all(vec![sent]).await });
                    assert_eq!(read_exact(&to, all.len()).await, all);
                    sending.await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn shutdown_wakes_a_pending_read_on_both_ends() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let reading: Vec<_> = [here.clone(), there]
            .into_iter()
            .map(|stream| {
                io::spawn(async move { stream.read(BytesMut::with_capacity(16)).await.0 })
            })
            .collect();
        io::sleep(Duration::from_millis(5)).await;
        here.shutdown();
        for task in reading {
            assert_eq!(task.await.unwrap(), 0);
        }
        here.shutdown();
        assert!(
            here.write_all(vec![Bytes::from_static(b"x")])
                .await
                .is_err()
        );
    });
}

#[test]
fn the_last_handle_closes_the_connection() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let second = here.clone();
        drop(here);
        second
            .write_all(vec![Bytes::from_static(b"bye")])
            .await
            .unwrap();
        drop(second);
        assert_eq!(read_exact(&there, 3).await, "bye");
        let (result, _) = there.read(BytesMut::with_capacity(16)).await;
        assert_eq!(result.unwrap(), 0);
        // Writing to a peer that is gone fails, at the latest when its refusal has come back.
        let refused = async {
            while there
                .write_all(vec![Bytes::from_static(b"more")])
                .await
                .is_ok()
            {
                io::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(
            io::timeout(Duration::from_secs(10), refused)
                .await
                .is_some()
        );
    });
}

#[test]
fn a_read_that_is_given_up_takes_nothing_from_the_stream() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        for round in 0..200_u32 {
            let waiting = there.read(BytesMut::with_capacity(4));
            assert!(
                io::timeout(Duration::from_micros(20), waiting)
                    .await
                    .is_none()
            );
            let word = Bytes::copy_from_slice(&round.to_be_bytes());
            here.write_all(vec![word.clone()]).await.unwrap();
            assert_eq!(read_exact(&there, 4).await, word);
        }
    });
}

#[test]
fn an_accept_that_is_given_up_loses_no_connection() {
    on_one_core(|| async {
        let listener = listener().await;
        for _ in 0..50 {
            assert!(
                io::timeout(Duration::from_micros(20), listener.accept())
                    .await
                    .is_none()
            );
            let stream = TcpStream::connect(listener.local_addr()).await.unwrap();
            let (other, _) = listener.accept().await.unwrap();
            stream
                .write_all(vec![Bytes::from_static(b"hi")])
                .await
                .unwrap();
            assert_eq!(read_exact(&other, 2).await, "hi");
        }
    });
}

#[test]
fn what_cannot_work_is_an_error() {
    on_one_core(|| async {
        let (here, _there) = connection().await;
        let (result, buffer) = here.read(BytesMut::new()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(buffer.len(), 0);

        let addr = listener().await.local_addr();
        let refused = TcpStream::connect(addr)
            .await
            .err()
            .map(|error| error.kind());
        assert_eq!(
            refused,
            Some(ErrorKind::ConnectionRefused),
            "nobody listens any more"
        );
    });
}

#[test]
fn an_address_is_free_until_somebody_listens_there() {
    on_one_core(|| async {
        TcpListener::check_free(ANY_PORT.parse().unwrap())
            .await
            .unwrap();
        let listener = listener().await;
        let addr = listener.local_addr();
        let taken = TcpListener::check_free(addr).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);

        // A connection of an earlier listener is no listener.
        let _here = TcpStream::connect(addr).await.unwrap();
        let _there = listener.accept().await.unwrap();
        drop(listener);
        TcpListener::check_free(addr).await.unwrap();
    });
}

#[test]
fn all_cores_listen_on_one_address() {
    const CONNECTIONS: u32 = 40;
    let (tell, told) = watch::channel(None::<SocketAddr>);
    let (ready, all_ready) = watch::channel(0_u16);
    let ready = Arc::new(ready);
    let done = Mutex::new(Vec::new());
    let (finish, finished) = watch::channel(false);
    on_cores(3, |core| {
        let (tell, mut told) = (tell.clone(), told.clone());
        let (ready, mut all_ready) = (ready.clone(), all_ready.clone());
        let (finish, mut finished) = (finish.clone(), finished.clone());
        let (end, ended) = oneshot::channel();
        done.lock().unwrap().push(ended);
        async move {
            // Core 0 lets the kernel choose the port, the others take the same.
            let addr = match core {
                CoreId(0) => ANY_PORT.parse().unwrap(),
                _ => told.wait_for(Option::is_some).await.unwrap().unwrap(),
            };
            let listener = TcpListener::bind(addr).await.unwrap();
            tell.send_replace(Some(listener.local_addr()));
            let addr = listener.local_addr();
            let serving = io::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    io::spawn(echo(stream)).detach();
                }
            });
            ready.send_modify(|count| *count += 1);
            all_ready.wait_for(|count| *count == 3).await.unwrap();
            if core == CoreId(0) {
                for n in 0..CONNECTIONS {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    let word = Bytes::copy_from_slice(&n.to_be_bytes());
                    stream.write_all(vec![word.clone()]).await.unwrap();
                    assert_eq!(read_exact(&stream, 4).await, word);
                }
                finish.send_replace(true);
            }
            finished.wait_for(|finished| *finished).await.unwrap();
            drop(serving);
            let _ = end.send(());
        }
    });
    assert_eq!(done.lock().unwrap().len(), 3);
}

#[test]
fn another_core_serves_what_this_one_accepted() {
    let (give, taken) = std::sync::mpsc::channel();
    let taken = Mutex::new(Some(taken));
    let (given, was_given) = watch::channel(false);
    let (served, was_served) = watch::channel(false);
    on_cores(2, move |core| {
        let (give, given, served) = (give.clone(), given.clone(), served.clone());
        let (mut was_given, mut was_served) = (was_given.clone(), was_served.clone());
        let taken = taken.lock().unwrap().take_if(|_| core == CoreId(1));
        async move {
            if let Some(taken) = taken {
                was_given.wait_for(|given| *given).await.unwrap();
                let unserved: Unserved = taken.recv().unwrap();
                let peer = unserved.peer_addr();
                let stream = unserved.serve();
                assert_eq!(stream.peer_addr(), peer);
                echo(stream).await;
                // Nobody serves this one: it closes.
                drop(taken.recv().unwrap());
                served.send_replace(true);
                return;
            }
            let listener = listener().await;
            let one = TcpStream::connect(listener.local_addr()).await.unwrap();
            give.send(listener.accept_unserved().await.unwrap())
                .unwrap();
            let other = TcpStream::connect(listener.local_addr()).await.unwrap();
            give.send(listener.accept_unserved().await.unwrap())
                .unwrap();
            given.send_replace(true);
            let sent = pattern(5000, 4);
            one.write_all(vec![sent.clone()]).await.unwrap();
            assert_eq!(read_exact(&one, sent.len()).await, sent);
            one.shutdown();
            let (end, _) = other.read(BytesMut::with_capacity(8)).await;
            assert_eq!(end.unwrap(), 0);
            was_served.wait_for(|served| *served).await.unwrap();
        }
    });
}

#[test]
fn many_connections_at_once() {
    on_one_core(|| async {
        let listener = listener().await;
        let addr = listener.local_addr();
        let serving = io::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                io::spawn(echo(stream)).detach();
            }
        });
        let clients: Vec<_> = (0..200_u64)
            .map(|n| {
                io::spawn(async move {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    let mut sequence = Sequence(n + 1);
                    for _ in 0..10 {
                        let sent = pattern(1 + sequence.below(2000) as usize, sequence.next());
                        stream.write_all(vec![sent.clone()]).await.unwrap();
                        assert_eq!(read_exact(&stream, sent.len()).await, sent);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
        drop(serving);
    });
}

#[test]
fn a_connection_that_never_waits_does_not_starve_timers() {
    on_one_core(|| async {
        let (here, there) = connection().await;
        let chunk = pattern(1000, 3);
        let writing = io::spawn(async move {
            loop {
                here.write_all(vec![chunk.clone()]).await.unwrap();
            }
        });
        let reading = io::spawn(async move {
            let mut buffer = BytesMut::with_capacity(64);
            loop {
                buffer.clear();
                let (result, back) = there.read(buffer).await;
                buffer = back;
                assert_ne!(result.unwrap(), 0);
            }
        });
        for _ in 0..20 {
            io::sleep(Duration::from_millis(1)).await;
        }
        drop((writing, reading));
    });
}
