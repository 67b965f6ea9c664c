//! RecordBatch v2 kept verbatim inside an rkyv frame: views, CRC-32C, validation.
//!
//! `header` reads a batch's fixed header in place; everything else of this room builds on it.

mod envelope;
mod header;

pub use envelope::{
    ChunkStamp, FRAME_HEADER_BYTES, FRAME_MAGIC, FRAME_VERSION, FrameHeader, FrameHeaderError,
    FrameKind, Incarnation, PayloadError, split_batch,
};
pub use header::{
    BATCH_CRC_START, BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX_BYTES, BatchHeader, Codec,
};
