//! Cross-core mail: one bounded lock-free queue per receiving core.
//!
//! A message costs its sender one queue push and one fence; the receiving task is woken only if it
//! waits (see `park`). What has been sent by one sender arrives in its order. When the queue is
//! full, senders wait in the order in which they came, which is the back-pressure between cores.
//!
//! Neither backend has a part in this: waking a task of another core is what wakers are for.
//! A core's spin before it parks is the executor's, not here.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam::queue::ArrayQueue;
use futures_util::task::AtomicWaker;

use super::park::ParkFlag;
use super::sync::Semaphore;
use crate::limits::MESSAGES_PER_POLL;

/// Room is given back to senders in lots of this many messages, or when the mailbox runs empty.
const ROOM_RETURN_COUNT: usize = 32;

/// The receiving end; owned by one core.
///
/// When it is dropped, its messages are dropped with it, and so are all that come later: whoever
/// waits for a reply sees the reply channel close.
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
    /// Messages taken whose room has not been given back yet.
    taken_count: usize,
    /// Messages taken in a row without waiting once.
    streak: usize,
}

/// A sending end; any core may hold one.
pub struct MailSender<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    /// One permit per free place. Who holds a permit may push and is sure to find room.
    room: Semaphore,
    /// Set while the receiver waits.
    waiting: ParkFlag,
    receiver: AtomicWaker,
}

/// One mailbox for each of `cores` cores, each holding at most `capacity` messages, with a sender
/// to every mailbox (its own included), in the order of the cores.
pub fn channels<T: Send>(cores: usize, capacity: usize) -> Vec<(Mailbox<T>, Vec<MailSender<T>>)> {
    let all: Vec<Arc<Shared<T>>> = (0..cores)
        .map(|_| Arc::new(Shared::new(capacity)))
        .collect();
    all.iter()
        .map(|own| {
            let mailbox = Mailbox {
                shared: own.clone(),
                taken_count: 0,
                streak: 0,
            };
            let senders = all
                .iter()
                .map(|one| MailSender {
                    shared: one.clone(),
                })
                .collect();
            (mailbox, senders)
        })
        .collect()
}

impl<T: Send> Mailbox<T> {
    /// The next message. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> T {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message, if there is one now.
    pub fn try_recv(&mut self) -> Option<T> {
        let message = self.shared.queue.pop();
        match &message {
            Some(_) => {
                self.taken_count += 1;
                if self.taken_count >= self.shared.room_lot() {
                    self.give_room_back();
                }
            }
            None => self.give_room_back(),
        }
        message
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if self.streak >= MESSAGES_PER_POLL {
            // Other cores may send faster than this task works: it makes way once in a while.
            self.streak = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(message) = self.try_recv() {
            self.streak += 1;
            return Poll::Ready(message);
        }
        self.streak = 0;
        self.shared.receiver.register(context.waker());
        self.shared.waiting.announce();
        match self.try_recv() {
            Some(message) => {
                self.shared.waiting.retract();
                Poll::Ready(message)
            }
            None => Poll::Pending,
        }
    }

    fn give_room_back(&mut self) {
        if self.taken_count > 0 {
            self.shared.room.add_permits(self.taken_count);
            self.taken_count = 0;
        }
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        self.shared.room.close();
        // The same flag, used the other way round: a sender that pushes after this announcement
        // finds the mailbox closed and empties it itself, one that pushed before is emptied here.
        self.shared.waiting.announce();
        while self.shared.queue.pop().is_some() {}
    }
}

impl<T: Send> MailSender<T> {
    /// Puts the message in the mailbox, waiting for room. A message to a mailbox that is gone is
    /// dropped.
    ///
    /// What finds room is there when this returns, and the future has nothing left to do; an
    /// `async fn` would keep each message several times.
    pub fn send(&self, message: T) -> impl Future<Output = ()> {
        let late = self.try_send(message).err();
        async move {
            if let Some(message) = late
                && let Ok(room) = self.shared.room.acquire().await
            {
                room.forget();
                self.push(message);
            }
        }
    }

    /// Puts the message in the mailbox, or gives it back if there is no room or no mailbox.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        match self.shared.room.try_acquire() {
            Ok(room) => {
                room.forget();
                self.push(message);
                Ok(())
            }
            Err(_) => Err(message),
        }
    }

    /// Whether the mailbox is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.room.is_closed()
    }

    fn push(&self, message: T) {
        let pushed = self.shared.queue.push(message).is_ok();
        assert!(pushed, "a permit is a place in the queue");
        if self.shared.waiting.must_wake() {
            self.shared.receiver.wake();
        }
        if self.shared.room.is_closed() {
            while self.shared.queue.pop().is_some() {}
        }
    }
}

impl<T> Clone for MailSender<T> {
    fn clone(&self) -> MailSender<T> {
        MailSender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Shared<T> {
    fn new(capacity: usize) -> Shared<T> {
        assert!(capacity > 0, "a mailbox holds at least one message");
        Shared {
            queue: ArrayQueue::new(capacity),
            room: Semaphore::new(capacity),
            waiting: ParkFlag::awake(),
            receiver: AtomicWaker::new(),
        }
    }

    /// Never more than half of the mailbox, so that senders are not held up by the lot's size.
    fn room_lot(&self) -> usize {
        (self.queue.capacity() / 2).clamp(1, ROOM_RETURN_COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sync::oneshot;
    use futures_util::FutureExt;

    fn pair(capacity: usize) -> (Mailbox<u32>, MailSender<u32>) {
        let (mailbox, mut senders) = channels(1, capacity).remove(0);
        (mailbox, senders.remove(0))
    }

    #[test]
    fn a_full_mailbox_refuses_and_room_comes_back() {
        for capacity in [1, 2, 3, 64, 100] {
            let (mut mailbox, sender) = pair(capacity);
            for round in 0..3 {
                for n in 0..capacity {
                    assert_eq!(sender.try_send(n as u32), Ok(()), "{capacity} {round}");
                }
                assert_eq!(sender.try_send(7), Err(7));
                assert!(sender.send(7).now_or_never().is_none());
                for n in 0..capacity {
                    assert_eq!(mailbox.try_recv(), Some(n as u32));
                }
                assert_eq!(mailbox.try_recv(), None);
            }
        }
    }

    #[test]
    fn a_message_to_a_dropped_mailbox_closes_its_reply_channel() {
        let (mailbox, mut senders) = channels::<oneshot::Sender<()>>(1, 4).remove(0);
        let sender = senders.remove(0);
        let (before, mut before_reply) = oneshot::channel();
        sender.try_send(before).unwrap();
        drop(mailbox);
        assert_eq!(
            before_reply.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
        let (after, mut after_reply) = oneshot::channel();
        assert!(sender.send(after).now_or_never().is_some());
        assert_eq!(
            after_reply.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
    }

    #[test]
    fn senders_on_other_threads_lose_nothing_and_keep_their_order() {
        const SENDERS: u32 = 3;
        let each = if cfg!(miri) { 50 } else { 20_000 };
        let (mut mailbox, sender) = pair(16);
        std::thread::scope(|scope| {
            for from in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    for n in 0..each {
                        let mut message = from << 24 | n;
                        while let Err(back) = sender.try_send(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; SENDERS as usize];
            for _ in 0..SENDERS * each {
                let message = block_on(mailbox.recv());
                let from = (message >> 24) as usize;
                assert_eq!(message & 0xff_ffff, next[from]);
                next[from] += 1;
            }
        });
        assert_eq!(mailbox.try_recv(), None);
    }

    /// Runs one future by parking this thread between polls.
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
