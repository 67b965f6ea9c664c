//! The kernel, its io_uring, and what it lets this process have.

use super::check::{Area, Check, Question};
use super::probe::Probe;
use super::system::System;
use crate::limits::{OPEN_FILES_PER_CORE_RESERVED, OPEN_FILES_RESERVED};

const RELEASE: Question = Question::new(
    Area::Kernel,
    "kernel",
    "The broker needs Linux 5.15; from 6.1 on its rings run at their best.",
);
const KNOWN_BAD: Question = Question::new(
    Area::Kernel,
    "known defects",
    "Some kernels refuse rings, lock up or harm file systems under io_uring.",
);
const SWITCH: Question = Question::new(
    Area::Kernel,
    "io_uring switch",
    "The sysctl kernel.io_uring_disabled decides who may have a ring.",
);
const FILTER: Question = Question::new(
    Area::Kernel,
    "seccomp",
    "A container's filter of system calls often leaves io_uring out.",
);
const RING: Question = Question::new(
    Area::Kernel,
    "ring",
    "Every core waits in its own ring; with defer-taskrun completions come when it asks.",
);
const FILES: Question = Question::new(
    Area::Kernel,
    "open files",
    "Each connection and each open chunk is a file.",
);
const LOCKED: Question = Question::new(
    Area::Kernel,
    "locked memory",
    "Registered buffers, and rings before Linux 5.12, count against this limit.",
);

/// All of them.
pub(super) fn checks(system: &dyn System, cores: usize, probe: &Probe) -> Vec<Check> {
    let release = system.text("/proc/sys/kernel/osrelease");
    let limits = system.text("/proc/self/limits").unwrap_or_default();
    vec![
        match &release {
            Some(release) => judge_release(release),
            None => RELEASE.unknown("/proc is not readable"),
        },
        match release.as_deref().and_then(version) {
            Some(version) => judge_defects(version),
            None => KNOWN_BAD.unknown("the kernel does not say its version"),
        },
        judge_switch(system.number("/proc/sys/kernel/io_uring_disabled")),
        judge_filter(&system.text("/proc/self/status").unwrap_or_default(), probe),
        judge_ring(probe),
        judge_files(limit(&limits, "Max open files"), cores as u64),
        judge_locked(limit(&limits, "Max locked memory")),
    ]
}

/// The first three numbers of a release.
fn version(release: &str) -> Option<[u32; 3]> {
    let digits = |text: &str| -> Option<u32> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse().ok()
    };
    let mut parts = release.split('.');
    let major = digits(parts.next()?)?;
    let minor = digits(parts.next()?)?;
    Some([major, minor, parts.next().and_then(digits).unwrap_or(0)])
}

fn judge_release(release: &str) -> Check {
    let seen = format!("Linux {release} on {}", std::env::consts::ARCH);
    match version(release) {
        None => RELEASE.unknown(format!("{release:?} is no version")),
        Some(version) if version < [5, 15, 0] => {
            RELEASE.fail(seen, "install Linux 6.1 or newer, such as Debian 12's")
        }
        Some(version) if version < [6, 1, 0] => {
            RELEASE.warn(seen, "install Linux 6.1 or newer, such as Debian 12's")
        }
        Some(_) => RELEASE.ok(seen),
    }
}

fn judge_defects(version: [u32; 3]) -> Check {
    let [major, minor, patch] = version;
    let defect = match (major, minor) {
        (6, 5) => Some("file systems were harmed on 6.5"),
        (6, 11) => Some("io_uring locked up on 6.11"),
        // Fixed in 6.6.86, 6.12.21 and 6.13.9.
        (6, 6) if patch < 86 => Some("rings fail with ENOMEM when memory is fragmented"),
        (6, 12) if patch < 21 => Some("rings fail with ENOMEM when memory is fragmented"),
        (6, 13) if patch < 9 => Some("rings fail with ENOMEM when memory is fragmented"),
        _ => None,
    };
    match defect {
        Some(defect) => KNOWN_BAD.warn(defect, "apt-get upgrade, then boot the newer kernel"),
        None => KNOWN_BAD.ok("none known of this version"),
    }
}

fn judge_switch(value: Option<u64>) -> Check {
    match value {
        None => SWITCH.ok("this kernel has no such switch"),
        Some(0) => SWITCH.ok("kernel.io_uring_disabled=0"),
        Some(1) => SWITCH.warn(
            "kernel.io_uring_disabled=1: only root and the group kernel.io_uring_group may",
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        Some(value) => SWITCH.fail(
            format!("kernel.io_uring_disabled={value}: nobody may"),
            "sysctl -w kernel.io_uring_disabled=0",
        ),
    }
}

fn judge_filter(status: &str, probe: &Probe) -> Check {
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))
        .map(str::trim);
    match (mode, &probe.ring) {
        (None, _) => FILTER.unknown("/proc/self/status does not say"),
        (Some("0"), _) => FILTER.ok("no filter"),
        (Some(_), Ok(_)) => FILTER.ok("a filter that lets io_uring through"),
        (Some(_), Err(_)) => FILTER.fail(
            "a filter is in force, and there is no ring",
            "docker run --security-opt seccomp=unconfined ..., or allow io_uring_setup, \
             io_uring_enter and io_uring_register",
        ),
    }
}

fn judge_ring(probe: &Probe) -> Check {
    match &probe.ring {
        Err(why) => RING.fail(why.as_str(), "the line above names the command"),
        Ok(ring) if *ring == "defer-taskrun" || *ring == "sim" => RING.ok(*ring),
        Ok(ring) => RING.warn(
            format!("{ring}: a newer kernel has a better mode"),
            "install Linux 6.1 or newer",
        ),
    }
}

/// The hard limit of one row of /proc/self/limits; `u64::MAX` is unlimited.
fn limit(limits: &str, row: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(row))?;
    match rest.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Fewer than this is a choice of somebody who did not think of a broker.
const OPEN_FILES_WANTED: u64 = 1_000_000;

fn judge_files(limit: Option<u64>, cores: u64) -> Check {
    let remedy = "ulimit -n 1048576 (systemd: LimitNOFILE=1048576)";
    let needed = OPEN_FILES_RESERVED + cores * OPEN_FILES_PER_CORE_RESERVED;
    match limit {
        None => FILES.unknown("/proc/self/limits does not say"),
        Some(u64::MAX) => FILES.ok("unlimited"),
        Some(limit) if limit <= needed => FILES.fail(
            format!("{limit}; {cores} cores alone need {needed}"),
            remedy,
        ),
        Some(limit) if limit < OPEN_FILES_WANTED => {
            FILES.warn(format!("{limit} at most, which bounds connections"), remedy)
        }
        Some(limit) => FILES.ok(format!("{limit} at most")),
    }
}

/// What most distributions allow.
const LOCKED_WANTED_BYTES: u64 = 8 << 20;

fn judge_locked(limit: Option<u64>) -> Check {
    match limit {
        None => LOCKED.unknown("/proc/self/limits does not say"),
        Some(u64::MAX) => LOCKED.ok("unlimited"),
        Some(bytes) if bytes < LOCKED_WANTED_BYTES => LOCKED.warn(
            format!("{} KiB at most", bytes >> 10),
            "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
        ),
        Some(bytes) => LOCKED.ok(format!("{} MiB at most", bytes >> 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn versions_are_judged_by_what_is_needed_and_what_is_broken() {
        let check = |release: &str, needed: Verdict, broken: Verdict| {
            let version = version(release).expect("a version");
            assert_eq!(judge_release(release).verdict(), needed, "{release}");
            assert_eq!(judge_defects(version).verdict(), broken, "{release}");
        };
        check("5.10.0-28-amd64", Verdict::Fail, Verdict::Ok);
        check("5.15", Verdict::Warn, Verdict::Ok);
        check("6.1.0-18-amd64", Verdict::Ok, Verdict::Ok);
        check("6.5.13", Verdict::Ok, Verdict::Warn);
        check("6.6.85", Verdict::Ok, Verdict::Warn);
        check("6.6.86", Verdict::Ok, Verdict::Ok);
        check("6.18.44-fc", Verdict::Ok, Verdict::Ok);
        assert_eq!(judge_release("unknown").verdict(), Verdict::Unknown);
    }

    #[test]
    fn who_may_have_a_ring_is_told_apart() {
        let check = |value, expected| assert_eq!(judge_switch(value).verdict(), expected);
        check(None, Verdict::Ok);
        check(Some(0), Verdict::Ok);
        check(Some(1), Verdict::Warn);
        check(Some(2), Verdict::Fail);
        let refused = Probe {
            ring: Err("EPERM".into()),
            ..Probe::default()
        };
        let filter = |status, probe: &Probe| judge_filter(status, probe).verdict();
        assert_eq!(filter("Name: x\nSeccomp:\t2\n", &refused), Verdict::Fail);
        assert_eq!(filter("Seccomp:\t0\n", &refused), Verdict::Ok);
        assert_eq!(filter("", &refused), Verdict::Unknown);
        assert_eq!(judge_ring(&refused).verdict(), Verdict::Fail);
        let plain = Probe {
            ring: Ok("plain"),
            ..Probe::default()
        };
        assert_eq!(filter("Seccomp:\t2\n", &plain), Verdict::Ok);
        assert_eq!(judge_ring(&plain).verdict(), Verdict::Warn);
    }

    #[test]
    fn limits_are_the_hard_ones() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max locked memory         8388608              unlimited            bytes\n\
            Max open files            1024                 4096                 files\n";
        assert_eq!(limit(text, "Max locked memory"), Some(u64::MAX));
        assert_eq!(limit(text, "Max open files"), Some(4096));
        assert_eq!(limit(text, "Max processes"), None);
        assert_eq!(judge_files(Some(4096), 4).verdict(), Verdict::Warn);
        assert_eq!(judge_files(Some(128), 4).verdict(), Verdict::Fail);
        assert_eq!(judge_files(Some(1 << 20), 4).verdict(), Verdict::Ok);
        assert_eq!(judge_locked(Some(64 << 10)).verdict(), Verdict::Warn);
        assert_eq!(judge_locked(Some(8 << 20)).verdict(), Verdict::Ok);
    }
}
