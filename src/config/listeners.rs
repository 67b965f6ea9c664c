//! `listeners`, `advertised.listeners` and what belongs to them, joined into one list.

use std::net::IpAddr;
use std::sync::Arc;

use super::broker::Listener;
use super::core_ports::{self, CorePorts};

/// The keys that listeners are made of, as texts.
pub(super) struct ListenerKeys<'a> {
    /// `listeners`.
    pub(super) listeners: &'a [String],
    /// `advertised.listeners`, when set.
    pub(super) advertised: Option<&'a [String]>,
    /// `listener.security.protocol.map`.
    pub(super) protocols: &'a str,
    /// `controller.listener.names`.
    pub(super) controllers: &'a [String],
    /// `inter.broker.listener.name`, when set.
    pub(super) inter_broker: Option<&'a str>,
    /// `corelog.listener.core.ports`.
    pub(super) core_ports: &'a [String],
}

/// Joins the keys; every sentence of the error names the key and the value that is wrong.
pub(super) fn join(keys: &ListenerKeys<'_>) -> Result<Vec<Listener>, Vec<String>> {
    let mut errors = Vec::new();
    let bound = endpoints("listeners", keys.listeners, &mut errors);
    let advertised = endpoints(
        "advertised.listeners",
        keys.advertised.unwrap_or(&[]),
        &mut errors,
    );
    let is_controller = |name: &str| {
        keys.controllers
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    check_unique(&bound, &mut errors);
    check_advertised(&bound, &advertised, is_controller, &mut errors);
    let mut listeners = Vec::new();
    for endpoint in bound {
        // A controller's listener serves other controllers, and there are none.
        if is_controller(&endpoint.name) {
            continue;
        }
        check_protocol(&endpoint.name, keys.protocols, &mut errors);
        let public = advertised.iter().find(|other| other.name == endpoint.name);
        let bound_host = Some(&endpoint.host).filter(|host| !is_every_interface(host));
        let advertised_host = public.map(|other| &other.host).or(bound_host);
        let advertised_port = public.map(|other| other.port).filter(|port| *port != 0);
        listeners.push(Listener {
            advertised_host: advertised_host.map(|host| Arc::from(host.as_str())),
            advertised_port: advertised_port.or(Some(endpoint.port).filter(|port| *port != 0)),
            name: Arc::from(endpoint.name.as_str()),
            host: Arc::from(endpoint.host.as_str()),
            port: endpoint.port,
            core_ports: CorePorts::behind(endpoint.port),
        });
    }
    core_ports::set(&mut listeners, keys.core_ports, &mut errors);
    if listeners.is_empty() && errors.is_empty() {
        errors.push(format!(
            "Invalid value {} for configuration listeners: allowed is at least one listener that \
             controller.listener.names does not name",
            keys.listeners.join(",")
        ));
    }
    if let Some(name) = keys.inter_broker
        && !listeners
            .iter()
            .any(|listener| listener.name.eq_ignore_ascii_case(name))
        && errors.is_empty()
    {
        errors.push(format!(
            "Invalid value {name} for configuration inter.broker.listener.name: allowed is the \
             name of one of listeners"
        ));
    }
    if errors.is_empty() {
        Ok(listeners)
    } else {
        Err(errors)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

fn endpoints(key: &str, texts: &[String], errors: &mut Vec<String>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for text in texts {
        match endpoint(text) {
            Some(endpoint) => endpoints.push(endpoint),
            None => errors.push(format!(
                "Invalid value {text} for configuration {key}: allowed is NAME://host:port with \
                 a port from 0 to 65535, for example PLAINTEXT://127.0.0.1:9092"
            )),
        }
    }
    endpoints
}

/// Reads `NAME://host:port`; an IPv6 address stands in brackets.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, rest) = text.split_once("://")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(legal) {
        return None;
    }
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    if !host.chars().all(|c| legal(c) || c == ':' || c == '%') {
        return None;
    }
    let port = port.parse().ok()?;
    Some(Endpoint {
        name: name.to_ascii_uppercase(),
        host: host.to_string(),
        port,
    })
}

fn is_every_interface(host: &str) -> bool {
    host.is_empty()
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified())
}

fn check_unique(bound: &[Endpoint], errors: &mut Vec<String>) {
    for (index, endpoint) in bound.iter().enumerate() {
        for other in &bound[..index] {
            if endpoint.name == other.name {
                errors.push(format!(
                    "Invalid value for configuration listeners: {} stands twice; allowed is each \
                     name once",
                    endpoint.name
                ));
            }
            let same_port = endpoint.port == other.port && endpoint.port != 0;
            if same_port && !is_pair_of_families(&endpoint.host, &other.host) {
                errors.push(format!(
                    "Invalid value for configuration listeners: port {} stands twice; allowed is \
                     each port once, or once for IPv4 and once for IPv6",
                    endpoint.port
                ));
            }
        }
    }
}

pub(super) fn is_pair_of_families(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.is_ipv4() != other.is_ipv4(),
        (Ok(_), Err(_)) | (Err(_), _) => false,
    }
}

/// Where a controller would be found concerns nobody: its listener may be missing, as it is when
/// `--override listeners=` replaces those of a stock file.
fn check_advertised(
    bound: &[Endpoint],
    advertised: &[Endpoint],
    is_controller: impl Fn(&str) -> bool,
    errors: &mut Vec<String>,
) {
    for endpoint in advertised
        .iter()
        .filter(|endpoint| !is_controller(&endpoint.name))
    {
        if !bound.iter().any(|other| other.name == endpoint.name) {
            errors.push(format!(
                "Invalid value {}://{}:{} for configuration advertised.listeners: allowed are \
                 the names of listeners",
                endpoint.name, endpoint.host, endpoint.port
            ));
        }
        if is_every_interface(&endpoint.host) {
            errors.push(format!(
                "Invalid value {}://{}:{} for configuration advertised.listeners: allowed is an \
                 address or a name that clients can connect to",
                endpoint.name, endpoint.host, endpoint.port
            ));
        }
    }
}

fn check_protocol(name: &str, protocols: &str, errors: &mut Vec<String>) {
    let mut pairs = protocols.split(',').filter_map(|pair| pair.split_once(':'));
    let protocol = pairs.find(|(other, _)| other.trim().eq_ignore_ascii_case(name));
    match protocol.map(|(_, protocol)| protocol.trim()) {
        Some(protocol) if protocol.eq_ignore_ascii_case("PLAINTEXT") => {}
        Some(protocol) => errors.push(format!(
            "Unsupported security protocol {protocol} of listener {name} in configuration \
             listener.security.protocol.map: allowed is PLAINTEXT; TLS and SASL are not served yet"
        )),
        None => errors.push(format!(
            "Invalid value {protocols} for configuration listener.security.protocol.map: allowed \
             is a map that names the security protocol of every listener, and it lacks {name}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT_MAP: &str = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL";

    /// `keys` is listeners, advertised.listeners, map, controller.listener.names, inter-broker.
    fn check(keys: [&str; 5], expected: Result<&[&str], &[&str]>) {
        let split = |text: &str| -> Vec<String> {
            text.split(',')
                .filter(|t| !t.is_empty())
                .map(str::to_string)
                .collect()
        };
        let (listeners, advertised, controllers) = (split(keys[0]), split(keys[1]), split(keys[3]));
        let found = join(&ListenerKeys {
            listeners: &listeners,
            advertised: (!advertised.is_empty()).then_some(&advertised),
            protocols: keys[2],
            controllers: &controllers,
            inter_broker: (!keys[4].is_empty()).then_some(keys[4]),
            core_ports: &[],
        });
        let found = found.map(|listeners| {
            let show = |listener: &Listener| {
                let (host, port) = (&listener.advertised_host, listener.advertised_port);
                let (host, port) = (host.as_deref().unwrap_or("-"), port.unwrap_or(0));
                format!(
                    "{} {}:{} {host}:{port}",
                    listener.name, listener.host, listener.port
                )
            };
            listeners.iter().map(show).collect::<Vec<_>>()
        });
        let own = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(found, expected.map(own).map_err(own), "{keys:?}");
    }

    #[test]
    fn listeners_and_what_clients_are_told_are_joined() {
        check(
            ["PLAINTEXT://:9092", "", DEFAULT_MAP, "", ""],
            Ok(&["PLAINTEXT :9092 -:9092"]),
        );
        check(
            ["plaintext://[::1]:0", "", DEFAULT_MAP, "", ""],
            Ok(&["PLAINTEXT ::1:0 ::1:0"]),
        );
        check(
            [
                "PLAINTEXT://0.0.0.0:9092",
                "PLAINTEXT://me.example:19092",
                DEFAULT_MAP,
                "",
                "",
            ],
            Ok(&["PLAINTEXT 0.0.0.0:9092 me.example:19092"]),
        );
        check(
            [
                "A://127.0.0.1:9092,B://[::1]:9092",
                "",
                "A:PLAINTEXT,B:PLAINTEXT",
                "",
                "b",
            ],
            Ok(&["A 127.0.0.1:9092 127.0.0.1:9092", "B ::1:9092 ::1:9092"]),
        );
    }

    #[test]
    fn a_combined_nodes_file_opens_its_broker_listener_only() {
        check(
            [
                "PLAINTEXT://:9092,CONTROLLER://:9093",
                "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL",
                "CONTROLLER",
                "PLAINTEXT",
            ],
            Ok(&["PLAINTEXT :9092 localhost:9092"]),
        );
        check(
            [
                "PLAINTEXT://127.0.0.1:19092",
                "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "CONTROLLER",
                "",
            ],
            Ok(&["PLAINTEXT 127.0.0.1:19092 localhost:9092"]),
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(
            ["9092", "", DEFAULT_MAP, "", ""],
            Err(&[
                "Invalid value 9092 for configuration listeners: allowed is NAME://host:port with a \
             port from 0 to 65535, for example PLAINTEXT://127.0.0.1:9092",
            ]),
        );
        check(
            ["SSL://:9092", "", DEFAULT_MAP, "", ""],
            Err(&[
                "Unsupported security protocol SSL of listener SSL in configuration \
             listener.security.protocol.map: allowed is PLAINTEXT; TLS and SASL are not served yet",
            ]),
        );
        check(
            ["X://:9092", "", "A:PLAINTEXT", "", ""],
            Err(&[
                "Invalid value A:PLAINTEXT for configuration listener.security.protocol.map: allowed \
             is a map that names the security protocol of every listener, and it lacks X",
            ]),
        );
        check(
            ["PLAINTEXT://:1,PLAINTEXT://:1", "", DEFAULT_MAP, "", ""],
            Err(&[
                "Invalid value for configuration listeners: PLAINTEXT stands twice; allowed is each \
             name once",
                "Invalid value for configuration listeners: port 1 stands twice; allowed is each \
             port once, or once for IPv4 and once for IPv6",
            ]),
        );
        check(
            [
                "PLAINTEXT://:1",
                "PLAINTEXT://0.0.0.0:1,Y://h:1",
                DEFAULT_MAP,
                "",
                "",
            ],
            Err(&[
                "Invalid value PLAINTEXT://0.0.0.0:1 for configuration advertised.listeners: allowed \
             is an address or a name that clients can connect to",
                "Invalid value Y://h:1 for configuration advertised.listeners: allowed are the names \
             of listeners",
            ]),
        );
        check(
            ["C://:1", "", "C:PLAINTEXT", "C", ""],
            Err(&[
                "Invalid value C://:1 for configuration listeners: allowed is at least one listener \
             that controller.listener.names does not name",
            ]),
        );
        check(
            ["PLAINTEXT://:1", "", DEFAULT_MAP, "", "other"],
            Err(&[
                "Invalid value other for configuration inter.broker.listener.name: allowed is the \
             name of one of listeners",
            ]),
        );
    }

    #[test]
    fn bad_endpoints_are_refused() {
        for text in [
            "",
            "A://",
            "A://h",
            "A://h:x",
            "A://h:65536",
            "://h:1",
            "A://::1:1",
            "é://h:1",
        ] {
            assert_eq!(endpoint(text), None, "{text:?}");
        }
    }
}
