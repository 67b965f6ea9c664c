//! Memory: how much, and what the kernel does with it.

use super::check::{Area, Check, Question};
use super::system::{System, chosen};
use crate::cli::screen::counted;

const SIZE: Question = Question::new(
    Area::Memory,
    "size",
    "Each core keeps buffers, the hot tail and indexes of its own.",
);
const HUGE: Question = Question::new(
    Area::Memory,
    "transparent hugepages",
    "Buffers ask for hugepages; with `always` the kernel also makes those that nobody asked for.",
);
const SWAP: Question = Question::new(
    Area::Memory,
    "swap",
    "A page that was swapped out stops its core until the disk gives it back.",
);

/// All of them.
pub(super) fn checks(system: &dyn System, cores: usize) -> Vec<Check> {
    let info = system.text("/proc/meminfo").unwrap_or_default();
    let swap = kilobytes(&info, "SwapTotal:");
    vec![
        judge_size(kilobytes(&info, "MemTotal:"), bound(system), cores),
        judge_huge(
            system
                .text("/sys/kernel/mm/transparent_hugepage/enabled")
                .as_deref(),
        ),
        judge_swap(swap, system.number("/proc/sys/vm/swappiness")),
    ]
}

/// A row of /proc/meminfo, in bytes.
fn kilobytes(info: &str, row: &str) -> Option<u64> {
    let rest = info.lines().find_map(|line| line.strip_prefix(row))?;
    let kilobytes: u64 = rest.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes << 10)
}

/// The memory that this process's control group allows, if it bounds it.
fn bound(system: &dyn System) -> Option<u64> {
    let groups = system.text("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = own.trim_end_matches('/');
    system.number(&format!("/sys/fs/cgroup{own}/memory.max"))
}

/// For each core.
const MEMORY_WANTED_BYTES: u64 = 2 << 30;

fn judge_size(total: Option<u64>, bound: Option<u64>, cores: usize) -> Check {
    let Some(total) = total else {
        return SIZE.unknown("/proc/meminfo does not say");
    };
    let bytes = bound.map_or(total, |bound| total.min(bound));
    let gib = bytes as f64 / (1u64 << 30) as f64;
    let seen = format!("{gib:.1} GiB for {}", counted(cores as u64, "core"));
    // A machine sold as 8 GiB has a little less.
    match bytes + bytes / 16 >= MEMORY_WANTED_BYTES * cores as u64 {
        true => SIZE.ok(seen),
        false => SIZE.warn(
            seen,
            format!(
                "corelog start --override corelog.cores={}, or 2 GiB a core",
                (bytes / MEMORY_WANTED_BYTES).max(1)
            ),
        ),
    }
}

fn judge_huge(text: Option<&str>) -> Check {
    match text.map(chosen) {
        None => HUGE.unknown("this kernel has none"),
        Some(mode @ ("always" | "never")) => HUGE.warn(
            mode,
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(mode) => HUGE.ok(mode),
    }
}

fn judge_swap(swap_bytes: Option<u64>, swappiness: Option<u64>) -> Check {
    match (swap_bytes, swappiness) {
        (None, _) => SWAP.unknown("/proc/meminfo does not say"),
        (Some(0), _) => SWAP.ok("none"),
        (Some(_), Some(swappiness @ 2..)) => SWAP.warn(
            format!("there is swap, and vm.swappiness={swappiness}"),
            "sysctl -w vm.swappiness=1",
        ),
        (Some(_), swappiness) => SWAP.ok(format!(
            "there is swap, vm.swappiness={}",
            swappiness.unwrap_or(0)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::system::Told;
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_group_counts() {
        let told = Told(&[
            (
                "/proc/meminfo",
                "MemTotal:       16777216 kB\nSwapTotal:             0 kB",
            ),
            ("/proc/self/cgroup", "0::/broker"),
            ("/sys/fs/cgroup/broker/memory.max", "2147483648"),
        ]);
        let [size, _, swap] = checks(&told, 4).try_into().expect("three");
        assert_eq!(
            (size.verdict(), size.seen()),
            (Verdict::Warn, "2.0 GiB for 4 cores")
        );
        assert_eq!(swap.seen(), "none");
        assert_eq!(judge_size(Some(8 << 30), None, 4).verdict(), Verdict::Ok);
        assert_eq!(judge_size(None, None, 4).verdict(), Verdict::Unknown);
    }

    #[test]
    fn hugepages_and_swap_are_judged() {
        let huge = |text| judge_huge(text).verdict();
        assert_eq!(huge(Some("[always] madvise never")), Verdict::Warn);
        assert_eq!(huge(Some("always [madvise] never")), Verdict::Ok);
        assert_eq!(huge(Some("always madvise [never]")), Verdict::Warn);
        assert_eq!(huge(None), Verdict::Unknown);
        assert_eq!(judge_swap(Some(1), Some(60)).verdict(), Verdict::Warn);
        assert_eq!(judge_swap(Some(1), Some(1)).verdict(), Verdict::Ok);
        assert_eq!(judge_swap(None, None).verdict(), Verdict::Unknown);
    }
}
