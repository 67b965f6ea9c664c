//! Recovery of one partition: reads what is there, decides what of it is the log (`link`), and
//! writes nothing. So it can be killed at any point and run again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use crate::frame::{BatchHeader, FrameHeader, FrameKind, Incarnation, split_batch};
use crate::io;
use crate::model::{Offset, PartitionId};

use super::checkpoint::Remembered;
use super::chunk::{ChunkHeader, FRAMES_POSITION};
use super::epochs::Epochs;
use super::handle::Log;
use super::index::Index;
use super::journal::Journaled;
use super::link::{Chain, is_stale};
use super::reader::{ChunkReader, SCAN_WINDOW_BYTES};
use super::scan::Found;
use super::settings::LogConfig;
use super::state::{Boundary, LogChunk};
use super::store::ChunkStore;

mod finish;
mod loss;

/// What recovery gives the log's owner, in order, while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Replay<'a> {
    /// The owner's state, in place of all that came before: as the checkpoint has it, or a move of
    /// the log's start.
    State(&'a [u8]),
    /// A batch that the last state does not cover. Where records are damaged, batches are missing.
    Batch(&'a BatchHeader),
}

/// What recovery has found out of the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Where a tail was cut that was begun to be written and not acknowledged. If the log was not
    /// sealed before, this may also have been damage to its very last group.
    pub cut: Option<Offset>,
    /// Ranges of acknowledged records that are damaged. They are kept out of reads and their
    /// offsets are not given again.
    pub quarantined: Vec<Range<Offset>>,
    /// Frames read.
    pub frames: u64,
    /// Batches that were durable in a core's journal only.
    pub journaled: u64,
}

/// Why a log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A chunk could not be read.
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

impl Log {
    /// Opens the log of one partition from what the scan has found of it. `incarnation` is greater
    /// than that of any start before and durable already.
    pub async fn open(
        store: &Rc<ChunkStore>,
        id: PartitionId,
        mut found: Found,
        config: LogConfig,
        incarnation: Incarnation,
        mut replay: impl FnMut(Replay<'_>),
    ) -> Result<Rc<Log>, OpenError> {
        store.remember(id, &found);
        let _permit = store.recoveries.acquire().await.expect("never closed");
        let mut journaled = std::mem::take(&mut found.journaled);
        let debt = found.debt.take();
        let journal_end = journaled.iter().map(|entry| entry.end_offset).max();
        let mut run = Run::new(store, id, found, &mut replay);
        run.journal_end = journal_end.unwrap_or(Offset::ZERO);
        run.journaled = journaled.iter().filter_map(Journaled::offsets).collect();
        run.walk().await?;
        journaled.extend(run.lost_behind_journal());
        if run.last_kind == FrameKind::Tombstone {
            journaled.clear();
            store.forget(id);
        }
        let replay_from = run.replay_from;
        let (mut state, mut recovery) = run.finish(config);
        state.adopt_journal(journaled, debt, &mut recovery, |header| {
            if header.base_offset >= replay_from {
                replay(Replay::Batch(header));
            }
        });
        if state.debt.is_none() {
            store.give_back(state.witnesses.take().unwrap_or_default());
        }
        for chunk in &state.chunks {
            store.files.forget(chunk.chunk.id);
        }
        if !state.chunks.is_empty() && state.released.incarnation >= incarnation {
            return Err(OpenError::Io(io::Error::other(format!(
                "frames of start {} are there, and this is only start {}: the file \
                 `incarnation` is older than the chunks, as after a partial restore",
                state.released.incarnation.0, incarnation.0
            ))));
        }
        let log = Log::new(store, id, incarnation, state, recovery);
        if log.state.borrow().seal_scheduled {
            store.note_unsealed(Rc::downgrade(&log));
        }
        // What the journals hold goes to the log's chunks now, so that they can be given back.
        log.kick();
        Ok(log)
    }
}

/// One run of recovery.
struct Run<'a, R> {
    store: &'a Rc<ChunkStore>,
    id: PartitionId,
    replay: &'a mut R,
    /// Headers of the chunks that may hold the rest of the chain, in its order.
    ahead: VecDeque<ChunkHeader>,
    /// The chunks of the log so far.
    chunks: VecDeque<LogChunk>,
    chain: Chain,
    /// What the checkpoint knows to be durable, if there is one.
    floor: Option<Boundary>,
    start_offset: Offset,
    /// The mark with the owner's state as of the last move of the start; 0: there is none.
    stated: u64,
    /// The end of what journals hold.
    journal_end: Offset,
    /// What they hold undamaged.
    journaled: Vec<Range<Offset>>,
    /// Where the log ended at the latest, by frames that are not of it any more: what the journal
    /// does not have of that is lost.
    known_end: Offset,
    /// Batches below are covered by a state.
    replay_from: Offset,
    epochs: Epochs,
    last_kind: FrameKind,
    last_claim: u64,
    recovery: Recovery,
    /// Chunks that turned out not to be part of the log.
    passed_by: Vec<ChunkHeader>,
}

/// What lies at a position.
enum Seen {
    /// The next frame of the chain, whole.
    Next(FrameHeader),
    /// The next frame of the chain; its header is good and its batches are not.
    Damaged(FrameHeader),
    /// Anything else.
    Other,
}

impl<'a, R: FnMut(Replay<'_>)> Run<'a, R> {
    fn new(
        store: &'a Rc<ChunkStore>,
        id: PartitionId,
        found: Found,
        replay: &'a mut R,
    ) -> Run<'a, R> {
        let starts = starts_of(&found.chunks);
        let (headers, stale) = without_stale(found.chunks, &starts);
        let mut run = Run {
            store,
            id,
            replay,
            ahead: headers.into(),
            chunks: VecDeque::new(),
            chain: Chain {
                starts,
                ..Chain::empty()
            },
            floor: None,
            start_offset: Offset::ZERO,
            stated: 0,
            journal_end: Offset::ZERO,
            journaled: Vec::new(),
            known_end: Offset::ZERO,
            replay_from: Offset::ZERO,
            epochs: Epochs::default(),
            last_kind: FrameKind::Data,
            last_claim: 0,
            recovery: Recovery::default(),
            passed_by: stale,
        };
        if let Some(remembered) = found.remembered {
            run.start_from(&remembered);
        }
        run.start_at_first_chunk();
        run
    }

    /// Takes over what the checkpoint knows.
    fn start_from(&mut self, remembered: &Remembered) {
        self.start_offset = remembered.start_offset;
        self.stated = remembered.stated;
        self.replay_from = remembered.state_offset;
        self.epochs = remembered.epochs.clone();
        self.recovery.quarantined = remembered.quarantined.clone();
        self.floor = Some(remembered.durable);
        let Boundary {
            sequence,
            incarnation,
            incarnation_start,
            ..
        } = remembered.durable;
        self.chain.durable_through = sequence;
        self.chain.starts.insert(incarnation, incarnation_start);
        (self.replay)(Replay::State(&remembered.state));
        let position = remembered.position;
        for known in remembered.chunks.iter().copied() {
            let same = |header: &ChunkHeader| {
                header.id.0 == known.id
                    && header.stamp.generation == known.generation
                    && header.stamp.nonce == known.nonce
            };
            // One that is not there was recycled since, or its header is damaged; if records are
            // missing for it, that shows as a gap.
            if let Some(index) = self.ahead.iter().position(same) {
                self.passed_by.extend(self.ahead.drain(..index));
                self.ahead.pop_front();
                self.chunks.push_back(known.into_chunk());
            }
        }
        if !self.chunks.is_empty() {
            self.chain.next_sequence = position.sequence + 1;
            self.chain.previous_crc = position.crc;
            self.chain.end_offset = position.end_offset;
            self.chain.incarnation = position.incarnation;
        }
    }

    /// Without a checkpoint the chain begins with the first chunk that is there.
    fn start_at_first_chunk(&mut self) {
        if !self.chunks.is_empty() {
            return;
        }
        if let Some(first) = self.ahead.pop_front() {
            self.chain.next_sequence = first.first_sequence;
            self.chain.previous_crc = first.previous_crc;
            self.chain.end_offset = first.base_offset;
            self.chunks.push_back(LogChunk::new(&first));
        }
    }

    /// Follows the chain to its end.
    async fn walk(&mut self) -> io::Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let mut reader = self.reader(None).await?;
        if self.lacks_a_torn_beginning(&mut reader).await? {
            self.end_before_the_beginning();
            return Ok(());
        }
        loop {
            let position = self.last().end_position;
            match self.look(&mut reader, position).await? {
                Seen::Next(frame) => {
                    self.replay_payload(&mut reader, position, &frame).await?;
                    self.accept(&frame);
                }
                Seen::Damaged(frame) => {
                    if self.next_chunk_continues(&mut reader).await? {
                        continue;
                    }
                    if !self.damaged(&mut reader, &frame).await? {
                        return Ok(());
                    }
                }
                Seen::Other => {
                    if self.next_chunk_continues(&mut reader).await? {
                        continue;
                    }
                    if !self.broken(&mut reader).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn last(&self) -> &LogChunk {
        self.chunks.back().expect("a walk has a chunk")
    }

    /// A reader of the present chunk, or of one ahead.
    async fn reader(&self, ahead: Option<&ChunkHeader>) -> io::Result<ChunkReader> {
        match ahead {
            None => ChunkReader::open(self.store, &self.last().chunk, SCAN_WINDOW_BYTES).await,
            Some(header) => {
                let chunk = LogChunk::new(header).chunk;
                ChunkReader::open(self.store, &chunk, SCAN_WINDOW_BYTES).await
            }
        }
    }

    async fn look(&mut self, reader: &mut ChunkReader, position: u64) -> io::Result<Seen> {
        let Some(frame) = reader.frame_header(position, self.id).await? else {
            return Ok(Seen::Other);
        };
        if !self.chain.accepts(&frame) {
            return Ok(Seen::Other);
        }
        let payload = reader.payload(position, &frame).await?;
        Ok(match frame.check_payload(payload) {
            Ok(()) => Seen::Next(frame),
            Err(_) => Seen::Damaged(frame),
        })
    }

    async fn replay_payload(
        &mut self,
        reader: &mut ChunkReader,
        position: u64,
        frame: &FrameHeader,
    ) -> io::Result<()> {
        let mut rest = reader.payload(position, frame).await?;
        if frame.kind == FrameKind::Mark {
            if !rest.is_empty() && frame.base_offset >= self.replay_from {
                (self.replay)(Replay::State(rest));
                self.replay_from = frame.base_offset;
            }
            return Ok(());
        }
        while let Some((header, _, after)) = split_batch(rest) {
            if header.base_offset >= self.replay_from {
                (self.replay)(Replay::Batch(&header));
            }
            rest = after;
        }
        Ok(())
    }

    fn accept(&mut self, frame: &FrameHeader) {
        self.recovery.frames += 1;
        self.chain.advance(frame);
        self.last_kind = frame.kind;
        self.last_claim = frame.durable_through;
        if frame.kind == FrameKind::Mark && frame.payload_bytes > 0 {
            self.stated = frame.sequence;
        } else if frame.log_start_offset > self.start_offset {
            self.stated = 0;
        }
        self.start_offset = self.start_offset.max(frame.log_start_offset);
        if frame.kind == FrameKind::Data {
            self.epochs.note(frame.leader_epoch, frame.base_offset);
        }
        self.chunks
            .back_mut()
            .expect("a walk has a chunk")
            .note(frame);
    }

    /// Whether the chain goes on in a chunk ahead: a chunk is left when a frame does not fit.
    async fn next_chunk_continues(&mut self, reader: &mut ChunkReader) -> io::Result<bool> {
        let next = self.ahead.iter().position(|header| {
            header.first_sequence == self.chain.next_sequence
                && header.previous_crc == self.chain.previous_crc
        });
        let Some(index) = next else { return Ok(false) };
        let header = self.ahead[index];
        let mut ahead = self.reader(Some(&header)).await?;
        match self.look(&mut ahead, FRAMES_POSITION).await? {
            Seen::Next(_) => {
                self.enter(index);
                *reader = ahead;
                Ok(true)
            }
            Seen::Damaged(_) | Seen::Other => Ok(false),
        }
    }

    /// Makes the chunk `ahead[index]` the present one; those before it are not part of the log.
    fn enter(&mut self, index: usize) {
        self.leave_chunk();
        self.passed_by.extend(self.ahead.drain(..index));
        let header = self.ahead.pop_front().expect("the caller has looked at it");
        self.chunks.push_back(LogChunk::new(&header));
    }

    fn leave_chunk(&mut self) {
        if let Some(last) = self.chunks.back_mut() {
            // Readers load the index of a chunk that gets no more frames when they need it.
            last.index = Index::default();
        }
    }

    /// Notes a range that is missing. Whether that is damage is known at the end only: chunks that
    /// retention has freed look the same until a later frame tells where the log starts.
    fn quarantine(&mut self, range: Range<Offset>) {
        if !range.is_empty() {
            self.recovery.quarantined.push(range);
        }
    }
}

/// The incarnations that the headers know of, and the sequences that they began with.
fn starts_of(headers: &[ChunkHeader]) -> BTreeMap<Incarnation, u64> {
    headers
        .iter()
        .map(|header| (header.incarnation, header.incarnation_start))
        .collect()
}

/// Sorts headers into the order of the chain and takes out those that a later start had cut off.
fn without_stale(
    mut headers: Vec<ChunkHeader>,
    starts: &BTreeMap<Incarnation, u64>,
) -> (Vec<ChunkHeader>, Vec<ChunkHeader>) {
    headers.sort_by_key(|header| (header.first_sequence, header.incarnation));
    headers
        .into_iter()
        .partition(|header| !is_stale(starts, header.incarnation, header.first_sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ChunkStamp;
    use crate::log::ChunkId;

    /// Chunks as (first sequence, incarnation, start of that incarnation); `expected` are the first
    /// sequences of those that are current.
    fn check(chunks: &[(u64, u64, u64)], expected: &[(u64, u64)]) {
        let header =
            |(first_sequence, incarnation, incarnation_start): &(u64, u64, u64)| ChunkHeader {
                first_sequence: *first_sequence,
                incarnation: Incarnation(*incarnation),
                incarnation_start: *incarnation_start,
                ..ChunkHeader::free(ChunkId(0), ChunkStamp::default(), 0)
            };
        let headers: Vec<ChunkHeader> = chunks.iter().map(header).collect();
        let starts = starts_of(&headers);
        let (current, stale) = without_stale(headers, &starts);
        let key = |header: &ChunkHeader| (header.first_sequence, header.incarnation.0);
        assert_eq!(
            current.iter().map(key).collect::<Vec<_>>(),
            expected,
            "{chunks:?}"
        );
        assert_eq!(current.len() + stale.len(), chunks.len());
    }

    #[test]
    fn what_an_older_start_began_behind_a_cut_is_stale() {
        check(&[], &[]);
        check(
            &[(9, 1, 1), (1, 1, 1), (5, 1, 1)],
            &[(1, 1), (5, 1), (9, 1)],
        );
        check(
            &[(1, 1, 1), (5, 1, 1), (9, 1, 1), (5, 2, 5)],
            &[(1, 1), (5, 2)],
        );
        check(&[(1, 1, 1), (5, 1, 1), (8, 2, 4)], &[(1, 1), (8, 2)]);
        check(
            &[(1, 1, 1), (5, 1, 1), (7, 2, 6)],
            &[(1, 1), (5, 1), (7, 2)],
        );
        check(&[(1, 3, 1), (1, 1, 1), (2, 2, 2)], &[(1, 3)]);
    }
}
