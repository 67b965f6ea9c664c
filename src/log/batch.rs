//! One batch on its way to the log: as a slice of a request, or already where it is written from.

use std::ops::Deref;

use bytes::Bytes;

use crate::frame::{FRAME_HEADER_BYTES, HeaderStamp};
use crate::io::AlignedBuf;
use crate::metrics;

use super::group::frame_bytes;

/// One batch, verbatim as the producer sent it. Owned by whoever carries it to its log, from core
/// to core; a crash loses it, and nobody was promised anything.
pub enum Batch {
    /// A slice of what a connection received.
    Shared(Bytes),
    /// In memory of its own.
    Placed(PlacedBatch),
}

impl Batch {
    /// Sets the header's timestamp fields: in place if nobody else has the bytes, else in a copy.
    pub fn stamped(self, stamp: &HeaderStamp) -> Batch {
        let mut placed = match self {
            Batch::Placed(placed) => placed,
            Batch::Shared(bytes) => {
                let mut placed = PlacedBatch::of(PlacedBatch::buffer(bytes.len()), bytes.len());
                metrics::copy_payload(placed.bytes_mut(), &bytes);
                placed
            }
        };
        stamp.apply(placed.bytes_mut());
        Batch::Placed(placed)
    }
}

impl Deref for Batch {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Batch::Shared(bytes) => bytes,
            Batch::Placed(placed) => placed.bytes(),
        }
    }
}

/// A batch in aligned memory that becomes its frame: room for the frame's header in front of it,
/// and up to the alignment behind it. A large one is received there, and then never copied.
pub struct PlacedBatch {
    buffer: AlignedBuf,
    batch_bytes: usize,
}

impl PlacedBatch {
    /// Where the batch starts in its buffer.
    pub const START: usize = FRAME_HEADER_BYTES;

    /// Memory for a batch of `batch_bytes`, with stale content.
    pub fn buffer(batch_bytes: usize) -> AlignedBuf {
        AlignedBuf::stale(frame_bytes(batch_bytes))
    }

    /// The batch that was written to the memory made by `buffer`, from `START` on.
    pub fn of(buffer: AlignedBuf, batch_bytes: usize) -> PlacedBatch {
        assert_eq!(buffer.len(), frame_bytes(batch_bytes), "made by `buffer`");
        PlacedBatch {
            buffer,
            batch_bytes,
        }
    }

    /// The batch.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[PlacedBatch::START..][..self.batch_bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[PlacedBatch::START..][..self.batch_bytes]
    }

    /// Its memory.
    pub(super) fn into_buffer(self) -> AlignedBuf {
        self.buffer
    }
}
