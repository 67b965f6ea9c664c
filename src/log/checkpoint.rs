//! Checkpoints: one file per core with what a restart need not read the log for.
//!
//! Drawn in `docs/formats/checkpoint.md`. A checkpoint that is lost, old or damaged costs time at
//! the next start, never a record.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::frame::{ChunkStamp, Incarnation, may_be_counted};
use crate::io::{self, ErrorKind, fs};
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

use super::chunk::{Chunk, ChunkId};
use super::epochs::Epochs;
use super::handle::Log;
use super::index::Index;
use super::settings::Durability;
use super::state::{Boundary, Goal, LogChunk, Phase};
use super::store::ChunkStore;

/// The directory of the checkpoints, below the data directory.
pub(super) const CHECKPOINTS_DIR: &str = "checkpoints";

const MAGIC: [u8; 4] = *b"CLCP";
const VERSION: u32 = 3;
const PREFIX_BYTES: usize = 16;

/// One partition's part of a checkpoint: what its log and its owner knew at one moment.
pub struct Entry {
    log: Rc<Log>,
    wire: Wire,
}

/// Why a checkpoint was not written. The one before stays.
#[derive(Debug)]
pub enum CheckpointError {
    /// The data directory takes no writes any more.
    Stopped,
    /// It could not be written.
    Io(io::Error),
}

/// Why a file is not taken for a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// It is not what was written.
    Damaged,
    /// It is whole, and of a version that this broker does not read.
    Version(u32),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Damaged => f.write_str("it is damaged"),
            DecodeError::Version(version) => write!(
                f,
                "it is of version {version}, and this broker reads version {VERSION}: another \
                 version of the broker has written it"
            ),
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Wire {
    topic_id: [u8; 16],
    partition: i32,
    start_offset: i64,
    /// The mark with the owner's state as of the last move of the start; 0: there is none.
    stated: u64,
    state_offset: i64,
    /// Where the replay starts: everything before was durable when the entry was made.
    position: WireBoundary,
    /// What was durable when the entry was written: at least what `state` covers.
    durable: WireBoundary,
    chunks: Vec<RememberedChunk>,
    epochs: Vec<(i32, i64)>,
    /// Ranges before `position` that are damaged.
    quarantined: Vec<(i64, i64)>,
    state: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct WireBoundary {
    sequence: u64,
    crc: u32,
    incarnation: u64,
    incarnation_start: u64,
    end_offset: i64,
    first_sequence: u64,
    position: u64,
    payload_bytes: u64,
    max_timestamp: i64,
}

/// One chunk of a log, as it was when the entry was made.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct RememberedChunk {
    pub(super) id: u64,
    size_bytes: u64,
    pub(super) generation: u64,
    pub(super) nonce: [u8; 16],
    segment: u64,
    frame_bytes_max: u64,
    base_offset: i64,
    end_offset: i64,
    pub(super) first_sequence: u64,
    end_position: u64,
    is_left: bool,
    last_crc: u32,
    payload_bytes: u64,
    max_timestamp: i64,
    stamped: i64,
}

/// What a checkpoint says of one partition, as recovery uses it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) start_offset: Offset,
    pub(super) stated: u64,
    /// The owner's state covers every record below this.
    pub(super) state_offset: Offset,
    pub(super) position: Boundary,
    pub(super) durable: Boundary,
    pub(super) chunks: Vec<RememberedChunk>,
    pub(super) epochs: Epochs,
    /// Acknowledged records before `position` that are damaged. The frames there are not read
    /// again, so nothing else tells of them.
    pub(super) quarantined: Vec<Range<Offset>>,
    pub(super) state: Vec<u8>,
}

impl Log {
    /// What a checkpoint is to say of this log: `state` is the owner's own, and covers exactly the
    /// records appended up to now. Written by `write`, once they are durable.
    pub fn checkpoint(self: &Rc<Log>, state: Vec<u8>) -> Entry {
        let known = self.state.borrow();
        let position = known.synced;
        let upto = |chunk: &&LogChunk| chunk.first_sequence <= position.first_sequence;
        let mut chunks: Vec<RememberedChunk> = known
            .chunks
            .iter()
            .take_while(upto)
            .map(RememberedChunk::of)
            .collect();
        if let Some(last) = chunks.last_mut() {
            last.end_offset = position.end_offset.0;
            last.end_position = position.position;
            last.last_crc = position.crc;
            last.payload_bytes = position.payload_bytes;
            last.max_timestamp = position.max_timestamp.0;
        }
        let wire = Wire {
            topic_id: self.id.topic_id.0,
            partition: self.id.index,
            start_offset: known.start_offset.0,
            stated: known.stated,
            state_offset: known.end_offset.0,
            position: WireBoundary::of(&position),
            durable: WireBoundary::of(&position),
            chunks,
            epochs: known
                .epochs
                .iter()
                .map(|(epoch, start)| (epoch.0, start.0))
                .collect(),
            quarantined: known
                .quarantined
                .iter()
                .filter(|range| range.end > known.start_offset)
                .filter(|range| range.end <= position.end_offset)
                .map(|range| (range.start.0, range.end.0))
                .collect(),
            state,
        };
        drop(known);
        Entry {
            log: self.clone(),
            wire,
        }
    }

    /// Waits until the records below `offset` survive a power cut. False if that may take until
    /// there is space again, or for ever.
    async fn settles(&self, offset: Offset) -> bool {
        let settled = pin!(async {
            match self.store.config.durability {
                Durability::Sync => self.wait(Goal::Offset(offset)).await,
                Durability::Written => self.flush().await,
            }
        });
        match select(settled, pin!(self.wait_stuck())).await {
            Either::Left((settled, _)) => settled.is_ok(),
            Either::Right(((), _)) => {
                let state = self.state.borrow();
                state.synced.end_offset.max(state.journaled_end) >= offset
            }
        }
    }
}

/// Writes the core's checkpoint: waits until all that the entries cover is durable, then replaces
/// the file. Of a partition that waits for space, has yet to say in its frames what it has lost, or
/// could not be opened, it says what was known before.
pub async fn write(store: &ChunkStore, entries: Vec<Entry>) -> Result<(), CheckpointError> {
    // One at a time: they share a temporary file, and the later one is to stay.
    let _turn = store.checkpoints.acquire().await.expect("never closed");
    let mut wires = Vec::with_capacity(entries.len());
    let mut unsettled = Vec::new();
    for Entry { log, mut wire } in entries {
        let settled = log.settles(Offset(wire.state_offset)).await;
        let state = log.state.borrow();
        if settled && !state.waits_to_pass_a_loss() {
            wire.durable = WireBoundary::of(&state.synced);
            wires.push(wire);
        } else if state.phase != Phase::Deleted {
            unsettled.push(log.id);
        }
    }
    if store.is_stopped() {
        return Err(CheckpointError::Stopped);
    }
    let settled: BTreeSet<PartitionId> = wires.iter().map(Wire::id).collect();
    wires.extend(kept(store, &settled, unsettled).await);
    let bytes = encode(&wires);
    if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
        return Err(CheckpointError::Io(ErrorKind::FileTooLarge.into()));
    }
    let written = fs::write_small(store.checkpoint_path(), bytes).await;
    written.map_err(CheckpointError::Io)?;
    // The file knows more of these now than the start has found.
    let mut remembered = store.remembered.borrow_mut();
    remembered.retain(|id, _| !settled.contains(id));
    Ok(())
}

/// What was known of partitions that have no entry now: as the start has found it, which may be in
/// another core's file, or as this core wrote it last.
async fn kept(
    store: &ChunkStore,
    settled: &BTreeSet<PartitionId>,
    unsettled: Vec<PartitionId>,
) -> Vec<Wire> {
    let mut kept: Vec<Wire> = {
        let remembered = store.remembered.borrow();
        let kept = remembered.iter().filter(|(id, _)| !settled.contains(id));
        kept.map(|(id, known)| Wire::of(*id, known)).collect()
    };
    let found: BTreeSet<PartitionId> = kept.iter().map(Wire::id).collect();
    let written: Vec<PartitionId> = unsettled
        .into_iter()
        .filter(|id| !found.contains(id))
        .collect();
    if !written.is_empty()
        && let Ok(bytes) = fs::read_small(store.checkpoint_path()).await
    {
        let entries = decode(&bytes).unwrap_or_default().into_iter();
        let entries = entries.filter(|(id, _)| written.contains(id));
        kept.extend(entries.map(|(id, known)| Wire::of(id, &known)));
    }
    kept
}

/// Where the checkpoint of a core stands.
pub(super) fn path_of(dir: &Path, core: CoreId) -> std::path::PathBuf {
    dir.join(CHECKPOINTS_DIR).join(format!("core-{}", core.0))
}

fn encode(wires: &Vec<Wire>) -> Bytes {
    let body = rkyv::to_bytes::<rancor::Error>(wires).expect("vectors of numbers serialize");
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Bytes::from(bytes)
}

/// The entries of a checkpoint file.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(PartitionId, Remembered)>, DecodeError> {
    let damaged = DecodeError::Damaged;
    let (prefix, body) = bytes.split_at_checked(PREFIX_BYTES).ok_or(damaged)?;
    let word = |at: usize| {
        let bytes = prefix[at..at + 4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes"))
    };
    let whole =
        prefix[..4] == MAGIC && word(8) as usize == body.len() && word(12) == crc32c::crc32c(body);
    if !whole {
        return Err(damaged);
    }
    if word(4) != VERSION {
        return Err(DecodeError::Version(word(4)));
    }
    let mut aligned = AlignedVec::<16>::with_capacity(body.len());
    aligned.extend_from_slice(body);
    let wires = rkyv::from_bytes::<Vec<Wire>, rancor::Error>(&aligned);
    let wires = wires.map_err(|_| damaged)?;
    if !wires.iter().all(Wire::may_be_counted) {
        return Err(damaged);
    }
    Ok(wires.into_iter().map(Wire::into_remembered).collect())
}

impl Wire {
    fn id(&self) -> PartitionId {
        PartitionId {
            topic_id: TopicId(self.topic_id),
            index: self.partition,
        }
    }

    fn may_be_counted(&self) -> bool {
        let offsets = [self.start_offset as u64, self.state_offset as u64];
        let boundaries = [&self.position, &self.durable];
        let chunk = |chunk: &RememberedChunk| {
            may_be_counted([chunk.first_sequence, chunk.segment, chunk.generation])
                && may_be_counted([chunk.base_offset as u64, chunk.end_offset as u64])
                && may_be_counted([chunk.end_position])
        };
        may_be_counted(offsets)
            && may_be_counted([self.stated])
            && boundaries.iter().all(|boundary| {
                may_be_counted([boundary.sequence, boundary.incarnation, boundary.position])
                    && may_be_counted([boundary.end_offset as u64, boundary.incarnation_start])
            })
            && self.chunks.iter().all(chunk)
            && self
                .quarantined
                .iter()
                .all(|(start, end)| may_be_counted([*start as u64, *end as u64]))
    }

    /// As it was read.
    fn of(id: PartitionId, known: &Remembered) -> Wire {
        let epochs = known.epochs.iter();
        Wire {
            topic_id: id.topic_id.0,
            partition: id.index,
            start_offset: known.start_offset.0,
            stated: known.stated,
            state_offset: known.state_offset.0,
            position: WireBoundary::of(&known.position),
            durable: WireBoundary::of(&known.durable),
            chunks: known.chunks.clone(),
            epochs: epochs.map(|(epoch, start)| (epoch.0, start.0)).collect(),
            quarantined: known
                .quarantined
                .iter()
                .map(|range| (range.start.0, range.end.0))
                .collect(),
            state: known.state.clone(),
        }
    }

    fn into_remembered(self) -> (PartitionId, Remembered) {
        let partition = self.id();
        let mut epochs = Epochs::default();
        for (epoch, start) in self.epochs {
            epochs.note(LeaderEpoch(epoch), Offset(start));
        }
        let remembered = Remembered {
            start_offset: Offset(self.start_offset),
            stated: self.stated,
            state_offset: Offset(self.state_offset),
            position: self.position.into_boundary(),
            durable: self.durable.into_boundary(),
            chunks: self.chunks,
            epochs,
            quarantined: self
                .quarantined
                .into_iter()
                .map(|(start, end)| Offset(start)..Offset(end))
                .collect(),
            state: self.state,
        };
        (partition, remembered)
    }
}

impl WireBoundary {
    fn of(boundary: &Boundary) -> WireBoundary {
        WireBoundary {
            sequence: boundary.sequence,
            crc: boundary.crc,
            incarnation: boundary.incarnation.0,
            incarnation_start: boundary.incarnation_start,
            end_offset: boundary.end_offset.0,
            first_sequence: boundary.first_sequence,
            position: boundary.position,
            payload_bytes: boundary.payload_bytes,
            max_timestamp: boundary.max_timestamp.0,
        }
    }

    fn into_boundary(self) -> Boundary {
        Boundary {
            sequence: self.sequence,
            crc: self.crc,
            incarnation: Incarnation(self.incarnation),
            incarnation_start: self.incarnation_start,
            end_offset: Offset(self.end_offset),
            first_sequence: self.first_sequence,
            position: self.position,
            payload_bytes: self.payload_bytes,
            max_timestamp: Timestamp(self.max_timestamp),
        }
    }
}

impl RememberedChunk {
    fn of(chunk: &LogChunk) -> RememberedChunk {
        RememberedChunk {
            id: chunk.chunk.id.0,
            size_bytes: chunk.chunk.size_bytes,
            generation: chunk.chunk.stamp.generation,
            nonce: chunk.chunk.stamp.nonce,
            segment: chunk.segment,
            frame_bytes_max: chunk.frame_bytes_max,
            base_offset: chunk.base_offset.0,
            end_offset: chunk.end_offset.0,
            first_sequence: chunk.first_sequence,
            end_position: chunk.end_position,
            is_left: chunk.is_left,
            last_crc: chunk.last_crc,
            payload_bytes: chunk.payload_bytes,
            max_timestamp: chunk.max_timestamp.0,
            stamped: chunk.stamped.0,
        }
    }

    pub(super) fn into_chunk(self) -> LogChunk {
        LogChunk {
            chunk: Rc::new(Chunk {
                id: ChunkId(self.id),
                stamp: ChunkStamp {
                    generation: self.generation,
                    nonce: self.nonce,
                },
                size_bytes: self.size_bytes,
            }),
            segment: self.segment,
            frame_bytes_max: self.frame_bytes_max,
            base_offset: Offset(self.base_offset),
            end_offset: Offset(self.end_offset),
            first_sequence: self.first_sequence,
            end_position: self.end_position,
            is_left: self.is_left,
            last_crc: self.last_crc,
            payload_bytes: self.payload_bytes,
            max_timestamp: Timestamp(self.max_timestamp),
            stamped: Timestamp(self.stamped),
            index: Index::known_from(self.end_position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDARY: WireBoundary = WireBoundary {
        sequence: 3,
        crc: 4,
        incarnation: 1,
        incarnation_start: 1,
        end_offset: 9,
        first_sequence: 1,
        position: 8192,
        payload_bytes: 100,
        max_timestamp: 5,
    };

    fn wire() -> Wire {
        Wire {
            topic_id: [7; 16],
            partition: 2,
            start_offset: 3,
            stated: 0,
            state_offset: 9,
            position: BOUNDARY,
            durable: BOUNDARY,
            chunks: Vec::new(),
            epochs: vec![(1, 3)],
            quarantined: vec![(4, 5)],
            state: vec![1, 2, 3],
        }
    }

    fn check(name: &str, bytes: &[u8], expected: DecodeError) {
        assert_eq!(decode(bytes).err(), Some(expected), "{name}");
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let whole = encode(&vec![wire()]).to_vec();
        let read = decode(&whole).expect("as it was written");
        let (id, remembered) = &read[0];
        assert_eq!(Wire::of(*id, remembered), wire());
        let mut earlier = whole.clone();
        earlier[4..8].copy_from_slice(&2_u32.to_le_bytes());
        check("version 2", &earlier, DecodeError::Version(2));
        earlier[40] ^= 1;
        check("version 2, and damaged", &earlier, DecodeError::Damaged);
        check("nothing", &[], DecodeError::Damaged);
        check("torn", &whole[..whole.len() - 1], DecodeError::Damaged);
    }

    fn check_uncounted(change: impl Fn(&mut Wire)) {
        let mut changed = wire();
        change(&mut changed);
        let name = format!("{changed:?}");
        check(&name, &encode(&vec![changed]), DecodeError::Damaged);
    }

    #[test]
    fn numbers_that_nobody_counts_up_to_are_refused() {
        check_uncounted(|wire| wire.position.sequence = u64::MAX);
        check_uncounted(|wire| wire.durable.sequence = u64::MAX);
        check_uncounted(|wire| wire.durable.incarnation = u64::MAX);
        check_uncounted(|wire| wire.start_offset = -1);
        check_uncounted(|wire| wire.state_offset = i64::MAX);
        check_uncounted(|wire| wire.quarantined[0].1 = i64::MAX);
    }
}
