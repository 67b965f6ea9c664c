//! Reading one chunk from front to back through a window.

use crate::frame::FrameHeader;
use crate::io::{self, AlignedBuf, File};
use crate::limits::{FRAME_ALIGNMENT_BYTES, RECOVERY_READ_BYTES};
use crate::model::PartitionId;

use super::chunk::Chunk;
use super::store::ChunkStore;

/// The window of a walk over many frames.
pub(super) const SCAN_WINDOW_BYTES: usize = RECOVERY_READ_BYTES;

/// A chunk's bytes, read in aligned pieces of at least `window_bytes` and kept until something
/// else is asked for. For walks; fetches read into memory of their own.
pub(super) struct ChunkReader {
    file: File,
    chunk: ChunkFacts,
    window_bytes: usize,
    window: AlignedBuf,
    start: u64,
    length: usize,
}

struct ChunkFacts {
    stamp: crate::frame::ChunkStamp,
    size_bytes: u64,
}

impl ChunkReader {
    pub(super) async fn open(
        store: &ChunkStore,
        chunk: &Chunk,
        window_bytes: usize,
    ) -> io::Result<ChunkReader> {
        Ok(ChunkReader {
            file: store.files.get(chunk.id).await?,
            chunk: ChunkFacts {
                stamp: chunk.stamp,
                size_bytes: chunk.size_bytes,
            },
            window_bytes: window_bytes.next_multiple_of(FRAME_ALIGNMENT_BYTES),
            window: AlignedBuf::zeroed(0),
            start: 0,
            length: 0,
        })
    }

    /// The `length` bytes from `position` on, which is aligned; fewer at the end of the chunk.
    pub(super) async fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let rest = self.chunk.size_bytes.saturating_sub(position);
        let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        let inside =
            position >= self.start && position + length as u64 <= self.start + self.length as u64;
        if !inside {
            let wanted = length
                .max(self.window_bytes)
                .next_multiple_of(FRAME_ALIGNMENT_BYTES);
            let wanted = wanted.min(usize::try_from(rest).unwrap_or(usize::MAX));
            let mut buffer = std::mem::replace(&mut self.window, AlignedBuf::zeroed(0));
            self.length = 0;
            if buffer.len() != wanted {
                buffer = AlignedBuf::stale(wanted);
            }
            let (result, buffer) = self.file.read_at(buffer, position).await;
            self.window = buffer;
            self.start = position;
            self.length = result?;
        }
        let from = (position - self.start) as usize;
        let to = (from + length).min(self.length);
        Ok(&self.window[from..to])
    }

    /// The header of the frame at `position`, if there is one of this life of the chunk and of
    /// this partition.
    pub(super) async fn frame_header(
        &mut self,
        position: u64,
        partition: PartitionId,
    ) -> io::Result<Option<FrameHeader>> {
        let stamp = self.chunk.stamp;
        let size = self.chunk.size_bytes;
        let bytes = self.at(position, FRAME_ALIGNMENT_BYTES).await?;
        Ok(FrameHeader::read(bytes).ok().filter(|frame| {
            frame.partition == partition
                && frame.chunk == stamp
                && frame
                    .frame_bytes
                    .is_multiple_of(FRAME_ALIGNMENT_BYTES as u32)
                && position + u64::from(frame.frame_bytes) <= size
        }))
    }

    /// The batches of the frame at `position`.
    pub(super) async fn payload(
        &mut self,
        position: u64,
        frame: &FrameHeader,
    ) -> io::Result<&[u8]> {
        let start = crate::frame::FRAME_HEADER_BYTES;
        let end = start + frame.payload_bytes as usize;
        let bytes = self.at(position, end).await?;
        Ok(bytes.get(start..end).unwrap_or_default())
    }
}
