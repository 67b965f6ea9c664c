//! Faults that a test asks for: which operations they strike and what they do to them.

use super::OpKind;
use crate::io::sim::chance::Chance;

/// A fault of the disk, to be given to [`super::Disk::inject`].
///
/// It strikes operations of one kind (or of all kinds), on all paths or on those that contain a
/// text: the first of them, unless `after`, `times`, `lasting` or `with_chance` say otherwise.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: Option<OpKind>,
    path: Option<String>,
    effect: Effect,
    skip_count: u64,
    left_count: u64,
    chance_ppm: u32,
}

/// What a fault does to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this errno. Of a write any sectors may have been written; what a failed sync
    /// covered never becomes durable by a later one.
    Error(i32),
    /// It reports success and does nothing: a device that lies.
    Lost,
    /// One bit of what is read, or of what is written, is wrong.
    Flip,
}

impl Fault {
    /// Operations of this kind fail with EIO.
    pub fn error(kind: OpKind) -> Fault {
        Fault::new(Some(kind), Effect::Error(libc::EIO))
    }

    /// Operations of this kind do nothing and report success.
    pub fn lost(kind: OpKind) -> Fault {
        Fault::new(Some(kind), Effect::Lost)
    }

    /// One bit goes wrong in what is read (for this reader) or written (for good).
    pub fn flip(kind: OpKind) -> Fault {
        Fault::new(Some(kind), Effect::Flip)
    }

    /// Everything fails from now on: the disk is gone.
    pub fn dead_disk() -> Fault {
        Fault::new(None, Effect::Error(libc::EIO)).lasting()
    }

    /// The errno, where EIO is not the one wanted.
    pub fn with_errno(self, errno: i32) -> Fault {
        Fault {
            effect: Effect::Error(errno),
            ..self
        }
    }

    /// Only paths that contain this text.
    pub fn on(self, text: &str) -> Fault {
        Fault {
            path: Some(text.to_owned()),
            ..self
        }
    }

    /// Lets this many matching operations pass first.
    pub fn after(self, count: u64) -> Fault {
        Fault {
            skip_count: count,
            ..self
        }
    }

    /// Strikes this many matching operations.
    pub fn times(self, count: u64) -> Fault {
        Fault {
            left_count: count,
            ..self
        }
    }

    /// Strikes all matching operations from its first on.
    pub fn lasting(self) -> Fault {
        self.times(u64::MAX)
    }

    /// Strikes a matching operation with this probability, until it has struck often enough.
    pub fn with_chance(self, ppm: u32) -> Fault {
        Fault {
            chance_ppm: ppm,
            ..self
        }
    }

    fn new(kind: Option<OpKind>, effect: Effect) -> Fault {
        Fault {
            kind,
            path: None,
            effect,
            skip_count: 0,
            left_count: 1,
            chance_ppm: 1_000_000,
        }
    }

    /// Whether it strikes this operation; counts it.
    pub(super) fn strikes(
        &mut self,
        kind: OpKind,
        path: &str,
        chance: &mut Chance,
    ) -> Option<Effect> {
        let matches = self.kind.is_none_or(|wanted| wanted == kind)
            && self.path.as_ref().is_none_or(|text| path.contains(text));
        if !matches || self.left_count == 0 {
            return None;
        }
        if self.skip_count > 0 {
            self.skip_count -= 1;
            return None;
        }
        if self.chance_ppm < 1_000_000 && !chance.ppm(self.chance_ppm) {
            return None;
        }
        self.left_count = self
            .left_count
            .saturating_sub(u64::from(self.left_count != u64::MAX));
        Some(self.effect)
    }

    /// Whether it can never strike again.
    pub(super) fn is_spent(&self) -> bool {
        self.left_count == 0
    }
}
