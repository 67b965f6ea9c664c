//! Reading the LZ4 frame format block by block, without trusting its declared sizes.
//!
//! The frame is parsed here, because a library's decoder reserves the declared block size (up to
//! 8 MiB) for a frame of a few bytes; the blocks themselves are `lz4_flex`'s. Like Kafka's own
//! reader it takes one frame, verifies the descriptor's and the blocks' checksums, and leaves the
//! content's alone: the batch's CRC covers it.
//!
//! Source: LZ4 Frame Format Description 1.6.

use super::compress::DecompressError;

const FRAME_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// How far back a linked block may refer.
const WINDOW_BYTES: usize = 64 * 1024;
/// An LZ4 sequence yields at most 255 bytes per byte of input.
const LZ4_GROWTH_MAX: usize = 255;
/// The bit of a block's length that says its bytes are stored, not compressed.
const STORED_BIT: u32 = 1 << 31;

/// The blocks of one LZ4 frame.
pub(super) struct Lz4Blocks<'a> {
    rest: &'a [u8],
    block_bytes_max: usize,
    linked: bool,
    block_checksums: bool,
    /// The end of what came before, where blocks are linked.
    window: Vec<u8>,
    ended: bool,
}

impl<'a> Lz4Blocks<'a> {
    /// Reads the frame's descriptor.
    pub(super) fn new(compressed: &'a [u8]) -> Result<Lz4Blocks<'a>, DecompressError> {
        let rest = compressed
            .strip_prefix(&FRAME_MAGIC)
            .ok_or(DecompressError::Corrupt)?;
        let [flags, sizes, ..] = *rest else {
            return Err(DecompressError::Corrupt);
        };
        let has_content_size = flags & 0b1000 != 0;
        let has_dictionary = flags & 0b1 != 0;
        let block_bytes_max = match (sizes >> 4) & 0b111 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(DecompressError::Corrupt),
        };
        let reserved = flags & 0b10 | sizes & 0b1000_1111;
        if flags >> 6 != 1 || reserved != 0 || has_dictionary {
            return Err(DecompressError::Corrupt);
        }
        let descriptor_bytes = if has_content_size { 10 } else { 2 };
        let (descriptor, rest) = rest
            .split_at_checked(descriptor_bytes)
            .ok_or(DecompressError::Corrupt)?;
        let (checksum, rest) = rest.split_first().ok_or(DecompressError::Corrupt)?;
        if (xxh32(descriptor) >> 8) as u8 != *checksum {
            return Err(DecompressError::Corrupt);
        }
        Ok(Lz4Blocks {
            rest,
            block_bytes_max,
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            window: Vec::new(),
            ended: false,
        })
    }

    /// Decompresses the next block into the start of `chunk`; 0 at the end.
    pub(super) fn next_into(
        &mut self,
        chunk: &mut Vec<u8>,
        allowance: usize,
    ) -> Result<usize, DecompressError> {
        while let Some((block, stored)) = self.next_block()? {
            // One byte more than is allowed, so that the caller sees an overrun as an overrun.
            let room = self.block_bytes_max.min(allowance.saturating_add(1));
            let room = room.min(block.len().saturating_mul(LZ4_GROWTH_MAX));
            if stored && block.len() > room {
                return Err(DecompressError::TooLarge);
            }
            if chunk.len() < room {
                chunk.resize(room, 0);
            }
            let written = if stored {
                chunk[..block.len()].copy_from_slice(block);
                block.len()
            } else {
                let out = &mut chunk[..room];
                match lz4_flex::block::decompress_into_with_dict(block, out, &self.window) {
                    Ok(written) => written,
                    Err(_) if room > allowance => return Err(DecompressError::TooLarge),
                    Err(_) => return Err(DecompressError::Corrupt),
                }
            };
            self.remember(&chunk[..written]);
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }

    fn next_block(&mut self) -> Result<Option<(&'a [u8], bool)>, DecompressError> {
        if self.ended {
            return Ok(None);
        }
        let (word, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(DecompressError::Corrupt)?;
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            self.ended = true;
            return Ok(None);
        }
        let length = (word & !STORED_BIT) as usize;
        if length > self.block_bytes_max {
            return Err(DecompressError::Corrupt);
        }
        let (block, mut rest) = rest
            .split_at_checked(length)
            .ok_or(DecompressError::Corrupt)?;
        if self.block_checksums {
            let (checksum, after) = rest
                .split_first_chunk::<4>()
                .ok_or(DecompressError::Corrupt)?;
            if u32::from_le_bytes(*checksum) != xxh32(block) {
                return Err(DecompressError::Corrupt);
            }
            rest = after;
        }
        self.rest = rest;
        Ok(Some((block, word & STORED_BIT != 0)))
    }

    fn remember(&mut self, plain: &[u8]) {
        if !self.linked {
            return;
        }
        let kept = WINDOW_BYTES
            .saturating_sub(plain.len())
            .min(self.window.len());
        self.window.drain(..self.window.len() - kept);
        self.window
            .extend_from_slice(&plain[plain.len().saturating_sub(WINDOW_BYTES)..]);
    }
}

/// xxHash of 32 bits with seed 0: the checksum of the frame format.
fn xxh32(bytes: &[u8]) -> u32 {
    const P1: u32 = 0x9e37_79b1;
    const P2: u32 = 0x85eb_ca77;
    const P3: u32 = 0xc2b2_ae3d;
    const P4: u32 = 0x27d4_eb2f;
    const P5: u32 = 0x1656_67b1;
    let word = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    let mut stripes = bytes.chunks_exact(16);
    let mut hash = if bytes.len() >= 16 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u32.wrapping_sub(P1)];
        for stripe in stripes.by_ref() {
            for (lane, four) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                let mixed = lane.wrapping_add(word(four).wrapping_mul(P2));
                *lane = mixed.rotate_left(13).wrapping_mul(P1);
            }
        }
        let [a, b, c, d] = lanes;
        a.rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    let mut fours = stripes.remainder().chunks_exact(4);
    for four in fours.by_ref() {
        hash = hash
            .wrapping_add(word(four).wrapping_mul(P3))
            .rotate_left(17)
            .wrapping_mul(P4);
    }
    for byte in fours.remainder() {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::super::compress::decompress;
    use super::super::header::Codec;
    use super::*;

    fn frame(info: FrameInfo, plain: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_shape_of_frame_is_read() {
        let plain: Vec<u8> = (0..700_000_u32)
            .map(|i| ((i / 300) ^ (i % 11)) as u8)
            .collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for checks in [false, true] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(checks)
                        .content_checksum(checks)
                        .content_size(checks.then_some(plain.len() as u64));
                    let packed = frame(info, &plain);
                    let got = decompress(Codec::Lz4, &packed, plain.len());
                    assert!(got == Ok(plain.clone()), "{mode:?} {size:?} {checks}");
                }
            }
        }
    }

    #[test]
    fn checksums_are_verified() {
        let plain = b"a block, a block, a block, a block, a block";
        let packed = frame(FrameInfo::new().block_checksums(true), plain);
        for at in [4, 6, packed.len() - 10] {
            let mut bent = packed.clone();
            bent[at] ^= 1;
            let got = decompress(Codec::Lz4, &bent, 1000);
            assert_eq!(got, Err(DecompressError::Corrupt), "byte {at}");
        }
    }

    #[test]
    fn the_hash_is_xxh32() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(
            xxh32(b"Nobody inspects the spammish repetition"),
            0xe229_3b2f
        );
    }
}
