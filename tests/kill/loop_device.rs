//! Loop devices with ext4, and the emulated disk with a volatile cache below one. Needs root.
//!
//! What was attached and mounted is taken down again when it is dropped, so that a failed run
//! leaves nothing behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use corelog::io::blocking;

use crate::chance::Chance;

/// Runs a program to its end; what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => {
            let error = String::from_utf8_lossy(&output.stderr);
            let words = arguments.join(" ");
            Err(format!(
                "{program} {words}: {}\n{text}{error}",
                output.status
            ))
        }
    }
}

/// A loop device on a file.
pub(crate) struct LoopDevice {
    device: String,
    is_attached: std::cell::Cell<bool>,
    mounted: std::cell::RefCell<Option<PathBuf>>,
}

/// Tries again while a dying process still holds on to a file system.
const RELEASE_TRIES: u32 = 100;
const RELEASE_PAUSE: Duration = Duration::from_millis(100);

impl LoopDevice {
    /// With direct I/O, so that nothing of the file is cached on the way.
    pub(crate) fn attach(file: &Path) -> Result<LoopDevice, String> {
        let file = file.display().to_string();
        let device = run("losetup", &["--find", "--show", "--direct-io=on", &file])?;
        Ok(LoopDevice {
            device: device.trim().to_owned(),
            is_attached: std::cell::Cell::new(true),
            mounted: std::cell::RefCell::new(None),
        })
    }

    pub(crate) fn format(&self) -> Result<(), String> {
        let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-E", options, &self.device]).map(|_| ())
    }

    pub(crate) fn mount(&self, mountpoint: &Path) -> Result<(), String> {
        std::fs::create_dir_all(mountpoint).map_err(|error| error.to_string())?;
        run(
            "mount",
            &[
                "-t",
                "ext4",
                &self.device,
                &mountpoint.display().to_string(),
            ],
        )?;
        *self.mounted.borrow_mut() = Some(mountpoint.to_owned());
        Ok(())
    }

    pub(crate) fn unmount(&self) -> Result<(), String> {
        let Some(mountpoint) = self.mounted.borrow().clone() else {
            return Ok(());
        };
        let mountpoint = mountpoint.display().to_string();
        let mut result = Ok(String::new());
        for _ in 0..RELEASE_TRIES {
            result = run("umount", &[&mountpoint]);
            if result.is_ok() {
                *self.mounted.borrow_mut() = None;
                break;
            }
            blocking::sleep(RELEASE_PAUSE);
        }
        result.map(|_| ())
    }

    pub(crate) fn detach(&self) -> Result<(), String> {
        if self.is_attached.replace(false) {
            run("losetup", &["--detach", &self.device])?;
        }
        Ok(())
    }

    /// Whether the file system is sound.
    pub(crate) fn check(&self) -> Result<(), String> {
        run("e2fsck", &["-f", "-n", &self.device]).map(|_| ())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(what) = self.unmount().and_then(|()| self.detach()) {
            eprintln!("kill: {} is left: {what}", self.device);
        }
    }
}

/// The process that emulates a disk; see `tests/powercut`.
pub(crate) struct VolatileDisk {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    mountpoint: PathBuf,
    is_on: bool,
}

impl VolatileDisk {
    pub(crate) fn start(
        program: &Path,
        mountpoint: &Path,
        mebibytes: usize,
    ) -> Result<VolatileDisk, String> {
        let failed = |error| format!("{}: {error}", program.display());
        std::fs::create_dir_all(mountpoint).map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(mountpoint).arg(mebibytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("it is piped"));
        let mountpoint = mountpoint.to_owned();
        let mut disk = VolatileDisk {
            child,
            to,
            from,
            mountpoint,
            is_on: true,
        };
        match disk.answer()?.as_str() {
            "ready" => Ok(disk),
            other => Err(format!("the volatile disk says {other:?}")),
        }
    }

    /// The disk.
    pub(crate) fn file(&self) -> PathBuf {
        self.mountpoint.join("disk")
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => Err("the volatile disk is gone".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("the volatile disk: {error}")),
        }
    }

    fn tell(&mut self, line: &str) -> Result<String, String> {
        let to = self.to.as_mut().expect("open until the disk is stopped");
        writeln!(to, "{line}").map_err(|error| format!("the volatile disk: {error}"))?;
        self.answer()
    }

    /// Cuts the power and loses some of what was not synced; tells what.
    pub(crate) fn cut(&mut self, chance: &mut Chance) -> Result<String, String> {
        let percent = chance.pick(&[1, 10, 50, 90, 99]);
        let loss = match chance.below(6) {
            0 => "all".to_owned(),
            1 => "nothing".to_owned(),
            2 => "suffix".to_owned(),
            3 => format!("writes {percent}"),
            _ => format!("sectors {percent}"),
        };
        let answer = self.tell(&format!("cut {loss} {}", chance.draw()))?;
        self.is_on = false;
        let words: Vec<&str> = answer.split(' ').collect();
        match words.as_slice() {
            ["cut", kept, all] => Ok(format!("power cut ({loss}: {kept} of {all} sectors left)")),
            _ => Err(format!("the volatile disk says {answer:?}")),
        }
    }

    pub(crate) fn switch_on(&mut self) -> Result<(), String> {
        self.is_on = true;
        self.tell("on").map(|_| ())
    }

    /// Unmounts it and ends its process.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        drop(self.to.take());
        let ended = self
            .child
            .wait()
            .map_err(|error| format!("the volatile disk: {error}"))?;
        match ended.success() {
            true => Ok(()),
            false => Err(format!("the volatile disk ended with {ended}")),
        }
    }
}
