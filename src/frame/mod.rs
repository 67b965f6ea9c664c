//! RecordBatch v2 kept verbatim inside an rkyv frame: views, CRC-32C, validation.
//!
//! `header` reads a batch's fixed header in place; everything else of this room builds on it.
//! `validate` decides whether a producer's batch may be appended; `records` reads a batch's
//! records; `builder` makes batches. `compress` holds the codecs, with `snappy` and `lz4` for the
//! framings, and `record` the walk over one record that both ways of reading share.
//!
//! - `validate(batch, rules) -> Result<BatchInfo, BatchError>`; where `BatchInfo::stamp` is
//!   present, `HeaderStamp::apply` sets the header's timestamp fields and CRC in a mutable copy.
//! - `check_whole(batch) -> Result<BatchHeader, BatchError>`: length, magic and CRC only.
//! - `records(batch, limit_bytes) -> Result<Records, RecordsError>`; iterate over `&records`.
//! - `BatchBuilder::new(codec)`, `push`, `build() -> Vec<u8>`.
//! - `compress`, `decompress` of bytes by codec.

mod envelope;
mod header;

mod validate;

mod record;
mod records;

mod compress;
mod lz4;
mod snappy;

mod builder;

#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use compress::{DecompressError, compress, decompress};
pub use envelope::{
    ChunkStamp, FRAME_HEADER_BYTES, FRAME_MAGIC, FRAME_VERSION, FrameHeader, FrameHeaderError,
    FrameKind, Incarnation, PayloadError, may_be_counted, split_batch,
};
pub use header::{
    BATCH_CRC_START, BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX_BYTES, BatchHeader, Codec,
};
pub use records::{Headers, Record, RecordIter, Records, RecordsError, records};
pub use validate::{
    BatchError, BatchInfo, BatchRules, HeaderStamp, RecordError, RecordErrorReason, check_whole,
    validate,
};
