//! Processors: who else uses them, how they change their speed, and the clock.

use std::time::Duration;

use super::check::{Area, Check, Question};
use super::system::{System, chosen, listed};
use crate::cli::screen::counted;

const QUOTA: Question = Question::new(
    Area::Cpu,
    "quota",
    "A control group's quota stops all cores at once for the rest of its period.",
);
const GOVERNOR: Question = Question::new(
    Area::Cpu,
    "governor",
    "A processor that lowers its frequency answers late after every pause.",
);
const IDLE: Question = Question::new(
    Area::Cpu,
    "idle states",
    "Leaving a deep idle state takes longer than a whole request.",
);
const SIBLINGS: Question = Question::new(
    Area::Cpu,
    "SMT",
    "Two shards on the two threads of one core take its time from each other.",
);
const NODES: Question = Question::new(
    Area::Cpu,
    "NUMA",
    "The kernel's own balancing moves pages while a core uses them.",
);
const ISOLATED: Question = Question::new(
    Area::Cpu,
    "isolation",
    "CPUs that the kernel keeps free of other work have shorter tails.",
);
const SPIN: Question = Question::new(
    Area::Cpu,
    "spin",
    "A core that spins takes its whole CPU: whoever else needs it, the kernel included, takes turns.",
);
const PRESSURE: Question = Question::new(
    Area::Cpu,
    "pressure",
    "A shard that waits for its CPU lets all of its connections wait.",
);
const INSTRUCTIONS: Question = Question::new(
    Area::Cpu,
    "instructions",
    "CRC-32C of every batch is computed by SSE 4.2; the clock is read from the TSC.",
);
const CLOCK: Question = Question::new(
    Area::Cpu,
    "clock source",
    "Time is read for every request; without the TSC that may be a system call.",
);

/// All of them. `cpus` are those that cores would be pinned to, and `spin` is how long they look
/// for work before they sleep.
pub(super) fn checks(
    system: &dyn System,
    cpus: &[usize],
    cores: usize,
    spin: Duration,
) -> Vec<Check> {
    let quota = quota(system);
    vec![
        judge_quota(quota, cores),
        judge_governors(system),
        judge_idle(system),
        judge_siblings(system, cpus),
        judge_nodes(system),
        judge_isolated(system, cpus),
        judge_spin(spin, quota, cores, online(system)),
        judge_pressure(system.text("/proc/pressure/cpu").as_deref()),
        judge_instructions(system.text("/proc/cpuinfo").as_deref()),
        judge_clock(
            system
                .text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .as_deref(),
        ),
    ]
}

/// CPUs' worth of time that this process's control group and those above it allow; `None` is no
/// quota.
fn quota(system: &dyn System) -> Option<f64> {
    let groups = system.text("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let mut path = own.unwrap_or("/").trim_end_matches('/');
    let mut least: Option<f64> = None;
    loop {
        let text = system.text(&format!("/sys/fs/cgroup{path}/cpu.max"));
        if let Some(found) = text.as_deref().and_then(cpus_of) {
            least = Some(least.map_or(found, |least| least.min(found)));
        }
        match path.rfind('/') {
            Some(at) => path = &path[..at],
            None => return least,
        }
    }
}

/// `50000 100000` is half a CPU; `max 100000` is no quota.
fn cpus_of(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

fn judge_quota(quota: Option<f64>, cores: usize) -> Check {
    match quota {
        None => QUOTA.ok(format!(
            "none; {} would be started",
            counted(cores as u64, "core")
        )),
        Some(cpus) if cpus < cores as f64 => QUOTA.fail(
            format!("{cpus:.1} CPUs for {}", counted(cores as u64, "core")),
            format!(
                "corelog start --override corelog.cores={}, or a container without --cpus",
                (cpus as usize).max(1)
            ),
        ),
        Some(cpus) => QUOTA.ok(format!(
            "{cpus:.1} CPUs for {}",
            counted(cores as u64, "core")
        )),
    }
}

/// The values of one file in each CPU's directory, without repetitions.
fn of_cpus(system: &dyn System, file: &str) -> Vec<String> {
    let dir = "/sys/devices/system/cpu";
    let is_cpu = |name: &String| {
        let number = name.strip_prefix("cpu").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let names = system.names(dir).into_iter().filter(is_cpu);
    let mut values: Vec<String> = names
        .filter_map(|name| system.text(&format!("{dir}/{name}/{file}")))
        .collect();
    values.sort();
    values.dedup();
    values
}

fn judge_governors(system: &dyn System) -> Check {
    let governors = of_cpus(system, "cpufreq/scaling_governor");
    match governors.as_slice() {
        [] => GOVERNOR.unknown("no cpufreq here, as in most virtual machines"),
        [one] if one == "performance" => GOVERNOR.ok("performance"),
        several => GOVERNOR.warn(several.join(", "), "cpupower frequency-set -g performance"),
    }
}

/// Wake-ups slower than this are felt, in microseconds.
const IDLE_EXIT_US_MAX: u64 = 50;

fn judge_idle(system: &dyn System) -> Check {
    let dir = "/sys/devices/system/cpu/cpu0/cpuidle";
    let states = system.names(dir).into_iter().filter_map(|state| {
        let read = |file: &str| system.text(&format!("{dir}/{state}/{file}"));
        let is_on = read("disable").is_none_or(|text| text == "0");
        let latency_us: u64 = read("latency")?.parse().ok()?;
        is_on.then(|| (latency_us, read("name").unwrap_or(state.clone())))
    });
    match states.max() {
        None => IDLE.unknown("no cpuidle here, as in most virtual machines"),
        Some((latency_us, name)) if latency_us > IDLE_EXIT_US_MAX => IDLE.warn(
            format!("{name} takes {latency_us} us to leave"),
            format!("cpupower idle-set -D {IDLE_EXIT_US_MAX}"),
        ),
        Some((latency_us, name)) => IDLE.ok(format!("{name}, {latency_us} us to leave")),
    }
}

fn judge_siblings(system: &dyn System, cpus: &[usize]) -> Check {
    if cpus.is_empty() {
        return SIBLINGS.unknown("cores are not pinned");
    }
    let path = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let shared = cpus.iter().find_map(|cpu| {
        let siblings = listed(&system.text(&path(*cpu))?);
        let other = siblings
            .iter()
            .find(|other| *other != cpu && cpus.contains(other));
        other.map(|other| (*cpu, *other))
    });
    match shared {
        Some((one, other)) => SIBLINGS.warn(
            format!("CPUs {one} and {other} are one core, and both would be used"),
            "corelog start --override corelog.cpus=... with one thread of each core",
        ),
        None => SIBLINGS.ok(format!("{} CPUs, one thread of a core each", cpus.len())),
    }
}

fn judge_nodes(system: &dyn System) -> Check {
    let nodes = system.text("/sys/devices/system/node/online");
    let nodes = nodes.map_or(1, |text| listed(&text).len());
    match system.number("/proc/sys/kernel/numa_balancing") {
        Some(1..) if nodes > 1 => NODES.warn(
            format!("{nodes} nodes, and the kernel balances them"),
            "sysctl -w kernel.numa_balancing=0",
        ),
        _ => NODES.ok(match nodes {
            0 | 1 => "one node".to_string(),
            nodes => format!("{nodes} nodes, not balanced by the kernel"),
        }),
    }
}

fn judge_isolated(system: &dyn System, cpus: &[usize]) -> Check {
    let read = |name: &str| {
        let text = system.text(&format!("/sys/devices/system/cpu/{name}"));
        listed(&text.unwrap_or_default())
    };
    let (isolated, tickless) = (read("isolated"), read("nohz_full"));
    let among = |list: &[usize]| cpus.iter().filter(|cpu| list.contains(cpu)).count();
    ISOLATED.ok(format!(
        "of {} CPUs {} are isolated, {} without the timer tick",
        cpus.len(),
        among(&isolated),
        among(&tickless)
    ))
}

/// CPUs that the kernel runs anything on; `None` if it does not say.
fn online(system: &dyn System) -> Option<usize> {
    let text = system.text("/sys/devices/system/cpu/online")?;
    Some(listed(&text).len())
}

fn judge_spin(spin: Duration, quota: Option<f64>, cores: usize, online: Option<usize>) -> Check {
    if spin.is_zero() {
        return SPIN.ok("off");
    }
    let own = counted(cores as u64, "core");
    let us = format!("{} us", spin.as_micros());
    match (quota, online) {
        (Some(cpus), _) => SPIN.warn(
            format!("{us}, and {cpus:.1} CPUs' time for {own}: spinning uses it up"),
            "corelog start --override corelog.spin.us=0, or a container without --cpus",
        ),
        (None, Some(online)) if cores >= online => SPIN.warn(
            format!(
                "{us}, and {own} on {}: none is left",
                counted(online as u64, "CPU")
            ),
            format!(
                "corelog start --override corelog.cores={}, or corelog.spin.us=0",
                online.saturating_sub(1).max(1)
            ),
        ),
        (None, Some(online)) => {
            SPIN.ok(format!("{us}, {own} on {}", counted(online as u64, "CPU")))
        }
        (None, None) => SPIN.unknown(format!("{us}; sysfs does not say how many CPUs there are")),
    }
}

/// Above this share of the last ten seconds, in percent, tasks waited for a CPU.
const PRESSURE_PERCENT_MAX: f64 = 5.0;

fn judge_pressure(text: Option<&str>) -> Check {
    let some = text.and_then(|text| text.lines().find(|line| line.starts_with("some ")));
    let average = some.and_then(|line| {
        let word = line.split(' ').find_map(|word| word.strip_prefix("avg10="));
        word?.parse::<f64>().ok()
    });
    match average {
        None => PRESSURE.unknown("/proc/pressure/cpu is not there (CONFIG_PSI)"),
        Some(percent) if percent > PRESSURE_PERCENT_MAX => PRESSURE.warn(
            format!("tasks waited {percent} % of the last 10 s"),
            "top -H, to see who uses the CPUs",
        ),
        Some(percent) => PRESSURE.ok(format!("tasks waited {percent} % of the last 10 s")),
    }
}

fn judge_instructions(cpuinfo: Option<&str>) -> Check {
    let cpuinfo = cpuinfo.unwrap_or_default();
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    let Some(flags) = flags else {
        return INSTRUCTIONS.unknown("/proc/cpuinfo has no flags, as on other than x86-64");
    };
    let has = |wanted: &&&str| flags.split_whitespace().any(|flag| flag == **wanted);
    let missing: Vec<&str> = ["sse4_2", "pclmulqdq", "constant_tsc", "nonstop_tsc"]
        .iter()
        .filter(|wanted| !has(wanted))
        .copied()
        .collect();
    match missing.is_empty() {
        true => INSTRUCTIONS.ok("sse4_2, pclmulqdq, constant_tsc, nonstop_tsc"),
        false => INSTRUCTIONS.warn(
            format!("missing: {}", missing.join(", ")),
            "a virtual machine with the host's CPU model (qemu: -cpu host)",
        ),
    }
}

fn judge_clock(source: Option<&str>) -> Check {
    match source.map(chosen) {
        None => CLOCK.unknown("sysfs does not say"),
        Some("tsc" | "arch_sys_counter") => CLOCK.ok(source.unwrap_or_default()),
        Some("kvm-clock" | "hyperv_clocksource_tsc_page") => CLOCK.ok(format!(
            "{} (read without a system call)",
            source.unwrap_or_default()
        )),
        Some(other) => CLOCK.warn(
            other,
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::system::Told;
    use super::*;

    #[test]
    fn the_least_quota_of_all_groups_counts() {
        let told = Told(&[
            ("/proc/self/cgroup", "0::/a/b"),
            ("/sys/fs/cgroup/a/b/cpu.max", "max 100000"),
            ("/sys/fs/cgroup/a/cpu.max", "150000 100000"),
        ]);
        assert_eq!(quota(&told), Some(1.5));
        assert_eq!(quota(&Told(&[])), None);
        assert_eq!(judge_quota(Some(1.5), 2).verdict(), Verdict::Fail);
        assert_eq!(judge_quota(Some(2.0), 2).verdict(), Verdict::Ok);
        assert_eq!(judge_quota(None, 2).verdict(), Verdict::Ok);
    }

    #[test]
    fn spinning_needs_cpus_that_nothing_else_needs() {
        let verdict = |us, quota, cores, online| {
            let spin = Duration::from_micros(us);
            judge_spin(spin, quota, cores, online).verdict()
        };
        assert_eq!(verdict(0, Some(1.0), 4, Some(4)), Verdict::Ok);
        assert_eq!(verdict(50, None, 3, Some(4)), Verdict::Ok);
        assert_eq!(verdict(50, None, 4, Some(4)), Verdict::Warn);
        assert_eq!(verdict(50, Some(8.0), 2, Some(16)), Verdict::Warn);
        assert_eq!(verdict(50, None, 2, None), Verdict::Unknown);
        let told = Told(&[("/sys/devices/system/cpu/online", "0-2,5")]);
        assert_eq!(online(&told), Some(4));
        let all = judge_spin(Duration::from_micros(50), None, 4, Some(4));
        assert_eq!(all.seen(), "50 us, and 4 cores on 4 CPUs: none is left");
    }

    #[test]
    fn governors_and_idle_states_are_those_of_the_cpus() {
        let told = Told(&[
            (
                "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "performance",
            ),
            (
                "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "powersave",
            ),
            ("/sys/devices/system/cpu/cpufreq/x", ""),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "133"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C6"),
        ]);
        let governors = judge_governors(&told);
        assert_eq!(governors.verdict(), Verdict::Warn);
        assert_eq!(governors.seen(), "performance, powersave");
        assert_eq!(judge_idle(&told).seen(), "C6 takes 133 us to leave");
        assert_eq!(judge_governors(&Told(&[])).verdict(), Verdict::Unknown);
        assert_eq!(judge_idle(&Told(&[])).verdict(), Verdict::Unknown);
    }

    #[test]
    fn both_threads_of_a_core_are_seen() {
        let told = Told(&[
            (
                "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
                "0,2",
            ),
            (
                "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
                "1,3",
            ),
        ]);
        assert_eq!(judge_siblings(&told, &[0, 1]).verdict(), Verdict::Ok);
        assert_eq!(judge_siblings(&told, &[0, 1, 2]).verdict(), Verdict::Warn);
        assert_eq!(judge_siblings(&told, &[]).verdict(), Verdict::Unknown);
    }

    #[test]
    fn pressure_instructions_and_the_clock_are_read() {
        let pressure = |text| judge_pressure(Some(text)).verdict();
        let line = "some avg10=0.50 avg60=9.00 avg300=9.00 total=1\nfull avg10=0.00";
        assert_eq!(pressure(line), Verdict::Ok);
        assert_eq!(pressure("some avg10=30.00 avg60=0.00"), Verdict::Warn);
        assert_eq!(judge_pressure(None).verdict(), Verdict::Unknown);
        let flags = |text| judge_instructions(Some(text));
        let all = "flags\t\t: fpu sse4_2 pclmulqdq constant_tsc nonstop_tsc";
        assert_eq!(flags(all).verdict(), Verdict::Ok);
        assert_eq!(flags("flags : sse4_2").verdict(), Verdict::Warn);
        assert_eq!(flags("Features : crc32").verdict(), Verdict::Unknown);
        assert_eq!(judge_clock(Some("tsc")).verdict(), Verdict::Ok);
        assert_eq!(judge_clock(Some("hpet")).verdict(), Verdict::Warn);
        assert_eq!(judge_clock(None).verdict(), Verdict::Unknown);
    }
}
