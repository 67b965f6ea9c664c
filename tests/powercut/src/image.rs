//! The disk itself: what is on the medium, what is only in the cache, and what a power cut leaves
//! of it.

/// A power cut keeps or loses each of these.
pub const SECTOR_BYTES: usize = 512;
/// A cache of this size writes its content to the medium by itself.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// A disk with a volatile cache. Reads see every completed write; the medium gets them when the
/// cache is flushed, and a power cut leaves any part of what was in the cache.
pub struct Image {
    /// What readers see.
    current: Vec<u8>,
    /// What a flush has made durable.
    medium: Vec<u8>,
    /// Writes since the last flush, in order.
    cache: Vec<(usize, Vec<u8>)>,
    cache_bytes: usize,
    is_on: bool,
}

/// There is no power, or no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskError;

/// What a power cut leaves of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of it.
    All,
    /// Each write survives whole with this probability, in percent.
    Writes(u64),
    /// Each sector of each write survives with this probability, in percent.
    Sectors(u64),
    /// A prefix of the writes, the last of them in part.
    Suffix,
    /// All of it.
    Nothing,
}

impl Loss {
    /// Reads `all`, `writes PERCENT`, `sectors PERCENT`, `suffix`, `nothing`.
    pub fn parse(words: &[&str]) -> Option<Loss> {
        match words {
            ["all"] => Some(Loss::All),
            ["writes", percent] => Some(Loss::Writes(percent.parse().ok()?)),
            ["sectors", percent] => Some(Loss::Sectors(percent.parse().ok()?)),
            ["suffix"] => Some(Loss::Suffix),
            ["nothing"] => Some(Loss::Nothing),
            _ => None,
        }
    }
}

impl Image {
    pub fn new(size: usize) -> Image {
        assert!(
            size.is_multiple_of(SECTOR_BYTES),
            "a disk has whole sectors"
        );
        Image {
            current: vec![0; size],
            medium: vec![0; size],
            cache: Vec::new(),
            cache_bytes: 0,
            is_on: true,
        }
    }

    pub fn size(&self) -> usize {
        self.current.len()
    }

    /// Reads up to `length` bytes; fewer at the end of the disk.
    pub fn read(&self, offset: usize, length: usize) -> Result<&[u8], DiskError> {
        let end = offset.saturating_add(length).min(self.size());
        match self.is_on {
            true => self.current.get(offset..end).ok_or(DiskError),
            false => Err(DiskError),
        }
    }

    /// Writes into the cache.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(bytes.len()).ok_or(DiskError)?;
        let place = self.current.get_mut(offset..end).ok_or(DiskError)?;
        if !self.is_on {
            return Err(DiskError);
        }
        place.copy_from_slice(bytes);
        self.cache.push((offset, bytes.to_vec()));
        self.cache_bytes += bytes.len();
        if self.cache_bytes > CACHE_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes all completed writes durable.
    pub fn flush(&mut self) -> Result<(), DiskError> {
        if !self.is_on {
            return Err(DiskError);
        }
        for (offset, bytes) in self.cache.drain(..) {
            self.medium[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        self.cache_bytes = 0;
        Ok(())
    }

    /// Cuts the power; returns how many sectors of the cache survived, and of how many.
    pub fn cut(&mut self, loss: Loss, seed: u64) -> (usize, usize) {
        let mut chance = Chance(seed);
        let writes = std::mem::take(&mut self.cache);
        self.cache_bytes = 0;
        self.is_on = false;
        let (mut kept, mut all) = (0, 0);
        let last = chance.below(writes.len() as u64 + 1) as usize;
        for (number, (offset, bytes)) in writes.iter().enumerate() {
            let survives = match loss {
                Loss::Writes(percent) => chance.below(100) < percent,
                _ => true,
            };
            let sectors = bytes.len() / SECTOR_BYTES;
            let torn_at = chance.below(sectors as u64 + 1) as usize;
            for (sector, content) in bytes.chunks(SECTOR_BYTES).enumerate() {
                let at = offset + sector * SECTOR_BYTES;
                let survives = match loss {
                    Loss::All => false,
                    Loss::Nothing => true,
                    Loss::Writes(_) => survives,
                    Loss::Sectors(percent) => chance.below(100) < percent,
                    Loss::Suffix => number < last || (number == last && sector < torn_at),
                };
                all += 1;
                if survives {
                    kept += 1;
                    self.medium[at..at + content.len()].copy_from_slice(content);
                }
            }
        }
        for (offset, bytes) in &writes {
            let range = *offset..offset + bytes.len();
            self.current[range.clone()].copy_from_slice(&self.medium[range]);
        }
        (kept, all)
    }

    /// Power is back.
    pub fn switch_on(&mut self) {
        self.is_on = true;
    }
}

/// Pseudo-random numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 16 sectors, the first 4 flushed as 1, then the first 8 written as 2 and sector 8
    /// as 3; the content of its first 9 sectors after the cut.
    fn cut(loss: Loss, seed: u64) -> Vec<u8> {
        let mut image = Image::new(16 * SECTOR_BYTES);
        image.write(0, &[1; 4 * SECTOR_BYTES]).unwrap();
        image.flush().unwrap();
        image.write(0, &[2; 8 * SECTOR_BYTES]).unwrap();
        image.write(8 * SECTOR_BYTES, &[3; SECTOR_BYTES]).unwrap();
        assert_eq!(image.read(0, 1).unwrap(), [2]);
        image.cut(loss, seed);
        assert_eq!(image.read(0, 1), Err(DiskError));
        assert_eq!(image.write(0, &[9]), Err(DiskError));
        assert_eq!(image.flush(), Err(DiskError));
        image.switch_on();
        let sector = |at| {
            let content = image.read(at * SECTOR_BYTES, SECTOR_BYTES).unwrap();
            assert!(
                content.iter().all(|byte| *byte == content[0]),
                "a torn sector"
            );
            content[0]
        };
        (0..9).map(sector).collect()
    }

    #[test]
    fn a_cut_keeps_what_was_flushed_and_a_part_of_the_rest() {
        assert_eq!(cut(Loss::All, 1), [1, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(cut(Loss::Nothing, 1), [2, 2, 2, 2, 2, 2, 2, 2, 3]);
        assert_eq!(cut(Loss::Sectors(0), 1), cut(Loss::All, 1));
        assert_eq!(cut(Loss::Writes(100), 1), cut(Loss::Nothing, 1));
        let mut seen = [0; 3];
        for seed in 0..200 {
            for loss in [Loss::Sectors(50), Loss::Writes(50), Loss::Suffix] {
                let found = cut(loss, seed);
                for (sector, content) in found.iter().enumerate() {
                    let before = u8::from(sector < 4);
                    let written = if sector < 8 { 2 } else { 3 };
                    assert!(*content == before || *content == written, "{found:?}");
                }
                let first = found[..8].iter().filter(|content| **content == 2).count();
                match loss {
                    Loss::Writes(_) => assert!(first == 0 || first == 8, "{found:?}"),
                    Loss::Suffix => {
                        assert!(
                            found[..first].iter().all(|content| *content == 2),
                            "{found:?}"
                        );
                        assert!(found[8] == 0 || first == 8, "{found:?}");
                    }
                    _ => seen[0] += usize::from(first > 0 && first < 8),
                }
                seen[1] += usize::from(first == 0 && found[8] == 3);
                seen[2] += usize::from(first == 8 && found[8] == 0);
            }
        }
        assert!(
            seen.iter().all(|count| *count > 10),
            "torn, reordered, lost: {seen:?}"
        );
    }

    #[test]
    fn a_way_of_losing_has_a_name() {
        assert_eq!(Loss::parse(&["sectors", "30"]), Some(Loss::Sectors(30)));
        assert_eq!(Loss::parse(&["writes", "x"]), None);
        assert_eq!(Loss::parse(&["all"]), Some(Loss::All));
    }
}
