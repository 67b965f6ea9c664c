//! Sealing, closing and deleting a log.

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::frame::{ChunkStamp, FrameKind};
use crate::io::{self, Sync};
use crate::metrics::{self, Counter};

use super::chunk::{ChunkHeader, header_blocks};
use super::group::Group;
use super::handle::Log;
use super::state::{Goal, Phase};
use super::store::Stopped;

impl Log {
    /// Called by the store when the log may have been idle for long: writes the seal, so that a
    /// crash leaves no doubt about the last group, and gives back what an idle log must not own.
    /// A tail that is read again and again stays, within the budget of all tails.
    pub(super) async fn seal_if_idle(&self) {
        let idle = self.store.config.seal_idle;
        let (hot, file, seal, stays) = {
            let mut state = self.state.borrow_mut();
            let open = state.phase == Phase::Open && !self.store.is_stopped();
            let busy = !state.is_settled() || io::now() - state.last_append < idle;
            if open && busy {
                let aged = state.open.as_ref().is_some_and(Group::is_aged);
                if aged {
                    state.close_group(false);
                }
                drop(state);
                self.store.note_unsealed(self.me.clone());
                if aged {
                    self.kick();
                }
                return;
            }
            let stays = open && !state.hot.is_empty() && self.is_tail_read();
            let hot = match stays {
                true => 0,
                false => state.drop_hot(),
            };
            state.seal_scheduled = stays;
            state.foretold = None;
            let file = state.chunks.back().map(|last| last.chunk.id);
            (hot, file, open && !state.sealed, stays)
        };
        if stays {
            // To look again whether it is read.
            self.store.note_unsealed(self.me.clone());
        }
        self.store.hot.dropped(hot);
        if seal {
            // A stopped directory takes no seal; whoever appends is told so.
            let _ = self.seal().await;
            // Before the seal come frames of what only the journal had: they are the tail now.
            if !stays {
                let hot = self.state.borrow_mut().drop_hot();
                self.store.hot.dropped(hot);
            }
        }
        if let Some(id) = file {
            self.store.files.forget(id);
        }
    }

    /// Makes everything durable and writes the seal behind it, unless it is there.
    async fn seal(&self) -> Result<(), Stopped> {
        self.flush().await?;
        let sequence = {
            let mut state = self.state.borrow_mut();
            if state.sealed || state.chunks.is_empty() || !state.is_quiet() {
                return Ok(());
            }
            state.queue_seal()
        };
        self.kick();
        // The seal is dropped when it finds no place, and what it would have said remains open.
        if self.state.borrow().next_sequence > sequence {
            self.wait(Goal::Released(sequence)).await?;
        }
        Ok(())
    }

    /// Takes no more appends, makes everything durable, and seals. What cannot be written because
    /// there is no space is given up: nobody was told that it is durable.
    pub async fn close(&self) -> Result<(), Stopped> {
        {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Open {
                state.phase = Phase::Closed;
                state.foretold = None;
            }
        }
        match select(pin!(self.seal()), pin!(self.wait_stuck())).await {
            Either::Left((sealed, _)) => sealed,
            Either::Right(((), _)) => Ok(()),
        }
    }

    /// Waits until the log needs a chunk and there is no space for one, which may stay so for ever;
    /// or until the data directory stops.
    pub(super) async fn wait_stuck(&self) {
        self.store
            .wait_full(|| self.state.borrow().allocating)
            .await;
    }

    /// Deletes the log: durable on return, and a crash on the way leaves either a log that says
    /// at its end that it was deleted, or nothing. Its chunks go back to the pool; reads in flight
    /// end well.
    pub async fn delete(&self) -> Result<(), Stopped> {
        let sequence = {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Deleted {
                return Ok(());
            }
            if self.store.is_stopped() {
                return Err(Stopped);
            }
            state.phase = Phase::Deleted;
            self.drop_waiting(&mut state);
            match state.chunks.is_empty() {
                true => None,
                false => Some(state.queue_mark(FrameKind::Tombstone)),
            }
        };
        self.wake_waiters();
        self.kick();
        if let Some(sequence) = sequence {
            self.wait_deleted(sequence).await?;
        }
        self.free_chunks().await?;
        self.store.forget(self.id);
        let (debt, witnesses) = {
            let mut state = self.state.borrow_mut();
            (state.debt.take(), state.witnesses.take())
        };
        if let Some((_, debt)) = debt {
            debt.paid();
        }
        self.store.give_back(witnesses.unwrap_or_default());
        Ok(())
    }

    /// What waits for the disk is not worth a chunk any more.
    fn drop_waiting(&self, state: &mut super::state::State) {
        let waiting = state.queued.iter().chain(&state.open);
        let bytes: usize = waiting.map(|group| group.unjournaled_bytes()).sum();
        state.queued.clear();
        state.open = None;
        state.foretold = None;
        state.end_offset = match state.in_flight.iter().rev().find_map(|f| f.frame.as_ref()) {
            Some(frame) => frame.after.end_offset,
            None => state.released.end_offset,
        };
        state.journaled_end = state.released.end_offset;
        state.waiters.clear();
        self.store.sub_pending(bytes);
    }

    async fn wait_deleted(&self, sequence: u64) -> Result<(), Stopped> {
        let waiting = {
            let mut state = self.state.borrow_mut();
            if state.reached(Goal::Released(sequence)) {
                return Ok(());
            }
            if self.store.is_stopped() {
                return Err(Stopped);
            }
            let (sender, waiting) = io::sync::oneshot::channel();
            state.waiters.push((Goal::Released(sequence), sender));
            waiting
        };
        waiting.await.unwrap_or(Err(Stopped))
    }

    /// Stamps the chunks free, the one with the tombstone last: as long as any other of them still
    /// names this partition, so does the tombstone.
    async fn free_chunks(&self) -> Result<(), Stopped> {
        let (chunks, hot) = {
            let mut state = self.state.borrow_mut();
            (std::mem::take(&mut state.chunks), state.drop_hot())
        };
        self.store.hot.dropped(hot);
        for chunk in chunks {
            let chunk = chunk.chunk;
            let generation = chunk.stamp.generation + 1;
            let stamp = ChunkStamp {
                generation,
                ..chunk.stamp
            };
            let header = ChunkHeader::free(chunk.id, stamp, chunk.size_bytes);
            let blocks = header_blocks(&header);
            metrics::add(Counter::Syncs, 1);
            if let Err(error) = self.store.write(&chunk, vec![blocks], 0, Sync::Data).await {
                let name = chunk.id.file_name();
                self.store
                    .stop(&format!("{name} could not be given back: {error}"));
                return Err(Stopped);
            }
            self.store.retire(chunk, generation);
        }
        Ok(())
    }
}
