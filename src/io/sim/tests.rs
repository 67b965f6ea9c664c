//! The machine as a whole: schedules, time, crashes, the network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Crash, CrashPoint, Fault, NetOptions, OpKind, Outcome, Simulation};
use crate::io::{self, AlignedBuf, CoreSpec, ErrorKind, File, Open, Sync, fs};
use crate::model::CoreId;

const BLOCK: usize = 4096;

fn block(byte: u8) -> Bytes {
    let mut buffer = AlignedBuf::zeroed(BLOCK);
    buffer.fill(byte);
    buffer.freeze()
}

/// Runs one core; the simulation must not crash.
fn run_one<F: Future<Output = ()> + 'static>(sim: &Simulation, main: impl Fn() -> F) {
    assert_eq!(sim.run_cores(1, |_| main()), Outcome::Finished);
}

/// A little of everything: files, sleeps, tasks and connections on two cores.
async fn a_bit_of_everything(dir: String) {
    fs::create_dir(&dir).await.unwrap();
    let file = File::open(format!("{dir}/f"), Open::CreateNew)
        .await
        .unwrap();
    let tasks: Vec<_> = (0..8u64)
        .map(|n| {
            let file = file.clone();
            io::spawn(async move {
                io::sleep(Duration::from_micros(io::random_u64() % 100)).await;
                file.write_at(block(n as u8), n * BLOCK as u64, Sync::Data)
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let listener = io::TcpListener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let addr = listener.local_addr();
    let client = io::spawn(async move {
        let stream = io::TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(vec![Bytes::from(vec![7; 100_000])])
            .await
            .unwrap();
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut count = 0;
    loop {
        let (read, buffer) = stream.read(BytesMut::with_capacity(5000)).await;
        assert!(buffer.iter().all(|byte| *byte == 7));
        match read.unwrap() {
            0 => break,
            read => count += read,
        }
    }
    client.await;
    assert_eq!(count, 100_000);
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed| {
        let sim = Simulation::new(seed);
        let main = |core: CoreId| a_bit_of_everything(format!("/data-{}", core.0));
        assert_eq!(sim.run_cores(2, main), Outcome::Finished);
        (sim.digest(), sim.trace(), sim.elapsed())
    };
    let first = run(1);
    assert!(first.1.len() > 100);
    assert_eq!(first, run(1));
    let digests: BTreeSet<u64> = (1..20).map(|seed| run(seed).0).collect();
    assert_eq!(digests.len(), 19);
}

#[test]
fn time_jumps_when_nothing_can_run() {
    let sim = Simulation::new(3);
    run_one(&sim, || async {
        let (start, wall) = (io::now(), io::wall_clock());
        let day = Duration::from_secs(24 * 3600);
        let two = [io::spawn(io::sleep(day)), io::spawn(io::sleep(day / 2))];
        assert_eq!(
            io::timeout(day / 4, std::future::pending::<()>()).await,
            None
        );
        for task in two {
            task.await;
        }
        let passed = io::now() - start;
        assert!(
            passed >= day && passed < day + Duration::from_secs(1),
            "{passed:?}"
        );
        assert_eq!((io::wall_clock().0 - wall.0) / 1000, 24 * 3600);
        assert_eq!(io::timeout(day, async { 5 }).await, Some(5));
        assert!(
            io::now() - start < day + Duration::from_secs(1),
            "a dropped timer is gone"
        );
    });
}

#[test]
#[should_panic(expected = "seed 77: deadlock")]
fn a_deadlock_is_reported_with_its_seed() {
    let sim = Simulation::new(77);
    run_one(&sim, std::future::pending);
}

#[test]
fn a_dropped_task_is_cancelled_and_the_end_drops_all() {
    struct Flag(Rc<Cell<u32>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let sim = Simulation::new(5);
    let dropped = Rc::new(Cell::new(0));
    let its = dropped.clone();
    run_one(&sim, move || {
        let dropped = its.clone();
        async move {
            let forever = |flag: Flag| async move {
                let _flag = flag;
                std::future::pending::<()>().await;
            };
            let task = io::spawn(forever(Flag(dropped.clone())));
            io::sleep(Duration::from_millis(1)).await;
            drop(task);
            io::sleep(Duration::from_millis(1)).await;
            assert_eq!(dropped.get(), 1);
            io::spawn(forever(Flag(dropped.clone()))).detach();
            io::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(dropped.get(), 2);
}

/// Appends blocks 1, 2, 3... with data sync and says how many were acknowledged.
fn append_until_it_ends(sim: &Simulation, count: u64) -> (Outcome, u64) {
    let acknowledged = Rc::new(Cell::new(0));
    let its = acknowledged.clone();
    let outcome = sim.run_cores(1, move |_| {
        let acknowledged = its.clone();
        async move {
            fs::create_dir("/data").await.unwrap();
            fs::sync_dir("/").await.unwrap();
            let file = File::open("/data/log", Open::CreateNew).await.unwrap();
            file.allocate(count * BLOCK as u64).await.unwrap();
            file.sync().await.unwrap();
            fs::sync_dir("/data").await.unwrap();
            for n in 0..count {
                let offset = n * BLOCK as u64;
                file.write_at(block(n as u8 + 1), offset, Sync::Data)
                    .await
                    .unwrap();
                acknowledged.set(n + 1);
            }
        }
    });
    (outcome, acknowledged.get())
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_operation() {
    let whole = Simulation::new(9);
    assert_eq!(append_until_it_ends(&whole, 10), (Outcome::Finished, 10));
    let total = whole.counts().ops;
    assert!(total > 14);
    let mut seen = BTreeSet::new();
    for k in 1..=total {
        for crash in [Crash::PowerLoss, Crash::Kill] {
            let sim = Simulation::new(9);
            sim.crash_at(CrashPoint::DiskOp(k), crash);
            let (outcome, acknowledged) = append_until_it_ends(&sim, 10);
            assert_eq!(outcome, Outcome::Crashed(crash), "{k}");
            seen.insert(acknowledged);
            if acknowledged == 0 {
                continue;
            }
            run_one(&sim, move || async move {
                let file = File::open("/data/log", Open::Read).await.unwrap();
                let buffer = AlignedBuf::zeroed(BLOCK * acknowledged as usize);
                let (read, buffer) = file.read_at(buffer, 0).await;
                assert_eq!(read.unwrap(), buffer.len());
                for (n, block) in buffer.chunks(BLOCK).enumerate() {
                    assert!(
                        block.iter().all(|byte| *byte == n as u8 + 1),
                        "op {k}, block {n}"
                    );
                }
            });
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn a_program_runs_on_the_machine_and_ends_with_it() {
    let sim = Simulation::new(4);
    let program = || {
        io::run(&CoreSpec::unpinned(3), |core| async move {
            if core == CoreId(0) {
                let _ = fs::create_dir("/data").await;
                fs::write_small("/data/meta", Bytes::from_static(b"v1"))
                    .await
                    .unwrap();
                io::sleep(Duration::from_secs(5)).await;
            }
        })
        .unwrap();
        17
    };
    assert_eq!(sim.run_program(program), Some(17));
    let plan = CrashPoint::Time(sim.elapsed() + Duration::from_secs(2));
    sim.crash_at(plan, Crash::Kill);
    assert_eq!(sim.run_program(program), None);
    assert_eq!(sim.disk().content(Path::new("/data/meta")).unwrap(), b"v1");
    assert_eq!(sim.run_program(program), Some(17));
}

#[test]
fn a_lock_is_held_until_dropped_or_until_the_process_dies() {
    let sim = Simulation::new(6);
    sim.disk().make_dirs(Path::new("/data"));
    let held = || async {
        let lock = fs::lock_dir("/data").await.unwrap();
        let refused = fs::lock_dir("/data").await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        drop(lock);
        let lock = fs::lock_dir("/data").await.unwrap();
        std::mem::forget(lock);
    };
    run_one(&sim, held);
    run_one(&sim, held);
}

#[test]
fn snapshots_of_one_run_are_crashed_in_many_ways() {
    let sim = Simulation::new(8);
    let snapshots = Rc::new(RefCell::new(Vec::new()));
    let its = snapshots.clone();
    sim.observe_disk(move |_, disk| its.borrow_mut().push(disk.clone()));
    run_one(&sim, || async {
        let file = File::open("/log", Open::CreateNew).await.unwrap();
        fs::sync_dir("/").await.unwrap();
        let writes = (0..4u64).map(|n| {
            let file = file.clone();
            io::spawn(async move {
                file.write_at(block(9), n * BLOCK as u64, Sync::None)
                    .await
                    .unwrap();
            })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await;
        }
        file.sync().await.unwrap();
    });
    let mut outcomes = BTreeSet::new();
    for snapshot in snapshots.borrow().iter() {
        for seed in 0..50 {
            let mut disk = snapshot.clone();
            disk.lose_power(seed);
            assert!(!disk.has_volatile());
            outcomes.insert(disk.content(Path::new("/log")));
        }
    }
    assert!(outcomes.len() > 30, "{}", outcomes.len());
}

#[test]
fn faults_strike_what_they_name() {
    let sim = Simulation::new(11);
    sim.disk()
        .inject(Fault::error(OpKind::Write).on("log").after(1));
    run_one(&sim, || async {
        let log = File::open("/log", Open::CreateNew).await.unwrap();
        let other = File::open("/other", Open::CreateNew).await.unwrap();
        other.write_at(block(1), 0, Sync::Data).await.unwrap();
        other.write_at(block(1), 0, Sync::Data).await.unwrap();
        log.write_at(block(1), 0, Sync::Data).await.unwrap();
        let error = log.write_at(block(2), 0, Sync::Data).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        log.write_at(block(3), 0, Sync::Data).await.unwrap();
        super::with_disk(|disk| disk.inject(Fault::dead_disk()));
        assert!(log.sync().await.is_err());
        assert!(fs::list_dir("/").await.is_err());
        super::with_disk(|disk| disk.heal());
        assert_eq!(fs::list_dir("/").await.unwrap(), ["log", "other"]);
    });
    assert_eq!(sim.counts().faults, 3);
}

/// A pair of connected streams.
async fn pair() -> (io::TcpStream, io::TcpStream) {
    let listener = io::TcpListener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let addr = listener.local_addr();
    let client = io::TcpStream::connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

async fn read(stream: &io::TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let (read, buffer) = stream.read(BytesMut::with_capacity(100_000)).await;
    read.map(|_| buffer.to_vec()).map_err(|error| error.kind())
}

#[test]
fn connections_end_as_tcp_ends_them() {
    run_one(&Simulation::new(12), || async {
        let hello = || vec![Bytes::from_static(b"hello")];
        // Half closed: the other direction goes on.
        let (client, server) = pair().await;
        client.close_write();
        assert_eq!(read(&server).await, Ok(vec![]));
        server
            .write_all(vec![Bytes::from_static(b"x")])
            .await
            .unwrap();
        assert_eq!(read(&client).await, Ok(b"x".to_vec()));
        // Dropped: the end arrives; writing into it is answered with a reset.
        drop(client);
        assert_eq!(read(&server).await, Ok(vec![]));
        server.write_all(hello()).await.unwrap();
        io::sleep(Duration::from_secs(1)).await;
        let error = server.write_all(hello()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        // Shut down: a pending read of this end ends too.
        let (client, _server) = pair().await;
        let reading = client.clone();
        let pending = io::spawn(async move { read(&reading).await });
        io::sleep(Duration::from_millis(1)).await;
        client.shutdown();
        assert_eq!(pending.await, Ok(vec![]));
        assert!(client.write_all(hello()).await.is_err());
        // Cut: both see it.
        let (client, server) = pair().await;
        super::with_net(|net| net.cut_all());
        assert_eq!(read(&client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read(&server).await, Err(ErrorKind::ConnectionReset));
        // Stalled: late, not lost.
        let (client, server) = pair().await;
        let start = io::now();
        client.stall(Duration::from_secs(9));
        client
            .write_all(vec![Bytes::from_static(b"y")])
            .await
            .unwrap();
        assert_eq!(read(&server).await, Ok(b"y".to_vec()));
        assert!(io::now() - start >= Duration::from_secs(9));
    });
}

#[test]
fn a_writer_waits_for_its_reader_and_nobody_listening_refuses() {
    let options = NetOptions {
        buffer_bytes: 1000,
        ..NetOptions::default()
    };
    run_one(&Simulation::builder(13).net(options).build(), || async {
        let (client, server) = pair().await;
        let bytes = Bytes::from(vec![1; 10_000]);
        let writing = io::spawn(async move { client.write_all(vec![bytes]).await });
        io::sleep(Duration::from_secs(10)).await;
        assert!(!writing.is_finished());
        let mut count = 0;
        while count < 10_000 {
            count += read(&server).await.unwrap().len();
        }
        writing.await.unwrap();
        let refused = io::TcpStream::connect("127.0.0.1:9".parse().unwrap()).await;
        assert_eq!(
            refused.map(drop).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn connections_are_spread_over_the_cores_that_listen() {
    let accepted = Rc::new(RefCell::new(BTreeSet::new()));
    let its = accepted.clone();
    let outcome = Simulation::new(14).run_cores(3, move |core| {
        let accepted = its.clone();
        async move {
            let addr = "127.0.0.1:9092".parse().unwrap();
            let listener = io::TcpListener::bind(addr).await.unwrap();
            io::sleep(Duration::from_millis(1)).await;
            for _ in 0..20 {
                let _client = io::TcpStream::connect(addr).await.unwrap();
            }
            let taking = async {
                loop {
                    let _ = listener.accept().await.unwrap();
                    accepted.borrow_mut().insert(core);
                }
            };
            assert_eq!(
                io::timeout(Duration::from_secs(1), taking).await,
                None::<()>
            );
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(accepted.borrow().len(), 3);
}

#[test]
fn misaligned_requests_are_refused_as_direct_io_refuses_them() {
    run_one(&Simulation::new(15), || async {
        let file = File::open("/f", Open::CreateNew).await.unwrap();
        file.write_at(block(1), 0, Sync::None).await.unwrap();
        let aligned = block(2);
        let table: [(Bytes, u64, bool); 7] = [
            (aligned.slice(..512), 512, true),
            (aligned.slice(512..1024), 0, true),
            (aligned.slice(..500), 0, false),
            (aligned.slice(..512), 100, false),
            (aligned.slice(1..513), 0, false),
            (aligned.slice(..0), 100, false),
            (aligned.slice(..512), u64::MAX - 511, false),
        ];
        for (index, (bytes, offset, fine)) in table.into_iter().enumerate() {
            let errno = match file.write_at(bytes, offset, Sync::Data).await {
                Ok(()) => None,
                Err(error) => error.raw_os_error(),
            };
            assert_eq!(errno, (!fine).then_some(libc::EINVAL), "row {index}");
        }
        let (read, _) = file.read_at(AlignedBuf::zeroed(700), 0).await;
        assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let (read, buffer) = file.read_at(AlignedBuf::zeroed(3 * BLOCK), 0).await;
        assert_eq!(
            (read.unwrap(), buffer.len()),
            (BLOCK, 3 * BLOCK),
            "short at the end"
        );
        let (read, _) = file
            .read_at(AlignedBuf::zeroed(BLOCK), 8 * BLOCK as u64)
            .await;
        assert_eq!(read.unwrap(), 0);
        let reader = File::open("/f", Open::Read).await.unwrap();
        let error = reader.write_at(block(1), 0, Sync::None).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        super::with_disk(|disk| disk.options_mut().direct_io = false);
        let error = File::open("/f", Open::Read).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn an_operation_outlives_its_future() {
    let sim = Simulation::new(16);
    run_one(&sim, || async {
        let file = File::open("/f", Open::CreateNew).await.unwrap();
        let write = file.write_at(block(5), 0, Sync::Data);
        assert_eq!(io::timeout(Duration::ZERO, write).await.map(drop), None);
        let opening = File::open("/f", Open::Read);
        assert!(io::timeout(Duration::ZERO, opening).await.is_none());
    });
    assert_eq!(sim.disk().content(Path::new("/f")).unwrap(), [5; BLOCK]);
    sim.disk().options_mut().capacity_bytes = BLOCK as u64;
    run_one(&sim, || async { fs::remove_file("/f").await.unwrap() });
    assert_eq!(
        sim.disk().free_bytes(),
        BLOCK as u64,
        "an orphaned open is closed again"
    );
}

#[test]
fn mail_is_late_and_in_order_and_pushes_back() {
    const COUNT: u32 = 200;
    let channels = RefCell::new(io::mailbox::channels::<(CoreId, u32)>(3, 4));
    let sim = Simulation::new(17);
    let outcome = sim.run_cores(3, |core| {
        let (mut mailbox, senders) = channels.borrow_mut().remove(0);
        async move {
            let sending = io::spawn(async move {
                for n in 0..COUNT {
                    for sender in &senders {
                        sender.send((core, n)).await;
                    }
                }
            });
            let mut next = [0; 3];
            for _ in 0..3 * COUNT {
                let (from, n) = mailbox.recv().await;
                assert_eq!(n, next[from.0 as usize], "from {from:?}");
                next[from.0 as usize] += 1;
            }
            sending.await;
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

/// What a broker must not do: a write is acknowledged when it has completed, not when it is synced.
#[test]
#[should_panic(expected = "acknowledged and lost")]
fn an_acknowledgement_before_the_sync_is_caught() {
    let workload = |sim: &Simulation| {
        let acknowledged = Rc::new(Cell::new(0));
        let its = acknowledged.clone();
        let outcome = sim.run_cores(1, move |_| {
            let acknowledged = its.clone();
            async move {
                let file = File::open("/log", Open::CreateNew).await.unwrap();
                fs::sync_dir("/").await.unwrap();
                for n in 0..5 {
                    file.write_at(block(7), n * BLOCK as u64, Sync::None)
                        .await
                        .unwrap();
                    acknowledged.set((n + 1) as usize);
                    file.sync().await.unwrap();
                }
            }
        });
        (outcome, acknowledged.get())
    };
    let verify = |sim: &Simulation, acknowledged: usize| {
        let content = sim.disk().content(Path::new("/log")).unwrap_or_default();
        let kept = content.iter().take_while(|byte| **byte == 7).count();
        assert!(kept >= acknowledged * BLOCK, "acknowledged and lost");
    };
    for seed in 0..20 {
        let make = || Simulation::new(seed);
        Simulation::crash_everywhere(make, Crash::PowerLoss, workload, verify);
    }
}

#[test]
fn a_small_file_is_the_old_or_the_new_one_after_any_crash() {
    let path = Path::new("/data/meta.properties");
    let make = || {
        let sim = Simulation::new(18);
        sim.disk().put(Path::new("/data/meta.properties"), b"old");
        sim
    };
    let workload = |sim: &Simulation| {
        let done = Rc::new(Cell::new(false));
        let its = done.clone();
        let outcome = sim.run_cores(1, move |_| {
            let done = its.clone();
            async move {
                let bytes = Bytes::from_static(b"new and longer");
                fs::write_small("/data/meta.properties", bytes)
                    .await
                    .unwrap();
                done.set(true);
            }
        });
        (outcome, done.get())
    };
    let verify = |sim: &Simulation, done: bool| {
        let content = sim.disk().content(path).unwrap();
        assert!(
            content == b"new and longer" || !done && content == b"old",
            "{content:?}"
        );
        // A crash in between must not stand in the way of the next attempt.
        assert_eq!(workload(sim), (Outcome::Finished, true));
        assert_eq!(sim.disk().content(path).unwrap(), b"new and longer");
    };
    for crash in [Crash::PowerLoss, Crash::Kill] {
        assert!(Simulation::crash_everywhere(make, crash, workload, verify) >= 6);
    }
}

#[test]
fn recovery_may_be_killed_as_well() {
    let sim = Simulation::new(19);
    sim.crash_at(CrashPoint::Sync(3), Crash::PowerLoss);
    assert_eq!(
        append_until_it_ends(&sim, 10).0,
        Outcome::Crashed(Crash::PowerLoss)
    );
    assert!(
        (2..=3).contains(&sim.counts().syncs),
        "the third had happened, or not"
    );
    for _ in 0..3 {
        let next = sim.counts().ops + 1;
        sim.crash_at(CrashPoint::DiskOp(next), Crash::Kill);
        let outcome = sim.run_cores(1, |_| async {
            let _ = fs::list_dir("/").await;
            super::crash_now(Crash::PowerLoss).await;
        });
        assert_eq!(outcome, Outcome::Crashed(Crash::Kill));
    }
    let outcome = sim.run_cores(1, |_| super::crash_now(Crash::PowerLoss));
    assert_eq!(outcome, Outcome::Crashed(Crash::PowerLoss));
    run_one(&sim, || async { assert!(fs::list_dir("/").await.is_ok()) });
}

#[test]
fn a_machine_starts_again_after_any_number_of_crashes() {
    let mut crash_count = 0;
    for seed in 0..300 {
        let sim = Simulation::new(seed);
        let mut chance = super::Chance::new(seed, "crashes");
        for round in 0..4 {
            let crash = match chance.coin() {
                true => Crash::PowerLoss,
                false => Crash::Kill,
            };
            let counts = sim.counts();
            sim.crash_at(
                match chance.below(3) {
                    0 => CrashPoint::DiskOp(counts.ops + 1 + chance.below(24)),
                    1 => CrashPoint::Sync(counts.syncs + 1 + chance.below(18)),
                    _ => {
                        CrashPoint::Time(sim.elapsed() + Duration::from_micros(chance.below(9000)))
                    }
                },
                crash,
            );
            let outcome = sim.run_cores(2, move |core| {
                a_bit_of_everything(format!("/round-{round}-{}", core.0))
            });
            crash_count += u32::from(outcome == Outcome::Crashed(crash));
            sim.cancel_crash();
        }
        assert_eq!(sim.net().connection_count(), 0);
        assert!(sim.disk().paths().len() <= 8);
    }
    assert!(crash_count > 600, "{crash_count}");
}
