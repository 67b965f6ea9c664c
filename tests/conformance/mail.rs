//! Mailboxes between cores.

use std::sync::Mutex;
use std::time::Duration;

use corelog::io::mailbox::{self, MailSender, Mailbox};
use corelog::io::sync::oneshot;
use corelog::io::{self};
use corelog::model::CoreId;

use crate::{on_cores, on_one_core};

/// Gives each core its mailbox and senders, once.
struct Parts<T>(Mutex<Vec<Option<Ends<T>>>>);

/// One core's own box, and a way into everyone's.
type Ends<T> = (Mailbox<T>, Vec<MailSender<T>>);

impl<T: Send> Parts<T> {
    fn new(cores: usize, capacity: usize) -> Parts<T> {
        let parts = mailbox::channels(cores, capacity).into_iter().map(Some);
        Parts(Mutex::new(parts.collect()))
    }

    fn take(&self, core: CoreId) -> (Mailbox<T>, Vec<MailSender<T>>) {
        self.0.lock().unwrap()[usize::from(core.0)]
            .take()
            .expect("each core takes its own once")
    }
}

#[test]
fn all_cores_write_to_all_and_each_senders_order_is_kept() {
    const CORES: u16 = 3;
    const EACH: u32 = 20_000;
    // Small mailboxes make senders wait most of the time, large ones never.
    for capacity in [1, 7, 4096] {
        let parts = Parts::<(u16, u32)>::new(CORES.into(), capacity);
        let each = if capacity == 1 { EACH / 20 } else { EACH };
        on_cores(CORES, |core| {
            let (mut mailbox, senders) = parts.take(core);
            async move {
                let sending: Vec<_> = senders
                    .into_iter()
                    .map(|sender| {
                        io::spawn(async move {
                            for n in 0..each {
                                sender.send((core.0, n)).await;
                            }
                        })
                    })
                    .collect();
                let mut next = [0; CORES as usize];
                for _ in 0..each * u32::from(CORES) {
                    let (from, n) = mailbox.recv().await;
                    assert_eq!(n, next[usize::from(from)], "from core {from}");
                    next[usize::from(from)] += 1;
                }
                for task in sending {
                    task.await;
                }
                assert_eq!(mailbox.try_recv(), None);
            }
        });
    }
}

#[test]
fn a_sleeping_core_is_woken_each_time() {
    let parts = Parts::<u32>::new(2, 8);
    on_cores(2, |core| {
        let (mut mailbox, senders) = parts.take(core);
        async move {
            let other = &senders[usize::from(1 - core.0)];
            for round in 0..2_000 {
                // Each core waits for the other, so both sleep again and again.
                if core == CoreId(0) {
                    other.send(round).await;
                    assert_eq!(mailbox.recv().await, round);
                } else {
                    let seen = mailbox.recv().await;
                    if round % 500 == 0 {
                        io::sleep(Duration::from_millis(5)).await;
                    }
                    other.send(seen).await;
                }
            }
        }
    });
}

#[test]
fn a_full_mailbox_holds_its_senders_back() {
    on_one_core(|| async {
        let (mut mailbox, senders) = mailbox::channels::<u32>(1, 4).remove(0);
        let sender = senders[0].clone();
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let counter = sent.clone();
        let sending = io::spawn(async move {
            for n in 0..20 {
                sender.send(n).await;
                counter.set(n + 1);
            }
        });
        io::sleep(Duration::from_millis(5)).await;
        assert_eq!(sent.get(), 4, "no more than there is room for");
        assert_eq!(senders[0].try_send(99), Err(99));
        for n in 0..20 {
            assert_eq!(mailbox.recv().await, n);
        }
        sending.await;
        assert_eq!(senders[0].try_send(99), Ok(()));
        assert_eq!(mailbox.recv().await, 99);
    });
}

#[test]
fn a_sender_that_gives_up_leaves_its_place_to_the_next() {
    on_one_core(|| async {
        let (mut mailbox, senders) = mailbox::channels::<u32>(1, 1).remove(0);
        senders[0].send(0).await;
        let mut waiting = Vec::new();
        for n in 1..=10 {
            let sender = senders[0].clone();
            waiting.push(io::spawn(async move { sender.send(n).await }));
            // It waits before the next one does: of two ready tasks either may run first.
            io::yield_now().await;
        }
        let mut kept = Vec::new();
        for (task, n) in waiting.into_iter().zip(1..) {
            if n % 2 == 0 {
                drop(task);
            } else {
                kept.push(task);
            }
        }
        for expected in [0, 1, 3, 5, 7, 9] {
            assert_eq!(mailbox.recv().await, expected);
        }
        for task in kept {
            task.await;
        }
    });
}

#[test]
fn a_receiver_that_gives_up_loses_nothing() {
    on_one_core(|| async {
        let (mut mailbox, senders) = mailbox::channels::<u32>(1, 8).remove(0);
        for n in 0..200 {
            assert_eq!(
                io::timeout(Duration::from_micros(50), mailbox.recv()).await,
                None
            );
            senders[0].send(n).await;
            assert_eq!(mailbox.recv().await, n);
        }
    });
}

#[test]
fn mail_to_a_core_that_has_dropped_its_mailbox_closes_the_reply() {
    let parts = Parts::<oneshot::Sender<()>>::new(2, 2);
    on_cores(2, |core| {
        let (mailbox, senders) = parts.take(core);
        async move {
            if core == CoreId(0) {
                io::sleep(Duration::from_millis(10)).await;
                drop(mailbox);
                return;
            }
            // More than there is room for: some are in the mailbox when it goes, some wait for
            // room, some come later.
            let asking: Vec<_> = (0..10)
                .map(|_| {
                    let sender = senders[0].clone();
                    io::spawn(async move {
                        let (reply, answer) = oneshot::channel();
                        sender.send(reply).await;
                        assert!(answer.await.is_err());
                    })
                })
                .collect();
            for task in asking {
                task.await;
            }
            let (reply, answer) = oneshot::channel();
            senders[0].send(reply).await;
            assert!(answer.await.is_err());
        }
    });
}

#[test]
fn a_flood_of_mail_does_not_starve_the_receiving_cores_other_tasks() {
    let parts = Parts::<u32>::new(2, 1024);
    on_cores(2, |core| {
        let (mut mailbox, senders) = parts.take(core);
        async move {
            if core == CoreId(1) {
                let sender = &senders[0];
                while sender.try_send(0).is_ok() || !sender.is_closed() {
                    io::yield_now().await;
                }
                return;
            }
            let receiving = io::spawn(async move {
                loop {
                    mailbox.recv().await;
                }
            });
            for _ in 0..50 {
                io::sleep(Duration::from_micros(100)).await;
            }
            drop(receiving);
        }
    });
}
