//! The codecs of a batch's records, both ways: gzip, Snappy, LZ4 and Zstandard.
//!
//! What is decompressed came from a peer: no size that the compressed bytes declare is believed.
//! Output appears chunk by chunk and is counted against a limit, so a few bytes that claim to be
//! gigabytes cost at most the limit's worth of work and one chunk of memory.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::header::Codec;
use super::lz4::Lz4Blocks;
use super::snappy::{self, SnappyBlocks};
use crate::limits::DECOMPRESSED_CHUNK_BYTES;

/// Why compressed records could not be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// The bytes are not of the codec's format, or end early.
    Corrupt,
    /// The output would exceed the limit that the caller gave.
    TooLarge,
}

/// Compresses `plain`; Zstandard and gzip at their default levels.
///
/// Snappy is written in xerial's framing, LZ4 as one frame of independent 64 KiB blocks: the
/// forms that every Kafka client reads.
pub fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    // Writing into a Vec cannot fail, so an error here is a defect of a codec's library.
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let written = encoder.write_all(plain).and_then(|()| encoder.finish());
            written.expect("gzip into memory")
        }
        Codec::Snappy => snappy::compress_framed(plain),
        Codec::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(plain).expect("lz4 into memory");
            encoder.finish().expect("lz4 into memory")
        }
        Codec::Zstd => {
            zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL).expect("zstd into memory")
        }
    }
}

/// Decompresses the whole of `compressed`; the output never exceeds `limit_bytes`.
pub fn decompress(
    codec: Codec,
    compressed: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, DecompressError> {
    if codec == Codec::None {
        if compressed.len() > limit_bytes {
            return Err(DecompressError::TooLarge);
        }
        return Ok(compressed.to_vec());
    }
    let mut stream = Decompressor::new(codec, compressed, limit_bytes)?;
    let mut plain = Vec::new();
    loop {
        let chunk = stream.chunk()?;
        if chunk.is_empty() {
            return Ok(plain);
        }
        plain.extend_from_slice(chunk);
        let taken = chunk.len();
        stream.consume(taken);
    }
}

/// Decompressed bytes, a chunk at a time, counted against a limit.
pub(super) struct Decompressor<'a> {
    engine: Engine<'a>,
    /// The current chunk is `chunk[taken..filled]`.
    chunk: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Bytes that may still be produced.
    allowance: usize,
}

enum Engine<'a> {
    Gzip(MultiGzDecoder<&'a [u8]>),
    Snappy(SnappyBlocks<'a>),
    Lz4(Lz4Blocks<'a>),
    Zstd(zstd::Decoder<'static, &'a [u8]>),
}

impl<'a> Decompressor<'a> {
    /// Starts on `compressed`, which must not be of `Codec::None`.
    pub(super) fn new(
        codec: Codec,
        compressed: &'a [u8],
        limit_bytes: usize,
    ) -> Result<Decompressor<'a>, DecompressError> {
        let engine = match codec {
            Codec::None => unreachable!("records without a codec are read in place"),
            Codec::Gzip => Engine::Gzip(MultiGzDecoder::new(compressed)),
            Codec::Snappy => Engine::Snappy(SnappyBlocks::new(compressed)),
            Codec::Lz4 => Engine::Lz4(Lz4Blocks::new(compressed)?),
            Codec::Zstd => match zstd::Decoder::with_buffer(compressed) {
                Ok(decoder) => Engine::Zstd(decoder),
                Err(_) => return Err(DecompressError::Corrupt),
            },
        };
        Ok(Decompressor {
            engine,
            chunk: Vec::new(),
            taken: 0,
            filled: 0,
            allowance: limit_bytes,
        })
    }

    /// The bytes that are decompressed and not consumed; decompresses more if there are none.
    /// Empty at the end only.
    pub(super) fn chunk(&mut self) -> Result<&[u8], DecompressError> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = self.refill()?;
            self.allowance = self
                .allowance
                .checked_sub(self.filled)
                .ok_or(DecompressError::TooLarge)?;
        }
        Ok(&self.chunk[self.taken..self.filled])
    }

    /// Marks the first `count` bytes of the chunk as read.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.filled - self.taken);
        self.taken += count;
    }

    fn refill(&mut self) -> Result<usize, DecompressError> {
        match &mut self.engine {
            Engine::Gzip(reader) => read_chunk(reader, &mut self.chunk),
            Engine::Zstd(reader) => read_chunk(reader, &mut self.chunk),
            Engine::Snappy(blocks) => blocks.next_into(&mut self.chunk, self.allowance),
            Engine::Lz4(blocks) => blocks.next_into(&mut self.chunk, self.allowance),
        }
    }
}

fn read_chunk(reader: &mut impl Read, chunk: &mut Vec<u8>) -> Result<usize, DecompressError> {
    chunk.resize(DECOMPRESSED_CHUNK_BYTES, 0);
    reader.read(chunk).map_err(|_| DecompressError::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn sample(len: usize) -> Vec<u8> {
        let word = |i: usize| (i * i / 7 % 251) as u8;
        (0..len)
            .map(|i| if i % 3 == 0 { 0 } else { word(i) })
            .collect()
    }

    #[test]
    fn every_codec_round_trips() {
        for codec in CODECS {
            for len in [0, 1, 100, 65_536, 65_537, 300_000] {
                let plain = sample(len);
                let packed = compress(codec, &plain);
                assert_eq!(
                    decompress(codec, &packed, len),
                    Ok(plain),
                    "{codec:?} {len}"
                );
            }
        }
    }

    #[test]
    fn output_above_the_limit_is_refused_before_it_is_made() {
        let bomb = vec![0; 8 << 20];
        for codec in CODECS {
            let packed = compress(codec, &bomb);
            let refused = decompress(codec, &packed, 1 << 20);
            assert_eq!(refused, Err(DecompressError::TooLarge), "{codec:?}");
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_corrupt() {
        let plain = sample(200_000);
        for codec in CODECS {
            let packed = compress(codec, &plain);
            for cut in [1, 7, packed.len() / 2, packed.len() - 9] {
                let got = decompress(codec, &packed[..cut], plain.len());
                assert_ne!(got.as_ref(), Ok(&plain), "{codec:?} cut at {cut}");
            }
            let half = decompress(codec, &packed[..packed.len() / 2 + 1], plain.len());
            assert_eq!(half, Err(DecompressError::Corrupt), "{codec:?}");
        }
    }

    #[test]
    fn garbage_is_corrupt() {
        for codec in CODECS {
            let got = decompress(codec, b"\xff\xfe\xfd\xfcnot compressed at all", 1000);
            assert_eq!(got, Err(DecompressError::Corrupt), "{codec:?}");
        }
    }
}
