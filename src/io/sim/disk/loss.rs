//! What a power loss takes: one way of losing is drawn per crash, and applied to every file.

use crate::io::sim::chance::Chance;

/// How one power loss treats what was not durable.
pub(super) struct Loss {
    chance: Chance,
    way: Way,
}

/// The ways differ on purpose: a bug that needs "all but one sector" is never found by coins.
enum Way {
    AllLost,
    AllKept,
    /// Each write is kept whole or lost whole, kept with this probability: reordering.
    Writes {
        keep_ppm: u32,
    },
    /// Each sector for itself: tearing.
    Sectors {
        keep_ppm: u32,
    },
    /// Writes before this one are kept, later ones are lost, and it is torn: a device that writes
    /// in order.
    Prefix {
        torn_seq: u64,
    },
}

/// What becomes of one write.
pub(super) struct Fate<'a> {
    chance: &'a mut Chance,
    keep: Keep,
}

enum Keep {
    All,
    Nothing,
    Each(u32),
    Below(u64),
}

impl Loss {
    /// Draws a way; `first_seq..=last_seq` are the writes that may be pending.
    pub(super) fn drawn(mut chance: Chance, first_seq: u64, last_seq: u64) -> Loss {
        let ppm = [20_000, 300_000, 700_000, 980_000];
        let keep_ppm = ppm[chance.index(ppm.len())];
        let way = match chance.below(8) {
            0 => Way::AllLost,
            1 => Way::AllKept,
            2 | 3 => Way::Writes { keep_ppm },
            4 | 5 => Way::Sectors { keep_ppm },
            _ => Way::Prefix {
                torn_seq: chance.between(first_seq.min(last_seq), last_seq),
            },
        };
        Loss { chance, way }
    }

    pub(super) fn all_lost() -> Loss {
        Loss {
            chance: Chance::new(0, "loss"),
            way: Way::AllLost,
        }
    }

    #[cfg(test)]
    pub(super) fn all_kept() -> Loss {
        Loss {
            chance: Chance::new(0, "loss"),
            way: Way::AllKept,
        }
    }

    pub(super) fn fate_of(&mut self, seq: u64) -> Fate<'_> {
        let keep = match self.way {
            Way::AllLost => Keep::Nothing,
            Way::AllKept => Keep::All,
            Way::Writes { keep_ppm } if self.chance.ppm(keep_ppm) => Keep::All,
            Way::Writes { .. } => Keep::Nothing,
            Way::Sectors { keep_ppm } => Keep::Each(keep_ppm),
            Way::Prefix { torn_seq } if seq < torn_seq => Keep::All,
            Way::Prefix { torn_seq } if seq == torn_seq => {
                let magnitude = self.chance.below(12);
                Keep::Below(self.chance.below(1 << magnitude))
            }
            Way::Prefix { .. } => Keep::Nothing,
        };
        Fate {
            chance: &mut self.chance,
            keep,
        }
    }

    /// Whether the next change of a directory survives.
    pub(super) fn keeps_change(&mut self) -> bool {
        match self.way {
            Way::AllLost => false,
            Way::AllKept => true,
            Way::Writes { keep_ppm } | Way::Sectors { keep_ppm } => self.chance.ppm(keep_ppm),
            Way::Prefix { .. } => self.chance.ppm(700_000),
        }
    }
}

impl Fate<'_> {
    /// Whether the sector at this index of the write is kept.
    pub(super) fn keeps(&mut self, index: u64) -> bool {
        match self.keep {
            Keep::All => true,
            Keep::Nothing => false,
            Keep::Each(ppm) => self.chance.ppm(ppm),
            Keep::Below(sectors) => index < sectors,
        }
    }

    /// Whether the size that came with the write is kept.
    pub(super) fn keeps_size(&mut self) -> bool {
        match self.keep {
            Keep::All => true,
            Keep::Nothing => false,
            Keep::Each(_) | Keep::Below(_) => self.chance.coin(),
        }
    }
}
