//! The start: what the journals of the last runs hold that has not reached its segments.
//!
//! Reading changes nothing, so it may be killed and run again. The journals stay as they are until
//! every log has what they hold of it in its own frames.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::frame::{BatchHeader, FrameKind, Incarnation, split_batch};
use crate::io::{self, AlignedBuf, File, Open};
use crate::limits::{FRAME_ALIGNMENT_BYTES, JOURNAL_ROUND_BYTES_MAX};
use crate::model::{LeaderEpoch, Offset, PartitionId};

use super::super::chunk::{ChunkHeader, FRAMES_POSITION};
use super::super::recover::Recovery;
use super::super::state::State;
use super::round::{Entry, RoundHeader};

/// What a journal holds of one partition: one entry of one round.
#[derive(Debug)]
pub(in crate::log) struct Journaled {
    pub(in crate::log) leader_epoch: LeaderEpoch,
    pub(in crate::log) end_offset: Offset,
    /// `None`: it was durable, and is damaged.
    pub(in crate::log) batches: Option<Bytes>,
}

impl Journaled {
    /// The offsets that its batches have; `None` if they are damaged.
    pub(in crate::log) fn offsets(&self) -> Option<Range<Offset>> {
        let (first, _, _) = split_batch(self.batches.as_ref()?)?;
        Some(first.base_offset..self.end_offset)
    }
}

/// Counts the partitions of which the journals of the last runs still hold something that is
/// nowhere else. At 0 their chunks may be given back.
#[derive(Debug, Default)]
pub(in crate::log) struct Owed(AtomicUsize);

/// One partition's part of it. One that is dropped without `paid` keeps the journals as they are
/// until the next start.
#[derive(Debug)]
pub(in crate::log) struct Debt(Arc<Owed>);

impl Owed {
    /// Whether nothing is.
    pub(in crate::log) fn is_nothing(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Debt {
    pub(in crate::log) fn new(owed: &Arc<Owed>) -> Debt {
        owed.0.fetch_add(1, Ordering::Relaxed);
        Debt(owed.clone())
    }

    /// The log has it in frames that survive a power cut, or nobody wants it any more.
    pub(in crate::log) fn paid(self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

/// One round as it was found.
struct FoundRound {
    sequence: u64,
    durable_through: u64,
    entries: Vec<(Entry, Option<Bytes>)>,
}

/// Reads the journals that these chunks belong to: by partition, in the order of the writes.
pub(in crate::log) async fn read_journals(
    dir: &Path,
    chunks: &[ChunkHeader],
) -> io::Result<BTreeMap<PartitionId, Vec<Journaled>>> {
    let mut journals: BTreeMap<(Incarnation, i32), Vec<ChunkHeader>> = BTreeMap::new();
    for chunk in chunks {
        let journal = (chunk.incarnation, chunk.partition.index);
        journals.entry(journal).or_default().push(*chunk);
    }
    let mut found = BTreeMap::new();
    for ((incarnation, core), mut chunks) in journals {
        chunks.sort_by_key(|chunk| chunk.first_sequence);
        let mut rounds = Vec::new();
        // A chunk is begun when all rounds before it are durable.
        let mut durable_through = 0;
        for chunk in &chunks {
            durable_through = durable_through.max(chunk.first_sequence.saturating_sub(1));
            read_rounds(dir, chunk, &mut rounds).await?;
        }
        let claims = rounds
            .iter()
            .map(|round: &FoundRound| round.durable_through);
        let durable_through = claims.fold(durable_through, u64::max);
        report_missing(&chunks, &rounds, durable_through, incarnation, core);
        for round in rounds {
            take_entries(round, durable_through, &mut found);
        }
    }
    Ok(found)
}

/// Takes over what a round holds. What is damaged in a round that nobody knew to be durable was
/// being written when the power went: it was not acknowledged.
fn take_entries(
    round: FoundRound,
    durable_through: u64,
    found: &mut BTreeMap<PartitionId, Vec<Journaled>>,
) {
    let durable = round.sequence <= durable_through;
    for (entry, batches) in round.entries {
        if !durable && batches.is_none() {
            continue;
        }
        found.entry(entry.partition).or_default().push(Journaled {
            leader_epoch: entry.leader_epoch,
            end_offset: entry.end_offset,
            batches,
        });
    }
}

/// Says which durable rounds cannot be read. Whose records they held is known only where a later
/// entry of the same partition leaves a gap, which the log then reports.
fn report_missing(
    chunks: &[ChunkHeader],
    rounds: &[FoundRound],
    durable_through: u64,
    incarnation: Incarnation,
    core: i32,
) {
    let Some(first) = chunks.first() else { return };
    let mut expected = first.first_sequence;
    let ends = rounds
        .iter()
        .map(|round| (round.sequence, round.sequence + 1));
    for (sequence, next) in ends.chain([(durable_through + 1, durable_through + 1)]) {
        if sequence > expected {
            tracing::error!(
                "journal of core {core}, start {}: rounds {expected} to {} are damaged. Likely \
                 cause: the disk; to see: dmesg | grep -i error, smartctl -a DEVICE",
                incarnation.0,
                sequence - 1
            );
        }
        expected = expected.max(next);
    }
}

/// All rounds of one chunk. Behind a hole they are looked for as far as one lost round reaches.
async fn read_rounds(
    dir: &Path,
    chunk: &ChunkHeader,
    rounds: &mut Vec<FoundRound>,
) -> io::Result<()> {
    let mut window = Window::open(dir, chunk).await?;
    let mut position = FRAMES_POSITION;
    let mut expected = chunk.first_sequence;
    let reach = JOURNAL_ROUND_BYTES_MAX as u64;
    let mut hole_end = position + reach + FRAME_ALIGNMENT_BYTES as u64;
    while position < chunk.size_bytes.min(hole_end) {
        match window.round(chunk, position, expected).await? {
            Some((header, round)) => {
                expected = header.sequence + 1;
                position += u64::from(header.round_bytes);
                hole_end = position + reach + FRAME_ALIGNMENT_BYTES as u64;
                rounds.push(round);
            }
            None => position += FRAME_ALIGNMENT_BYTES as u64,
        }
    }
    Ok(())
}

/// A journal's chunk, read from front to back.
struct Window {
    file: File,
    size_bytes: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    async fn open(dir: &Path, chunk: &ChunkHeader) -> io::Result<Window> {
        Ok(Window {
            file: File::open(dir.join(chunk.id.file_name()), Open::Read).await?,
            size_bytes: chunk.size_bytes,
            start: 0,
            bytes: Bytes::new(),
        })
    }

    /// The round at `position`, if there is one of this life of the chunk, not before `expected`.
    async fn round(
        &mut self,
        chunk: &ChunkHeader,
        position: u64,
        expected: u64,
    ) -> io::Result<Option<(RoundHeader, FoundRound)>> {
        let block = self.at(position, FRAME_ALIGNMENT_BYTES).await?;
        let Some(header) = RoundHeader::peek(&block) else {
            return Ok(None);
        };
        let ours = header.chunk == chunk.stamp
            && header.incarnation == chunk.incarnation
            && header.sequence >= expected
            && position + u64::from(header.round_bytes) <= chunk.size_bytes;
        if !ours {
            return Ok(None);
        }
        let bytes = self.at(position, header.round_bytes as usize).await?;
        let Some((header, entries)) = RoundHeader::read(&bytes) else {
            return Ok(None);
        };
        let entries = entries.into_iter().map(|entry| {
            let batches = entry.batches(&bytes);
            (entry, batches)
        });
        let round = FoundRound {
            sequence: header.sequence,
            durable_through: header.durable_through,
            entries: entries.collect(),
        };
        Ok(Some((header, round)))
    }

    async fn at(&mut self, position: u64, length: usize) -> io::Result<Bytes> {
        let end = self.start + self.bytes.len() as u64;
        if position < self.start || position + length as u64 > end {
            let rest = usize::try_from(self.size_bytes - position).unwrap_or(usize::MAX);
            let wanted = length.max(JOURNAL_ROUND_BYTES_MAX).min(rest);
            let buffer = AlignedBuf::zeroed(wanted);
            let (read, buffer) = self.file.read_at(buffer, position).await;
            self.bytes = buffer.freeze().slice(..read?);
            self.start = position;
        }
        let from = (position - self.start) as usize;
        let to = (from + length).min(self.bytes.len());
        Ok(self.bytes.slice(from..to))
    }
}

impl State {
    /// Takes over what the journals hold behind the end of the frames. It is durable there and
    /// visible at once; the frames follow, as those of a running log do.
    ///
    /// An entry continues what was durable when it was made, and nothing durable is ever cut. So
    /// an entry behind a gap says that records are damaged, and that they had these offsets.
    pub(in crate::log) fn adopt_journal(
        &mut self,
        entries: Vec<Journaled>,
        debt: Option<Debt>,
        recovery: &mut Recovery,
        mut replay: impl FnMut(&BatchHeader),
    ) {
        let found_end = self.end_offset;
        let mut lost = false;
        for entry in entries {
            if entry.end_offset <= self.end_offset {
                continue;
            }
            let Some(batches) = &entry.batches else {
                self.lose(entry.end_offset, recovery);
                lost = true;
                continue;
            };
            let mut rest = &batches[..];
            while let Some((header, batch, after)) = split_batch(rest) {
                rest = after;
                let end = header.last_offset().next();
                if end <= self.end_offset {
                    continue;
                }
                if header.base_offset < self.end_offset {
                    // Its first records are in a frame, which no broker writes.
                    self.lose(end, recovery);
                    lost = true;
                    continue;
                }
                if header.base_offset > self.end_offset {
                    self.lose(header.base_offset, recovery);
                    lost = true;
                }
                self.take_over(batch, &header, entry.leader_epoch, lost);
                lost = false;
                recovery.journaled += 1;
                replay(&header);
            }
        }
        if lost {
            // Says where the log ends.
            let offset = self.end_offset;
            self.queue_mark(FrameKind::Mark);
            let mark = self.queued.back_mut().expect("just queued");
            mark.is_behind_a_loss = true;
            assert_eq!(mark.base_offset, offset, "a mark stands at the end");
        }
        self.close_group(false);
        // Not before: the log may start among the epochs that the journal alone knows of.
        self.epochs.start_at(self.start_offset);
        self.journaled_end = self.end_offset;
        if self.end_offset > found_end {
            recovery.cut = recovery.cut.map(|_| self.end_offset);
            self.sealed = false;
            self.seal_scheduled = true;
        }
        self.quarantined = recovery.quarantined.clone();
        match debt {
            Some(debt) if self.synced.end_offset < self.end_offset => {
                self.debt = Some((self.end_offset, debt));
            }
            Some(debt) => debt.paid(),
            None => {}
        }
    }

    /// One batch, as if it had been appended and journaled now.
    fn take_over(&mut self, batch: &[u8], header: &BatchHeader, epoch: LeaderEpoch, lost: bool) {
        if lost {
            self.close_group(false);
        }
        let group = self.group_for(batch.len(), epoch);
        group.is_behind_a_loss |= lost;
        group.push(batch, header, header.base_offset, header.max_timestamp);
        group.settle();
        self.end_offset = group.end_offset;
        self.epochs.note(epoch, header.base_offset);
    }

    /// What lies between the end and `to` was durable and is damaged.
    fn lose(&mut self, to: Offset, recovery: &mut Recovery) {
        self.close_group(false);
        let lost = self.end_offset.max(self.start_offset)..to;
        if !lost.is_empty() {
            recovery.quarantined.push(lost);
        }
        self.end_offset = to;
    }
}
