//! Where the broker's data lies, and what may happen to it there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use corelog::io::blocking;

use crate::arguments::Arguments;
use crate::chance::Chance;
use crate::load::Load;

/// The disk of a run.
pub(crate) enum Disk {
    /// A directory: what the process has written survives it.
    Plain(PathBuf),
}

impl Disk {
    pub(crate) fn open(_arguments: &Arguments, dir: &Path) -> Result<Disk, String> {
        Ok(Disk::Plain(dir.join("data")))
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Disk::Plain(data) => format!("kill -9, data in {}", data.display()),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        match self {
            Disk::Plain(data) => data.clone(),
        }
    }

    /// Settings that the broker needs there.
    pub(crate) fn overrides(&self) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn loses_power(&self) -> bool {
        match self {
            Disk::Plain(_) => false,
        }
    }

    pub(crate) fn fills_up(&self) -> bool {
        match self {
            Disk::Plain(_) => false,
        }
    }

    /// Whether the disk is to blame for an error that the broker logged.
    pub(crate) fn explains(&self, _line: &str) -> bool {
        match self {
            Disk::Plain(_) => false,
        }
    }

    /// Lets the load run.
    pub(crate) fn let_run(
        &self,
        duration: Duration,
        _load: &Load,
        _chance: &mut Chance,
    ) -> Result<(), String> {
        blocking::sleep(duration);
        Ok(())
    }

    /// Cuts the power, where that can be done; tells so.
    pub(crate) fn cut(&self, _chance: &mut Chance) -> Result<Option<&'static str>, String> {
        Ok(None)
    }

    /// Makes the disk usable again when the broker is gone.
    pub(crate) fn restore(&mut self, _chance: &mut Chance) -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn close(self) -> Result<(), String> {
        Ok(())
    }
}
