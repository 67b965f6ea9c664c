//! Where the broker's data lies, and what may happen to it there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use corelog::io::blocking;
use corelog::io::housekeeping::now;

use crate::arguments::Arguments;
use crate::chance::Chance;
use crate::load::Load;
use crate::loop_device::{LoopDevice, VolatileDisk, run};

/// The disk of a run.
pub(crate) enum Disk {
    /// A directory: what the process has written survives it.
    Plain { data: PathBuf },
    /// ext4 on a loop device on a disk that forgets, at a power cut, what was not synced.
    Volatile {
        disk: VolatileDisk,
        device: Option<LoopDevice>,
        mountpoint: PathBuf,
    },
    /// A small ext4 on a loop device, on which another file takes all space now and then.
    Small {
        device: LoopDevice,
        mountpoint: PathBuf,
    },
}

/// Enough for what a run keeps, chunks in the pool included.
const VOLATILE_MEBIBYTES: usize = 4096;
const SMALL_MEBIBYTES: u64 = 512;
/// What the broker keeps for its metadata there.
const RESERVE_BYTES: u64 = 8 << 20;
/// How long it may take until a full disk is noticed, and until its space is used again.
const NOTICE_MAX: Duration = Duration::from_secs(20);

impl Disk {
    pub(crate) fn open(arguments: &Arguments, dir: &Path) -> Result<Disk, String> {
        let mountpoint = dir.join("mounted");
        if let Some(program) = &arguments.volatile_disk {
            let disk = VolatileDisk::start(program, &dir.join("volatile"), VOLATILE_MEBIBYTES)?;
            let device = LoopDevice::attach(&disk.file())?;
            device.format()?;
            device.mount(&mountpoint)?;
            let device = Some(device);
            return Ok(Disk::Volatile {
                disk,
                device,
                mountpoint,
            });
        }
        if arguments.small_disk {
            let file = dir.join("small");
            run(
                "truncate",
                &[&format!("--size={SMALL_MEBIBYTES}M"), &text(&file)],
            )?;
            let device = LoopDevice::attach(&file)?;
            device.format()?;
            device.mount(&mountpoint)?;
            return Ok(Disk::Small { device, mountpoint });
        }
        Ok(Disk::Plain {
            data: dir.join("data"),
        })
    }

    pub(crate) fn describe(&self) -> String {
        let data = self.data();
        let data = data.display();
        match self {
            Disk::Plain { .. } => format!("kill -9, data in {data}"),
            Disk::Volatile { .. } => format!("power cuts, data in {data}"),
            Disk::Small { .. } => format!("kill -9 and a full disk, data in {data}"),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        match self {
            Disk::Plain { data } => data.clone(),
            Disk::Volatile { mountpoint, .. } | Disk::Small { mountpoint, .. } => {
                mountpoint.join("data")
            }
        }
    }

    /// Settings that the broker needs there.
    pub(crate) fn overrides(&self) -> Vec<String> {
        match self {
            Disk::Plain { .. } => Vec::new(),
            Disk::Volatile { .. } | Disk::Small { .. } => {
                vec![format!("corelog.reserve.bytes={RESERVE_BYTES}")]
            }
        }
    }

    /// Whether only what was synced survives.
    pub(crate) fn loses_power(&self) -> bool {
        matches!(self, Disk::Volatile { .. })
    }

    pub(crate) fn fills_up(&self) -> bool {
        matches!(self, Disk::Small { .. })
    }

    /// Whether the disk is to blame for an error that the broker logged.
    pub(crate) fn explains(&self, line: &str) -> bool {
        match self {
            Disk::Plain { .. } | Disk::Small { .. } => false,
            Disk::Volatile { .. } => {
                line.contains("Input/output error") || line.contains("Read-only file system")
            }
        }
    }

    /// Lets the load run; a small disk fills up meanwhile. Sometimes it is still full at the end.
    pub(crate) fn let_run(
        &self,
        duration: Duration,
        load: &Load,
        chance: &mut Chance,
    ) -> Result<(), String> {
        let Disk::Small { mountpoint, .. } = self else {
            blocking::sleep(duration);
            return Ok(());
        };
        blocking::sleep(duration / 2);
        let ballast = mountpoint.join("ballast");
        fill(mountpoint, &ballast)?;
        let refused = |load: &Load| load.verdict.figure("batches refused for the moment");
        let read = |load: &Load| load.verdict.figure("batches read while written");
        let before = refused(load);
        wait_for("the broker takes batches though the disk is full", || {
            refused(load) > before
        })?;
        let before = read(load);
        wait_for("nothing is read while the disk is full", || {
            read(load) > before
        })?;
        if chance.one_in(3) {
            blocking::sleep(duration / 2);
            return Ok(());
        }
        remove(&ballast)?;
        let acknowledged = |load: &Load| load.verdict.figure("batches acknowledged");
        let before = acknowledged(load);
        let resumed = || acknowledged(load) > before + 100;
        wait_for(
            "writing does not resume though there is space again",
            resumed,
        )?;
        load.verdict
            .count("full disks that were freed under load", 1);
        blocking::sleep(duration / 2);
        Ok(())
    }

    /// Cuts the power, where that can be done; tells so.
    pub(crate) fn cut(&mut self, chance: &mut Chance) -> Result<Option<String>, String> {
        let Disk::Volatile { disk, .. } = self else {
            return Ok(None);
        };
        let told = disk.cut(chance)?;
        // The broker meets the errors of a dead disk for a while; it must not acknowledge on them.
        blocking::sleep(Duration::from_millis(chance.below(100)));
        Ok(Some(told))
    }

    /// Makes the disk usable again when the broker is gone.
    pub(crate) fn restore(&mut self, chance: &mut Chance) -> Result<(), String> {
        match self {
            Disk::Plain { .. } => Ok(()),
            Disk::Volatile {
                disk,
                device,
                mountpoint,
            } => {
                if disk.is_on() {
                    return Ok(());
                }
                let dead = device.take().expect("it is attached between restores");
                dead.unmount()?;
                dead.detach()?;
                disk.switch_on()?;
                let fresh = LoopDevice::attach(&disk.file())?;
                fresh.mount(mountpoint)?;
                if chance.one_in(4) {
                    // Damage here would be this emulation's own.
                    fresh.unmount()?;
                    fresh.check()?;
                    fresh.mount(mountpoint)?;
                }
                *device = Some(fresh);
                Ok(())
            }
            Disk::Small { mountpoint, .. } => {
                // Half of the starts find the disk as full as it was.
                match chance.one_in(2) {
                    true => remove(&mountpoint.join("ballast")),
                    false => Ok(()),
                }
            }
        }
    }

    /// Before everything must be acknowledged: there is space.
    pub(crate) fn make_space(&self) -> Result<(), String> {
        match self {
            Disk::Plain { .. } | Disk::Volatile { .. } => Ok(()),
            Disk::Small { mountpoint, .. } => remove(&mountpoint.join("ballast")),
        }
    }

    pub(crate) fn close(self) -> Result<(), String> {
        match self {
            Disk::Plain { .. } => Ok(()),
            Disk::Volatile { disk, device, .. } => {
                if let Some(device) = device {
                    device.unmount()?;
                    device.detach()?;
                }
                disk.stop()
            }
            Disk::Small { device, .. } => {
                device.unmount()?;
                device.detach()
            }
        }
    }
}

/// Takes all the space that is left.
fn fill(mountpoint: &Path, ballast: &Path) -> Result<(), String> {
    let free = run(
        "df",
        &["--output=avail", "--block-size=1", &text(mountpoint)],
    )?;
    let free: u64 = free
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0);
    let length = free.saturating_sub(RESERVE_BYTES);
    if length == 0 {
        return Ok(());
    }
    // The broker takes space meanwhile; then there is a little less to take.
    for part in [length, length / 2, length / 4] {
        if run(
            "fallocate",
            &["--length", &part.to_string(), &text(ballast)],
        )
        .is_ok()
        {
            return Ok(());
        }
    }
    Err("the disk cannot be filled".to_owned())
}

fn remove(file: &Path) -> Result<(), String> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != corelog::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn wait_for(what_else: &str, reached: impl Fn() -> bool) -> Result<(), String> {
    let deadline = now() + NOTICE_MAX;
    while !reached() {
        if now() > deadline {
            return Err(format!("{what_else}, for {} s", NOTICE_MAX.as_secs()));
        }
        blocking::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
