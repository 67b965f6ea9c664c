//! The ports of a listener's cores: `corelog.listener.core.ports`, and what follows from it.

use super::broker::{Listener, NetworkConfig};
use super::brokers::ListenerMode;
use super::layers::ConfigErrors;
use super::listeners::is_pair_of_families;

/// Which ports the cores of a listener have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorePorts {
    /// Those that the operating system chooses.
    Chosen,
    /// From the first on, not beyond the last.
    Between(u16, u16),
}

impl CorePorts {
    /// The ports of a listener for which none are configured.
    pub(super) fn behind(port: u16) -> CorePorts {
        match port.checked_add(1) {
            Some(_) if port == 0 => CorePorts::Chosen,
            Some(first) => CorePorts::Between(first, u16::MAX),
            // There are none: the last port is the listener's.
            None => CorePorts::Between(u16::MAX, u16::MAX),
        }
    }
}

const KEY: &str = "corelog.listener.core.ports";

/// Gives listeners the ports that are configured.
pub(super) fn set(listeners: &mut [Listener], texts: &[String], errors: &mut Vec<String>) {
    let mut seen = Vec::new();
    for text in texts {
        let Some((name, ports)) = read(text) else {
            errors.push(format!(
                "Invalid value {text} for configuration {KEY}: allowed is first..last or \
                 NAME:first..last with ports from 1 to 65535, for example 9093..9124, or 0"
            ));
            continue;
        };
        let names: Vec<&str> = listeners.iter().map(|listener| &*listener.name).collect();
        let at = match &name {
            Some(name) => names.iter().position(|other| other == name),
            None => (names.len() == 1).then_some(0),
        };
        match at {
            Some(at) if seen.contains(&at) => errors.push(format!(
                "Invalid value {text} for configuration {KEY}: allowed is each listener once"
            )),
            Some(at) => {
                seen.push(at);
                listeners[at].core_ports = ports;
            }
            None => errors.push(format!(
                "Invalid value {text} for configuration {KEY}: allowed are the names of \
                 listeners, {}",
                names.join(" and ")
            )),
        }
    }
}

fn read(text: &str) -> Option<(Option<String>, CorePorts)> {
    let (name, range) = match text.rsplit_once(':') {
        Some((name, range)) => (Some(name.trim().to_ascii_uppercase()), range),
        None => (None, text),
    };
    if range.trim() == "0" {
        return Some((name, CorePorts::Chosen));
    }
    let (first, last) = range.split_once("..")?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first >= 1 && first <= last).then_some((name, CorePorts::Between(first, last)))
}

/// The ports of one listener's cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortsOfCores {
    /// What core 0, core 1, ... bind; 0 lets the operating system choose.
    pub bound: Vec<u16>,
    /// How far what clients are told is from what is bound.
    pub advertised_distance: i32,
}

impl NetworkConfig {
    /// The ports of so many cores, for each listener; none where clients are told of one broker.
    pub fn core_ports(&self, cores_count: usize) -> Result<Vec<PortsOfCores>, ConfigErrors> {
        if self.listener_mode == ListenerMode::Broker {
            return Ok(vec![PortsOfCores::default(); self.listeners.len()]);
        }
        let mut errors = Vec::new();
        let all: Vec<PortsOfCores> = self
            .listeners
            .iter()
            .map(|listener| {
                ports_of(listener, cores_count).unwrap_or_else(|error| {
                    errors.push(error);
                    PortsOfCores::default()
                })
            })
            .collect();
        self.check_apart(&all, &mut errors);
        match errors.is_empty() {
            true => Ok(all),
            false => Err(ConfigErrors(errors)),
        }
    }

    /// No port of a core may be a listener's or another listener's core's.
    fn check_apart(&self, all: &[PortsOfCores], errors: &mut Vec<String>) {
        let listeners = || self.listeners.iter().zip(all);
        for (at, (listener, ports)) in listeners().enumerate() {
            for (other_at, (other, others)) in listeners().enumerate() {
                if is_pair_of_families(&listener.host, &other.host) {
                    continue;
                }
                let taken = |port: &&u16| {
                    let of_core = other_at < at && others.bound.contains(port);
                    **port != 0 && (**port == other.port || of_core)
                };
                if let Some(port) = ports.bound.iter().find(taken) {
                    errors.push(format!(
                        "Invalid value for configuration {KEY}: port {port} of a core of listener \
                         {} is also one of listener {}; allowed is each port once, for example \
                         {KEY}={}",
                        listener.name,
                        other.name,
                        self.example(ports.bound.len())
                    ));
                }
            }
        }
    }

    /// Ports that are apart, in the form of the key.
    fn example(&self, cores_count: usize) -> String {
        let first = |at: usize| 19_000 + at * 100.max(cores_count);
        let entry = |(at, listener): (usize, &Listener)| {
            let last = first(at) + cores_count - 1;
            format!("{}:{}..{last}", listener.name, first(at))
        };
        let entries: Vec<String> = self.listeners.iter().enumerate().map(entry).collect();
        entries.join(",")
    }
}

fn ports_of(listener: &Listener, cores_count: usize) -> Result<PortsOfCores, String> {
    let (first, last) = match listener.core_ports {
        CorePorts::Chosen => {
            return Ok(PortsOfCores {
                bound: vec![0; cores_count],
                advertised_distance: 0,
            });
        }
        CorePorts::Between(first, last) => (first, last),
    };
    let room = usize::from(last - first) + 1;
    if room < cores_count || listener.port == u16::MAX && first == u16::MAX {
        return Err(format!(
            "Invalid value {first}..{last} for configuration {KEY}: listener {} needs a port for \
             each of {cores_count} cores; allowed is a longer range, for example \
             {KEY}={}:9093..{}, or fewer cores: corelog.cores",
            listener.name,
            listener.name,
            9092 + cores_count
        ));
    }
    // What the system chose nobody can have told clients before.
    let advertised = listener.advertised_port.filter(|_| listener.port != 0);
    let told = advertised.unwrap_or(listener.port);
    let distance = i32::from(told) - i32::from(listener.port);
    let bound: Vec<u16> = (first..=last).take(cores_count).collect();
    let legal = |port: &u16| (1..=65_535).contains(&(i32::from(*port) + distance));
    if !bound.iter().all(legal) {
        return Err(format!(
            "Invalid value {told} for configuration advertised.listeners: clients of listener {} \
             would be told ports of cores beyond 65535; allowed is a port that has {cores_count} \
             behind it, or other {KEY}",
            listener.name
        ));
    }
    Ok(PortsOfCores {
        bound,
        advertised_distance: distance,
    })
}

#[cfg(test)]
mod tests {
    use super::super::layers::{Sources, load};
    use super::super::resolve::resolve;

    /// `keys` is listeners, advertised.listeners, the ports of cores. Expected is each listener's
    /// ports and distance, or a part of each error.
    fn check(keys: [&str; 3], cores: usize, expected: Result<&[(&[u16], i32)], &[&str]>) {
        let file = format!(
            "corelog.listener.mode=core\nlisteners={}\nadvertised.listeners={}\n\
             corelog.listener.core.ports={}\n\
             listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
            keys[0], keys[1], keys[2]
        );
        let sources = Sources {
            file: Some(("f", &file)),
            ..Sources::default()
        };
        let (values, _) = load(&sources).expect("readable");
        let found = resolve(values).and_then(|config| config.network.core_ports(cores));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<(&[u16], i32)> = found
                    .iter()
                    .map(|ports| (&*ports.bound, ports.advertised_distance))
                    .collect();
                assert_eq!(found, expected, "{keys:?}");
            }
            (Err(found), Err(expected)) => {
                assert_eq!(found.0.len(), expected.len(), "{found:?}");
                for (found, expected) in found.0.iter().zip(expected) {
                    assert!(found.contains(expected), "{found}");
                }
            }
            (found, _) => panic!("{keys:?}: {found:?}"),
        }
    }

    #[test]
    fn cores_have_the_ports_behind_their_listeners() {
        check(["A://:9092", "", ""], 2, Ok(&[(&[9093, 9094], 0)]));
        check(["A://:0", "", ""], 2, Ok(&[(&[0, 0], 0)]));
        check(
            ["A://:9092", "A://public:29092", ""],
            1,
            Ok(&[(&[9093], 20_000)]),
        );
        check(
            ["A://0.0.0.0:9092,B://[::]:9092", "A://h:1,B://h:2", ""],
            1,
            Ok(&[(&[9093], -9091), (&[9093], -9090)]),
        );
        check(
            ["A://:9092,B://:9192", "", ""],
            2,
            Ok(&[(&[9093, 9094], 0), (&[9193, 9194], 0)]),
        );
    }

    #[test]
    fn cores_have_the_ports_that_are_configured() {
        check(
            ["A://:9092", "", "7000..7003"],
            2,
            Ok(&[(&[7000, 7001], 0)]),
        );
        check(
            ["A://:9092,B://:9093", "", "b:7000..7001, A:7002..7009"],
            2,
            Ok(&[(&[7002, 7003], 0), (&[7000, 7001], 0)]),
        );
        check(["A://:0", "", "7000..7000"], 1, Ok(&[(&[7000], 0)]));
        check(["A://:9092", "A://h:1", "0"], 2, Ok(&[(&[0, 0], 0)]));
    }

    #[test]
    fn ports_that_meet_or_lack_are_refused() {
        check(
            ["A://:9092,B://:9093", "", ""],
            2,
            Err(&["port 9093 of a core of listener A", "port 9094 of a core"]),
        );
        check(
            ["A://:9092", "", "7000..7001"],
            3,
            Err(&["each of 3 cores"]),
        );
        check(["A://:65535", "", ""], 1, Err(&["each of 1 cores"]));
        check(["A://:65534", "", ""], 2, Err(&["each of 2 cores"]));
        check(["A://:9092", "A://h:65535", ""], 1, Err(&["beyond 65535"]));
        for text in ["7000", "0..5", "9..8", "x..y", ":1..2", "A:1..70000"] {
            check(["A://:9092", "", text], 1, Err(&[text]));
        }
        check(
            ["A://:9092,B://:9192", "", "7000..7001"],
            1,
            Err(&["A and B"]),
        );
        check(
            ["A://:9092", "", "7000..7001,A:7002..7003"],
            1,
            Err(&["each listener once"]),
        );
    }
}
