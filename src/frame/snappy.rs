//! Snappy as Kafka clients write it: xerial's framing, or one raw block.
//!
//! Xerial's framing is a 16-byte header (magic, version, lowest compatible version), then blocks:
//! a big-endian length and a raw Snappy block. Whoever concatenates two streams repeats the
//! header, which snappy-java skips; so does this reader.

use super::compress::DecompressError;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// Plain bytes per block that this writer makes: snappy-java's default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A Snappy element is at least 3 bytes per 64 of output, so no block honestly grows more.
const SNAPPY_GROWTH_MAX: usize = 22;

/// Compresses into xerial's framing.
pub(super) fn compress_framed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + plain.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).expect("a block of 32 KiB");
        out.extend_from_slice(&(packed.len() as i32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

/// The blocks of a Snappy stream of either form.
pub(super) struct SnappyBlocks<'a> {
    rest: &'a [u8],
    framed: bool,
    decoder: snap::raw::Decoder,
}

impl<'a> SnappyBlocks<'a> {
    /// Starts on `compressed`; its first bytes tell the form.
    pub(super) fn new(compressed: &'a [u8]) -> SnappyBlocks<'a> {
        let framed =
            compressed.len() >= XERIAL_HEADER_BYTES && compressed.starts_with(&XERIAL_MAGIC);
        SnappyBlocks {
            rest: if framed {
                &compressed[XERIAL_HEADER_BYTES..]
            } else {
                compressed
            },
            framed,
            decoder: snap::raw::Decoder::new(),
        }
    }

    /// Decompresses the next block into the start of `chunk`; 0 at the end.
    pub(super) fn next_into(
        &mut self,
        chunk: &mut Vec<u8>,
        allowance: usize,
    ) -> Result<usize, DecompressError> {
        while let Some(block) = self.next_block()? {
            let plain_len =
                snap::raw::decompress_len(block).map_err(|_| DecompressError::Corrupt)?;
            if plain_len > block.len().saturating_mul(SNAPPY_GROWTH_MAX) {
                return Err(DecompressError::Corrupt);
            }
            if plain_len > allowance {
                return Err(DecompressError::TooLarge);
            }
            if chunk.len() < plain_len {
                chunk.resize(plain_len, 0);
            }
            let written = self
                .decoder
                .decompress(block, &mut chunk[..plain_len])
                .map_err(|_| DecompressError::Corrupt)?;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, DecompressError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        while self.rest.len() >= XERIAL_HEADER_BYTES && self.rest.starts_with(&XERIAL_MAGIC) {
            self.rest = &self.rest[XERIAL_HEADER_BYTES..];
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(DecompressError::Corrupt)?;
        let length =
            usize::try_from(i32::from_be_bytes(*length)).map_err(|_| DecompressError::Corrupt)?;
        let (block, rest) = rest
            .split_at_checked(length)
            .ok_or(DecompressError::Corrupt)?;
        self.rest = rest;
        Ok(Some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::super::compress::{DecompressError, decompress};
    use super::super::header::Codec;
    use super::*;

    fn check(stream: &[u8], expected: Result<&[u8], DecompressError>) {
        let got = decompress(Codec::Snappy, stream, 1 << 20);
        assert_eq!(got.as_deref(), expected.as_ref().map(|plain| *plain));
    }

    #[test]
    fn both_forms_are_read() {
        let plain = b"hello hello hello hello";
        let raw = snap::raw::Encoder::new().compress_vec(plain).unwrap();
        check(&raw, Ok(plain));
        let framed = compress_framed(plain);
        check(&framed, Ok(plain));
        check(&[framed.clone(), framed].concat(), Ok(&plain.repeat(2)));
        check(&compress_framed(b""), Ok(b""));
        check(b"", Ok(b""));
    }

    #[test]
    fn a_block_that_claims_more_than_snappy_can_hold_is_corrupt() {
        // The varint declares 2^32 - 1 bytes; the block has eight.
        check(
            b"\xff\xff\xff\xff\x0f\x00a\x00",
            Err(DecompressError::Corrupt),
        );
    }

    #[test]
    fn a_block_length_outside_the_stream_is_corrupt() {
        let mut framed = compress_framed(b"abc");
        framed[XERIAL_HEADER_BYTES] = 0x7f;
        check(&framed, Err(DecompressError::Corrupt));
        framed[XERIAL_HEADER_BYTES] = 0xff;
        check(&framed, Err(DecompressError::Corrupt));
        check(
            &framed[..XERIAL_HEADER_BYTES + 2],
            Err(DecompressError::Corrupt),
        );
    }
}
