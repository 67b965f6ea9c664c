//! Sockets, interfaces, ports, and what clients are told to connect to.

use std::net::{IpAddr, SocketAddr};

use super::check::{Area, Check, Question};
use super::system::System;
use crate::client::{Client, ClientOptions};
use crate::config::{BrokerConfig, Listener};
use crate::io::{ErrorKind, blocking, housekeeping};

const BACKLOG: Question = Question::new(
    Area::Network,
    "backlog",
    "After a restart all clients connect at once; what the queue cannot hold tries again later.",
);
const BUFFERS: Question = Question::new(
    Area::Network,
    "socket buffers",
    "A connection over a distance is as fast as its buffers are large.",
);
const SLOW_START: Question = Question::new(
    Area::Network,
    "slow start",
    "A connection that was idle starts slowly again.",
);
const INTERFACES: Question = Question::new(
    Area::Network,
    "interfaces",
    "An interface with fewer queues than shards interrupts some of them for all.",
);
const BUSY_POLL: Question = Question::new(
    Area::Network,
    "busy polling",
    "A socket that polls its device answers sooner and uses its core more.",
);
const EPHEMERAL: Question = Question::new(
    Area::Network,
    "port range",
    "The kernel gives ports of this range to clients, also a listener's while no broker runs.",
);
const PORTS: Question = Question::new(
    Area::Network,
    "ports",
    "A broker binds all of its listeners or does not start.",
);
const ADVERTISED: Question = Question::new(
    Area::Network,
    "advertised",
    "Clients connect where they are told to, not where they came from.",
);

/// All of them.
pub(super) fn checks(system: &dyn System, config: &BrokerConfig, cores: usize) -> Vec<Check> {
    let listeners = &config.network.listeners;
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    let mut checks = vec![
        judge_backlog(
            system.number("/proc/sys/net/core/somaxconn"),
            system.number("/proc/sys/net/ipv4/tcp_max_syn_backlog"),
        ),
        judge_buffers(
            system.number("/proc/sys/net/core/rmem_max"),
            system.text("/proc/sys/net/ipv4/tcp_rmem").as_deref(),
        ),
        judge_slow_start(system.number("/proc/sys/net/ipv4/tcp_slow_start_after_idle")),
        judge_interfaces(system, cores),
        match system.number("/proc/sys/net/core/busy_poll") {
            None => BUSY_POLL.unknown("this kernel has none"),
            Some(us) => BUSY_POLL.ok(format!(
                "net.core.busy_poll={us}; loopback has nothing to poll"
            )),
        },
        judge_range(
            system
                .text("/proc/sys/net/ipv4/ip_local_port_range")
                .as_deref(),
            &ports,
        ),
    ];
    let addresses = listeners.iter().filter_map(bound);
    checks.extend(addresses.chain(config.engine.admin_listener).map(try_port));
    checks.extend(listeners.iter().map(judge_advertised));
    checks
}

/// Connections that come at once after a restart.
const BACKLOG_WANTED: u64 = 4096;

fn judge_backlog(accept: Option<u64>, half_open: Option<u64>) -> Check {
    let (Some(accept), Some(half_open)) = (accept, half_open) else {
        return BACKLOG.unknown("/proc/sys/net does not say");
    };
    let seen = format!("somaxconn {accept}, tcp_max_syn_backlog {half_open}");
    match accept.min(half_open) >= BACKLOG_WANTED {
        true => BACKLOG.ok(seen),
        false => BACKLOG.warn(
            seen,
            "sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096",
        ),
    }
}

/// 1 GB/s over 4 ms.
const BUFFER_WANTED_BYTES: u64 = 4 << 20;

fn judge_buffers(rmem_max: Option<u64>, tcp_rmem: Option<&str>) -> Check {
    let most = tcp_rmem.and_then(|text| text.split_whitespace().nth(2)?.parse::<u64>().ok());
    let Some(most) = most else {
        return BUFFERS.unknown("/proc/sys/net does not say");
    };
    let asked = rmem_max.unwrap_or(0);
    let seen = format!(
        "tcp_rmem grows to {} KiB, rmem_max {} KiB",
        most >> 10,
        asked >> 10
    );
    match most >= BUFFER_WANTED_BYTES {
        true => BUFFERS.ok(seen),
        false => BUFFERS.warn(seen, "sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'"),
    }
}

fn judge_slow_start(value: Option<u64>) -> Check {
    match value {
        None => SLOW_START.unknown("/proc/sys/net does not say"),
        Some(0) => SLOW_START.ok("not after a pause"),
        Some(_) => SLOW_START.warn(
            "after every pause",
            "sysctl -w net.ipv4.tcp_slow_start_after_idle=0",
        ),
    }
}

fn judge_interfaces(system: &dyn System, cores: usize) -> Check {
    let mut seen = Vec::new();
    let mut has_few = None;
    for name in system.names("/sys/class/net") {
        let dir = format!("/sys/class/net/{name}");
        let state = system.text(&format!("{dir}/operstate")).unwrap_or_default();
        if state == "down" {
            continue;
        }
        let queues = system.names(&format!("{dir}/queues"));
        let receiving = queues
            .iter()
            .filter(|queue| queue.starts_with("rx-"))
            .count();
        let mtu = system.number(&format!("{dir}/mtu")).unwrap_or(0);
        seen.push(format!("{name} mtu {mtu}, {receiving} receive queues"));
        // Only what is on a bus has queues of its own: loopback's and bridges' are none.
        let is_device = !system.names(&format!("{dir}/device")).is_empty();
        if is_device && receiving < cores {
            has_few = Some(name);
        }
    }
    match (seen.is_empty(), has_few) {
        (true, _) => INTERFACES.unknown("/sys/class/net is not readable"),
        (false, None) => INTERFACES.ok(seen.join("; ")),
        (false, Some(name)) => INTERFACES.warn(
            seen.join("; "),
            format!("ethtool -L {name} combined {cores}"),
        ),
    }
}

fn judge_range(range: Option<&str>, ports: &[u16]) -> Check {
    let bounds = range.and_then(|text| {
        let mut words = text.split_whitespace().map(str::parse::<u16>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    let Some((first, last)) = bounds else {
        return EPHEMERAL.unknown("/proc/sys/net does not say");
    };
    match ports.iter().find(|port| (first..=last).contains(port)) {
        Some(port) => EPHEMERAL.warn(
            format!("{first} to {last} has the listener's port {port}"),
            format!("sysctl -w net.ipv4.ip_local_reserved_ports={port}"),
        ),
        None => EPHEMERAL.ok(format!("{first} to {last}, no listener's port")),
    }
}

fn bound(listener: &Listener) -> Option<SocketAddr> {
    let host = match listener.host.is_empty() {
        true => "0.0.0.0",
        false => &listener.host,
    };
    blocking::resolve(host, listener.port)
        .ok()?
        .first()
        .copied()
}

fn try_port(address: SocketAddr) -> Check {
    match housekeeping::Listener::bind(address) {
        Ok(_) => PORTS.ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let who = format!("ss -ltnp 'sport = :{}'", address.port());
            match Client::connect(&address.to_string(), ClientOptions::default()) {
                Ok(_) => PORTS.warn(format!("{address} is taken by a broker that answers"), who),
                Err(_) => PORTS.fail(format!("{address} is taken"), who),
            }
        }
        Err(error) => PORTS.fail(format!("{address}: {error}"), "ip addr"),
    }
}

fn judge_advertised(listener: &Listener) -> Check {
    let own = blocking::host_name();
    let host = listener.advertised_host.as_deref().unwrap_or(&own);
    let port = listener.advertised_port.unwrap_or(listener.port);
    let found = blocking::resolve(host, port).unwrap_or_default();
    let found: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    let is_local = bound(listener).is_some_and(|address| address.ip().is_loopback());
    judge_names(&format!("{host}:{port}"), &found, is_local)
}

fn judge_names(name: &str, found: &[IpAddr], is_local: bool) -> Check {
    let remedy = "advertised.listeners=PLAINTEXT://NAME:PORT with a name that clients resolve";
    match found.first() {
        None => ADVERTISED.fail(format!("{name} does not resolve here"), remedy),
        Some(_) if !is_local && found.iter().all(IpAddr::is_loopback) => {
            ADVERTISED.warn(format!("{name} is loopback here"), remedy)
        }
        Some(address) => ADVERTISED.ok(format!("{name} is {address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::system::Told;
    use super::*;

    #[test]
    fn the_kernels_settings_are_judged() {
        let backlog = |a, b| judge_backlog(Some(a), Some(b)).verdict();
        assert_eq!(backlog(4096, 4096), Verdict::Ok);
        assert_eq!(backlog(4096, 128), Verdict::Warn);
        assert_eq!(judge_backlog(None, None).verdict(), Verdict::Unknown);
        let buffers = |text| judge_buffers(Some(212_992), Some(text)).verdict();
        assert_eq!(buffers("4096\t131072\t6291456"), Verdict::Ok);
        assert_eq!(buffers("4096 131072 200000"), Verdict::Warn);
        assert_eq!(buffers(""), Verdict::Unknown);
        assert_eq!(judge_slow_start(Some(1)).verdict(), Verdict::Warn);
        let range = |ports: &[u16]| judge_range(Some("32768\t60999"), ports).verdict();
        assert_eq!(range(&[9092]), Verdict::Ok);
        assert_eq!(range(&[9092, 40_000]), Verdict::Warn);
    }

    #[test]
    fn queues_count_where_there_is_a_device() {
        let told = Told(&[
            ("/sys/class/net/lo/mtu", "65536"),
            ("/sys/class/net/lo/queues/rx-0/x", ""),
            ("/sys/class/net/eth0/mtu", "1500"),
            ("/sys/class/net/eth0/device/vendor", ""),
            ("/sys/class/net/eth0/queues/rx-0/x", ""),
            ("/sys/class/net/eth0/queues/rx-1/x", ""),
            ("/sys/class/net/eth0/queues/tx-0/x", ""),
            ("/sys/class/net/down0/operstate", "down"),
        ]);
        assert_eq!(judge_interfaces(&told, 2).verdict(), Verdict::Ok);
        let few = judge_interfaces(&told, 4);
        assert_eq!(few.remedy(), Some("ethtool -L eth0 combined 4"));
        assert_eq!(
            few.seen(),
            "eth0 mtu 1500, 2 receive queues; lo mtu 65536, 1 receive queues"
        );
        assert_eq!(judge_interfaces(&Told(&[]), 4).verdict(), Verdict::Unknown);
    }

    #[test]
    fn names_that_lead_nowhere_are_found() {
        let loopback = ["127.0.0.1".parse().expect("an address")];
        let other = ["10.0.0.1".parse().expect("an address")];
        let check = |found: &[IpAddr], is_local, expected| {
            assert_eq!(judge_names("h:1", found, is_local).verdict(), expected);
        };
        check(&[], true, Verdict::Fail);
        check(&loopback, true, Verdict::Ok);
        check(&loopback, false, Verdict::Warn);
        check(&other, false, Verdict::Ok);
    }

    #[test]
    fn a_taken_port_is_found() {
        let address = "127.0.0.1:0".parse().expect("an address");
        let held = housekeeping::Listener::bind(address).expect("any port");
        let taken = held.local_addr().expect("bound");
        drop(held);
        assert_eq!(try_port(taken).verdict(), Verdict::Ok);
    }
}
