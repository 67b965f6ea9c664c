//! From a partition to its core, and from a call to its answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::future::join_all;
use slab::Slab;

use super::message::{Answer, Call, Message};
use super::{Shard, ShardError};
use crate::io;
use crate::io::mailbox::{MailSender, Mailbox};
use crate::io::sync::oneshot;
use crate::metrics::{self, Counter};
use crate::model::{CoreId, PartitionId};
use crate::partition::{Partition, Watch};

/// The mail of one core: where to send, and who waits for an answer.
pub(super) struct Routes {
    senders: Vec<MailSender<Message>>,
    waiting: RefCell<Slab<oneshot::Sender<Answer>>>,
    /// Watches that other cores placed here, by core and slot.
    watches: RefCell<HashMap<(CoreId, usize), Rc<Watch>>>,
}

impl Routes {
    pub(super) fn new(senders: Vec<MailSender<Message>>) -> Routes {
        Routes {
            senders,
            waiting: RefCell::new(Slab::new()),
            watches: RefCell::new(HashMap::new()),
        }
    }

    fn sender(&self, core: CoreId) -> &MailSender<Message> {
        &self.senders[usize::from(core.0)]
    }

    /// The number of shards of this node.
    pub(super) fn cores_count(&self) -> usize {
        self.senders.len()
    }
}

impl Shard {
    /// The core that owns a partition, from the slot that the metadata gave it.
    pub fn owner(&self, partition: PartitionId) -> Option<CoreId> {
        let slot = self.image.borrow().slot(partition)?;
        Some(self.core_of_slot(slot))
    }

    pub(super) fn core_of_slot(&self, slot: u32) -> CoreId {
        CoreId((slot as usize % self.routes.cores_count()) as u16)
    }

    /// The partition, if this core owns it and it is open.
    pub(super) fn local(&self, partition: PartitionId) -> Result<Rc<Partition>, ShardError> {
        if let Some(open) = self.partitions.borrow().get(&partition) {
            return Ok(open.clone());
        }
        match self.offline.borrow().contains(&partition) {
            true => Err(ShardError::Offline),
            false => Err(ShardError::UnknownPartition),
        }
    }

    /// Sends a call to another core. The message is in the mailbox when the first future is
    /// done, which fixes its order among this core's calls; the second one gives the answer.
    pub(super) fn send_call(
        &self,
        to: CoreId,
        call: Call,
    ) -> impl Future<Output = (usize, oneshot::Receiver<Answer>)> {
        let (sender, receiver) = oneshot::channel();
        let slot = self.routes.waiting.borrow_mut().insert(sender);
        metrics::add(Counter::CrossCoreMessages, 1);
        metrics::add(call.counter(), 1);
        let from = self.core;
        let call = Message::Call { from, slot, call };
        let sent = self.routes.sender(to).send(call);
        async move {
            sent.await;
            (slot, receiver)
        }
    }

    /// Sends a call and waits for its answer; a call to this core is served in place.
    pub(super) async fn call(self: &Rc<Self>, to: CoreId, call: Call) -> Answer {
        if to == self.core {
            return self.serve(call).await;
        }
        let (_, answer) = self.send_call(to, call).await;
        answer
            .await
            .expect("every call is answered while the shards run")
    }

    /// Makes one call of every core that owns any of `parts`, and puts the results back into the
    /// order of `parts`. `None` stands where no core owns the partition.
    pub(super) async fn scatter<P, R>(
        self: &Rc<Self>,
        parts: Vec<(PartitionId, P)>,
        call: impl Fn(Vec<P>) -> Call,
        results: impl Fn(Answer) -> Vec<R>,
    ) -> Vec<Option<R>> {
        let count = parts.len();
        let (places, by_core) = self.split(parts);
        let calls = by_core
            .into_iter()
            .zip(places)
            .map(|((core, parts), places)| {
                let call = call(parts);
                let results = &results;
                async move { (places, results(self.call(core, call).await)) }
            });
        let mut merged: Vec<Option<R>> = (0..count).map(|_| None).collect();
        for (places, answers) in join_all(calls).await {
            assert_eq!(places.len(), answers.len(), "one result for each part");
            for (place, answer) in places.into_iter().zip(answers) {
                merged[place] = Some(answer);
            }
        }
        merged
    }

    /// Splits parts by owner core; with each core's list come the places of its parts.
    #[allow(clippy::type_complexity)]
    pub(super) fn split<P>(
        &self,
        parts: Vec<(PartitionId, P)>,
    ) -> (Vec<Vec<usize>>, Vec<(CoreId, Vec<P>)>) {
        let cores_count = self.routes.cores_count();
        let mut places: Vec<Vec<usize>> = Vec::with_capacity(cores_count);
        let mut by_core: Vec<(CoreId, Vec<P>)> = Vec::with_capacity(cores_count);
        // The partitions of a topic are dealt out evenly: room for half as many again as that.
        let share = parts
            .len()
            .min(3 * parts.len().div_ceil(cores_count) / 2 + 1);
        for (place, (partition, part)) in parts.into_iter().enumerate() {
            let Some(core) = self.owner(partition) else {
                continue;
            };
            let at = by_core
                .iter()
                .position(|(owner, _)| *owner == core)
                .unwrap_or_else(|| {
                    by_core.push((core, Vec::with_capacity(share)));
                    places.push(Vec::with_capacity(share));
                    by_core.len() - 1
                });
            by_core[at].1.push(part);
            places[at].push(place);
        }
        (places, by_core)
    }

    /// Reads this core's mail until the node stops.
    pub async fn read_mail(self: Rc<Self>, mut mailbox: Mailbox<Message>) {
        loop {
            match mailbox.recv().await {
                Message::Call { from, slot, call } => self.deliver(from, slot, call),
                Message::Answer { slot, answer } => {
                    let waiting = self.routes.waiting.borrow_mut().remove(slot);
                    // Whoever asked may have gone with its connection.
                    let _ = waiting.send(answer);
                }
                Message::EndWatch { from, slot } => {
                    if let Some(watch) = self.routes.watches.borrow_mut().remove(&(from, slot)) {
                        watch.end();
                        watch.fire();
                    }
                }
            }
        }
    }

    /// Takes a call in: what must happen in order happens before this returns.
    fn deliver(self: &Rc<Self>, from: CoreId, slot: usize, call: Call) {
        match call {
            Call::Produce {
                parts,
                wait_durable,
            } => {
                let produced = self.produce_local(parts, wait_durable);
                self.answer(from, slot, async move { Answer::Produce(produced.await) });
            }
            Call::Watch(parts) => {
                let watch = self.watch_local(&parts);
                self.routes
                    .watches
                    .borrow_mut()
                    .insert((from, slot), watch.clone());
                let shard = self.clone();
                self.answer(from, slot, async move {
                    watch.fired().await;
                    watch.end();
                    shard.routes.watches.borrow_mut().remove(&(from, slot));
                    Answer::Watch
                });
            }
            call => {
                let shard = self.clone();
                self.answer(from, slot, async move { shard.serve(call).await });
            }
        }
    }

    /// Sends what becomes of a call. A task of the size of this one answer: a task that could be
    /// any of them would be moved about in kilobytes for every produce.
    fn answer<F>(self: &Rc<Self>, from: CoreId, slot: usize, answer: F)
    where
        F: Future<Output = Answer> + 'static,
    {
        let shard = self.clone();
        io::spawn(async move {
            let answer = answer.await;
            shard
                .routes
                .sender(from)
                .send(Message::Answer { slot, answer })
                .await;
        })
        .detach();
    }

    /// Serves a call on this core.
    async fn serve(self: &Rc<Self>, call: Call) -> Answer {
        match call {
            Call::Produce {
                parts,
                wait_durable,
            } => Answer::Produce(self.produce_local(parts, wait_durable).await),
            Call::Fetch {
                parts,
                max_bytes,
                at_least_one,
            } => Answer::Fetch(self.fetch_local(parts, max_bytes, at_least_one).await),
            Call::Watch(parts) => {
                let watch = self.watch_local(&parts);
                watch.fired().await;
                watch.end();
                Answer::Watch
            }
            Call::Offsets(calls) => Answer::Offsets(self.offsets_local(calls).await),
            Call::Inspect(wanted) => Answer::Inspect(self.inspect_local(&wanted).await),
            Call::Group(call) => Answer::Group(Box::new(self.group_local(*call).await)),
            Call::Control(call) => Answer::Control(self.control_local(call).await),
            Call::Apply(records) => {
                self.apply(&records).await;
                Answer::Apply
            }
        }
    }

    /// Tells another core that the answer to a watch is no longer needed.
    pub(super) async fn end_watch(&self, to: CoreId, slot: usize) {
        self.routes
            .sender(to)
            .send(Message::EndWatch {
                from: self.core,
                slot,
            })
            .await;
    }
}
