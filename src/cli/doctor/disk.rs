//! The data directory: its file system, its disk, and how long that takes to make bytes durable.

use std::path::Path;

use super::check::{Area, Check, Question};
use super::probe::{Direct, Probe};
use super::system::{System, chosen};
use crate::io::{Space, blocking};

const FILE_SYSTEM: Question = Question::new(
    Area::Disk,
    "file system",
    "On ext4 and XFS a write to an allocated file is one write of the device.",
);
const PLACE: Question = Question::new(
    Area::Disk,
    "place",
    "What lies in a directory for temporary files may be removed at the next boot.",
);
const DIRECT: Question = Question::new(
    Area::Disk,
    "direct I/O",
    "The log is written around the page cache.",
);
const SYNC: Question = Question::new(
    Area::Disk,
    "sync latency",
    "An acknowledged record waits for one write with data sync.",
);
const CACHE: Question = Question::new(
    Area::Disk,
    "write cache",
    "A volatile cache must be flushed for every sync; one with power-loss protection need not.",
);
const SPACE: Question = Question::new(
    Area::Disk,
    "free space",
    "A full disk refuses produce requests.",
);
const SCHEDULER: Question = Question::new(
    Area::Disk,
    "scheduler",
    "Shards order their own writes; a scheduler adds time and locks.",
);
const QUEUE: Question = Question::new(
    Area::Disk,
    "queue",
    "A write that finds the device's queue full waits in the kernel, and its core may with it.",
);
const THROTTLE: Question = Question::new(
    Area::Disk,
    "write-back throttling",
    "It holds writes back for the sake of reads through the page cache, which nobody does.",
);

/// All of them.
pub(super) fn checks(system: &dyn System, dir: &Path, probe: &Probe) -> Vec<Check> {
    let shown = blocking::absolute(dir);
    let mount = blocking::mount_of(&super::existing(dir));
    let device = mount
        .as_ref()
        .and_then(|mount| queue_dir(system, &mount.device));
    let of_queue = |file: &str| system.text(&format!("{}/{file}", device.as_deref()?));
    let no_ring = "there is no ring to try it with";
    let tried = probe.disk.as_ref();
    vec![
        match &mount {
            Some(mount) => judge_file_system(&mount.file_system),
            None => FILE_SYSTEM.unknown("/proc/self/mountinfo does not say"),
        },
        judge_place(&shown),
        match tried.map(|disk| &disk.direct) {
            None => DIRECT.unknown(no_ring),
            Some(Ok(direct)) => {
                let bytes = direct.alignment_bytes;
                DIRECT.ok(format!("{}, aligned to {bytes} bytes", shown.display()))
            }
            Some(Err(error)) => refused(&shown, error),
        },
        match tried.and_then(|disk| disk.direct.as_ref().ok()) {
            Some(direct) => judge_sync(direct),
            None => SYNC.unknown("nothing could be written"),
        },
        judge_cache(
            of_queue("write_cache").as_deref(),
            of_queue("fua").as_deref(),
        ),
        match tried.map(|disk| &disk.space) {
            Some(Ok(space)) => judge_space(*space),
            Some(Err(error)) => SPACE.unknown(error.as_str()),
            None => SPACE.unknown(no_ring),
        },
        judge_scheduler(of_queue("scheduler").as_deref(), device.as_deref()),
        judge_queue(
            of_queue("nr_requests").as_deref(),
            of_queue("rotational").as_deref(),
        ),
        judge_throttle(of_queue("wbt_lat_usec").as_deref(), device.as_deref()),
    ]
}

/// The queue of a device, or of the disk that it is a partition of.
fn queue_dir(system: &dyn System, device: &str) -> Option<String> {
    let own = format!("/sys/dev/block/{device}/queue");
    let parent = format!("/sys/dev/block/{device}/../queue");
    [own, parent]
        .into_iter()
        .find(|dir| system.text(&format!("{dir}/nr_requests")).is_some())
}

fn judge_file_system(kind: &str) -> Check {
    let other = "a directory on ext4 or XFS: log.dirs=/other/path";
    match kind {
        "ext4" | "xfs" => FILE_SYSTEM.ok(kind),
        "tmpfs" | "ramfs" => FILE_SYSTEM.warn(
            format!("{kind}: memory; everything is lost at power off"),
            other,
        ),
        "overlay" => FILE_SYSTEM.warn("overlay: goes with its container", "docker run -v ..."),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "virtiofs" => FILE_SYSTEM.warn(
            format!("{kind}: a sync is what the other side makes of it"),
            other,
        ),
        "btrfs" | "zfs" | "bcachefs" => FILE_SYSTEM.warn(
            format!("{kind}: copies what is overwritten, so direct writes are none"),
            other,
        ),
        other_kind => FILE_SYSTEM.warn(format!("{other_kind}: never tried"), other),
    }
}

fn judge_place(path: &Path) -> Check {
    let shown = path.display();
    let is_temporary = ["/tmp", "/var/tmp", "/dev/shm"]
        .iter()
        .any(|parent| path.starts_with(parent));
    match is_temporary {
        true => PLACE.warn(shown.to_string(), "log.dirs=/var/lib/corelog"),
        false => PLACE.ok(shown.to_string()),
    }
}

fn refused(path: &Path, error: &str) -> Check {
    let remedy = match error.contains("ermission denied") {
        true => format!("chown $(id -un) {}", path.display()),
        false => "a directory on ext4 or XFS: log.dirs=/other/path".to_string(),
    };
    DIRECT.fail(format!("{}: {error}", path.display()), remedy)
}

/// A sync slower than this is felt by every producer, in microseconds.
const SYNC_P99_US_MAX: u64 = 10_000;

fn judge_sync(direct: &Direct) -> Check {
    let us = |quantile| direct.syncs.value_at_quantile(quantile) / 1000;
    let seen = format!(
        "4 KiB with data sync: p50 {} us, p99 {} us, max {} us ({} writes)",
        us(0.5),
        us(0.99),
        direct.syncs.max() / 1000,
        direct.syncs.len()
    );
    match us(0.99) > SYNC_P99_US_MAX {
        true => SYNC.warn(
            seen,
            "a disk with power-loss protection, or one that is not shared",
        ),
        false => SYNC.ok(seen),
    }
}

fn judge_cache(cache: Option<&str>, fua: Option<&str>) -> Check {
    let how = match fua {
        Some("1") => "the device takes forced writes (FUA)",
        _ => "a sync is a write and a flush",
    };
    match cache {
        None => CACHE.unknown("the device does not say"),
        Some("write through") => CACHE.ok("write through: nothing volatile to flush"),
        Some(cache) => CACHE.ok(format!("{cache}; {how}: see the sync latency")),
    }
}

/// A disk with less left is about to be full.
const FREE_WANTED_BYTES: u64 = 10_000_000_000;
const FREE_WANTED_PERCENT: u64 = 15;

fn judge_space(space: Space) -> Check {
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let percent = space.available_bytes / (space.total_bytes / 100).max(1);
    let seen = format!(
        "{:.1} GB of {:.1} GB, {percent} %",
        gb(space.available_bytes),
        gb(space.total_bytes)
    );
    match space.available_bytes {
        0 => SPACE.fail(seen, "df -h, then remove what is not needed"),
        bytes if bytes < FREE_WANTED_BYTES || percent < FREE_WANTED_PERCENT => SPACE.warn(
            seen,
            "a shorter log.retention.hours, log.retention.bytes, or a larger disk",
        ),
        _ => SPACE.ok(seen),
    }
}

fn judge_scheduler(text: Option<&str>, dir: Option<&str>) -> Check {
    match (text.map(chosen), dir) {
        (Some("none"), _) => SCHEDULER.ok("none"),
        (Some(name), Some(dir)) => SCHEDULER.warn(name, format!("echo none > {dir}/scheduler")),
        (_, _) => SCHEDULER.unknown("no block device of its own"),
    }
}

/// Fewer requests than this are less than the writes of a few shards.
const REQUESTS_WANTED: u64 = 64;

fn judge_queue(requests: Option<&str>, rotational: Option<&str>) -> Check {
    let Some(requests) = requests.and_then(|text| text.parse::<u64>().ok()) else {
        return QUEUE.unknown("no block device of its own");
    };
    let seen = format!("nr_requests {requests}");
    match (requests < REQUESTS_WANTED, rotational) {
        (true, _) => QUEUE.warn(seen, "echo 256 > /sys/block/DISK/queue/nr_requests"),
        (false, Some("1")) => QUEUE.warn(
            format!("{seen}, and the disk says that it rotates"),
            "an SSD; or, for a virtual disk, echo 0 > /sys/block/DISK/queue/rotational",
        ),
        (false, _) => QUEUE.ok(seen),
    }
}

fn judge_throttle(text: Option<&str>, dir: Option<&str>) -> Check {
    match (text, dir) {
        (Some("0"), _) => THROTTLE.ok("off"),
        (Some(us), Some(dir)) => THROTTLE.warn(
            format!("aims at {us} us"),
            format!("echo 0 > {dir}/wbt_lat_usec"),
        ),
        (_, _) => THROTTLE.unknown("this device has none"),
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::super::check::Verdict;
    use super::super::system::Told;
    use super::*;

    #[test]
    fn a_partitions_queue_is_its_disks() {
        let told = Told(&[
            ("/sys/dev/block/8:1/../queue/nr_requests", "64"),
            ("/sys/dev/block/254:0/queue/nr_requests", "256"),
        ]);
        let check = |device, expected: Option<&str>| {
            assert_eq!(queue_dir(&told, device).as_deref(), expected, "{device}");
        };
        check("8:1", Some("/sys/dev/block/8:1/../queue"));
        check("254:0", Some("/sys/dev/block/254:0/queue"));
        check("0:25", None);
    }

    #[test]
    fn file_systems_and_places_are_judged() {
        let check = |kind, expected| assert_eq!(judge_file_system(kind).verdict(), expected);
        check("ext4", Verdict::Ok);
        check("xfs", Verdict::Ok);
        check("tmpfs", Verdict::Warn);
        check("overlay", Verdict::Warn);
        check("zfs", Verdict::Warn);
        check("exotic", Verdict::Warn);
        let place = |path| judge_place(Path::new(path)).verdict();
        assert_eq!(place("/var/lib/corelog"), Verdict::Ok);
        assert_eq!(place("/tmp/x"), Verdict::Warn);
        assert_eq!(place("/tmpfiles"), Verdict::Ok);
        let denied = refused(Path::new("/d"), "Permission denied (os error 13)");
        assert_eq!(denied.remedy(), Some("chown $(id -un) /d"));
    }

    #[test]
    fn syncs_and_space_have_thresholds() {
        let sync = |us: u64| {
            let mut syncs = Histogram::new(3).expect("legal");
            syncs.record(us * 1000).expect("in range");
            judge_sync(&Direct {
                alignment_bytes: 512,
                syncs,
            })
        };
        assert_eq!(sync(100).verdict(), Verdict::Ok);
        assert_eq!(sync(20_000).verdict(), Verdict::Warn);
        let space = |available: u64, total: u64| {
            let space = Space {
                total_bytes: total * 1_000_000_000,
                available_bytes: available * 1_000_000_000,
            };
            judge_space(space).verdict()
        };
        assert_eq!(space(50, 100), Verdict::Ok);
        assert_eq!(space(9, 10), Verdict::Warn);
        assert_eq!(space(100, 1000), Verdict::Warn);
        assert_eq!(space(0, 0), Verdict::Fail);
    }

    #[test]
    fn the_disks_settings_are_judged() {
        let dir = Some("/sys/block/vda/queue");
        let scheduler = |text| judge_scheduler(Some(text), dir).verdict();
        assert_eq!(scheduler("[none] mq-deadline"), Verdict::Ok);
        assert_eq!(scheduler("none [mq-deadline]"), Verdict::Warn);
        assert_eq!(judge_scheduler(None, None).verdict(), Verdict::Unknown);
        assert_eq!(judge_queue(Some("256"), Some("0")).verdict(), Verdict::Ok);
        assert_eq!(judge_queue(Some("256"), Some("1")).verdict(), Verdict::Warn);
        assert_eq!(judge_queue(Some("4"), Some("0")).verdict(), Verdict::Warn);
        assert_eq!(judge_queue(None, None).verdict(), Verdict::Unknown);
        assert_eq!(judge_throttle(Some("0"), dir).verdict(), Verdict::Ok);
        assert_eq!(judge_throttle(Some("2000"), dir).verdict(), Verdict::Warn);
        assert_eq!(judge_throttle(None, dir).verdict(), Verdict::Unknown);
        assert_eq!(
            judge_cache(Some("write through"), None).verdict(),
            Verdict::Ok
        );
        assert_eq!(judge_cache(None, None).verdict(), Verdict::Unknown);
    }
}
