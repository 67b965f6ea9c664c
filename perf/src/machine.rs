//! The machine under a measurement: what it is, which CPUs who gets, and what they cost.

use std::path::Path;

use corelog::io::{self, blocking, housekeeping};
use serde::Serialize;

use crate::limits::CPU_NUMBERS_MAX;

/// What a figure must be read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu_model: String,
    /// CPUs that this process may use.
    pub(crate) cpus: Vec<usize>,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
    /// The load averages before the measurement, as the kernel writes them: a machine that had
    /// something else to do shows here.
    pub(crate) load_before: String,
}

impl Machine {
    /// Asks the kernel.
    pub(crate) fn look() -> Machine {
        let cpu_info = text_of("/proc/cpuinfo");
        let memory = text_of("/proc/meminfo");
        let total_kb = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"));
        let total_kb = total_kb.and_then(|text| text.trim().strip_suffix(" kB"));
        let load = text_of("/proc/loadavg");
        Machine {
            cpu_model: cpu_model(&cpu_info),
            cpus: io::available_cpus(),
            kernel: text_of("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: total_kb.and_then(|kb| kb.parse().ok()).unwrap_or(0) * 1024,
            load_before: load
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

fn text_of(path: impl AsRef<Path>) -> String {
    String::from_utf8(blocking::read_file(path).unwrap_or_default()).unwrap_or_default()
}

fn cpu_model(cpu_info: &str) -> String {
    // ARM names no model.
    let line = cpu_info.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':'));
    model
        .map_or("unknown", |(_, model)| model.trim())
        .to_owned()
}

/// Who gets which CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Seats {
    pub(crate) broker: Vec<usize>,
    pub(crate) client: Vec<usize>,
    /// Whether some CPU is given to both.
    pub(crate) shared: bool,
}

impl Seats {
    /// Beside a broker that runs: CPUs that it does not use as far as there are any, the last ones
    /// of all if not.
    pub(crate) fn beside(cpus: &[usize], broker: &[usize], client_cores: u16) -> Seats {
        let mut free: Vec<usize> = cpus.to_vec();
        free.retain(|cpu| !broker.contains(cpu));
        let from = if free.is_empty() { cpus } else { &free };
        let client = from[from.len().saturating_sub(client_cores.into())..].to_vec();
        Seats {
            shared: client.iter().any(|cpu| broker.contains(cpu)),
            broker: broker.to_vec(),
            client,
        }
    }

    /// Shares the CPUs out, the first ones to the broker. Where there are too few, the client gets
    /// no more than half of them: it must not be what is measured, nor starve the broker.
    pub(crate) fn share_out(cpus: &[usize], broker_cores: u16, client_cores: u16) -> Seats {
        if cpus.len() < 2 {
            return Seats {
                broker: cpus.to_vec(),
                client: cpus.to_vec(),
                shared: true,
            };
        }
        let (broker, client) = (usize::from(broker_cores), usize::from(client_cores));
        let enough = broker + client <= cpus.len();
        let client = match enough {
            true => client,
            false => client.min(cpus.len() / 2),
        };
        let broker = broker.min(cpus.len() - client);
        Seats {
            broker: cpus[..broker].to_vec(),
            client: cpus[broker..broker + client].to_vec(),
            shared: false,
        }
    }
}

/// CPUs as `taskset -c` and `corelog.cpus` take them.
pub(crate) fn cpu_list(cpus: &[usize]) -> String {
    let texts: Vec<String> = cpus.iter().map(usize::to_string).collect();
    texts.join(",")
}

/// Processor time that this process has used, user and system, in seconds.
pub(crate) fn own_cpu_seconds() -> f64 {
    housekeeping::process_figures().cpu_seconds
}

/// Processor time that another process has used; `None` if it is not there.
pub(crate) fn cpu_seconds_of(pid: u32) -> Option<f64> {
    cpu_seconds_in(&text_of(format!("/proc/{pid}/stat")))
}

/// Memory of another process that is resident, in bytes; `None` if it is not there.
pub(crate) fn resident_bytes_of(pid: u32) -> Option<u64> {
    let status = text_of(format!("/proc/{pid}/status"));
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kb: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kb * 1024)
}

/// Time that the host gave to others while these CPUs had something to do, in seconds.
pub(crate) fn stolen_seconds(cpus: &[usize]) -> f64 {
    stolen_in(&text_of("/proc/stat"), cpus)
}

/// The eighth number of the line of each CPU, proc_stat(5).
fn stolen_in(stat: &str, cpus: &[usize]) -> f64 {
    let of = |cpu: &usize| -> Option<u64> {
        let name = format!("cpu{cpu} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
        line.split_ascii_whitespace().nth(7)?.parse().ok()
    };
    cpus.iter().filter_map(of).sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// The revision of the checkout that this was built in, `-dirty` with changes that are in no
/// commit; `None` where there is no git.
pub(crate) fn revision() -> Option<String> {
    let mut command = std::process::Command::new("git");
    command.arg("-C").arg(env!("CARGO_MANIFEST_DIR"));
    let output = command
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The CPUs that another process may use; none if it is not there.
pub(crate) fn cpus_of(pid: u32) -> Vec<usize> {
    let status = text_of(format!("/proc/{pid}/status"));
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map_or(Vec::new(), |list| cpus_in(list.trim()))
}

/// The CPUs of the kernel's list, such as `0-2,8`; none if it is no such list.
fn cpus_in(list: &str) -> Vec<usize> {
    let ranges = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last < CPU_NUMBERS_MAX).then_some(first..=last)
    });
    let ranges: Option<Vec<_>> = ranges.collect();
    ranges.unwrap_or_default().into_iter().flatten().collect()
}

/// Clock ticks a second of /proc: USER_HZ, which is 100 on x86-64 and on 64-bit ARM (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time, fields 14 and 15 of proc(5)'s stat.
fn cpu_seconds_in(stat: &str) -> Option<f64> {
    // The name, field 2, may hold blanks and brackets; it ends with the last bracket.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = ticks.next()?.parse().ok()?;
    let system: u64 = ticks.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_shared_out() {
        let check = |cpus: &[usize], cores: (u16, u16), broker: &[usize], client: &[usize]| {
            let seats = Seats::share_out(cpus, cores.0, cores.1);
            let got = (&seats.broker[..], &seats.client[..]);
            assert_eq!(got, (broker, client), "{cpus:?} {cores:?}");
            assert_eq!(seats.shared, cpus.len() < 2);
        };
        check(&[0, 1, 2, 3], (2, 2), &[0, 1], &[2, 3]);
        check(&[0, 1, 2, 3], (1, 1), &[0], &[1]);
        check(&[0, 1, 2, 3], (4, 4), &[0, 1], &[2, 3]);
        check(&[0, 1, 2, 3], (4, 1), &[0, 1, 2], &[3]);
        check(&[2, 3], (2, 2), &[2], &[3]);
        check(&[1, 4, 6], (2, 2), &[1, 4], &[6]);
        check(&[5], (2, 2), &[5], &[5]);
    }

    #[test]
    fn beside_a_broker_that_runs_the_client_takes_what_is_free() {
        let check = |broker: &[usize], client_cores, client: &[usize], shared| {
            let seats = Seats::beside(&[0, 1, 2, 3], broker, client_cores);
            assert_eq!(
                (&seats.client[..], seats.shared),
                (client, shared),
                "{broker:?}"
            );
        };
        check(&[0, 1], 2, &[2, 3], false);
        check(&[2], 2, &[1, 3], false);
        check(&[0, 1, 2], 2, &[3], false);
        check(&[0, 1, 2, 3], 2, &[2, 3], true);
        check(&[], 2, &[2, 3], false);
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpus_in("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(cpus_in("3"), [3]);
        for other in ["", "x", "0-", "0-99999999999"] {
            assert_eq!(cpus_in(other), [0; 0], "{other}");
        }
        assert_eq!(cpus_of(std::process::id()), io::available_cpus());
    }

    #[test]
    fn processor_time_is_found_behind_a_name_with_brackets() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0";
        assert_eq!(cpu_seconds_in(stat), Some(2.0));
        assert_eq!(cpu_seconds_in("42 (a) S 1"), None);
        assert_eq!(cpu_seconds_in(""), None);
        let own = cpu_seconds_of(std::process::id()).expect("this process is there");
        assert!(own < 1e6);
    }

    #[test]
    fn stolen_time_is_of_the_cpus_in_question() {
        let stat = "cpu  9 9 9 9 9 9 9 900 0 0\ncpu0 1 1 1 1 1 1 1 50 0 0\n\
                    cpu1 1 1 1 1 1 1 1 150 0 0\ncpu10 1 1 1 1 1 1 1 400 0 0\n";
        assert_eq!(stolen_in(stat, &[0]), 0.5);
        assert_eq!(stolen_in(stat, &[0, 1]), 2.0);
        assert_eq!(stolen_in(stat, &[7]), 0.0);
    }

    #[test]
    fn a_process_has_memory() {
        assert!(resident_bytes_of(std::process::id()) > Some(1 << 20));
        assert_eq!(resident_bytes_of(u32::MAX), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::look();
        assert!(machine.memory_bytes > 0 && !machine.kernel.is_empty());
        assert_eq!(cpu_model("model name\t: X Y\n"), "X Y");
        assert_eq!(cpu_model("CPU implementer : 0x41\n"), "unknown");
    }
}
