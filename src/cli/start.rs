//! `corelog start`, and bare `corelog`: reads the configuration, starts the log, runs the node,
//! and says where it listens.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::arguments::{LogFormatArgument, StartArguments};
use super::failure::Failure;
use super::node::CoreBroker;
use super::screen::counted;
use super::{logging, node, signals};
use crate::config::{
    self, BrokerConfig, BrokerValues, ConfigErrors, Durability, ListenerMode, LogFormat, Sources,
};
use crate::io::{blocking, raise_open_files_limit};
use crate::limits::{CHUNK_FILES_OPEN_MAX, OPEN_FILES_PER_CORE_RESERVED, OPEN_FILES_RESERVED};

/// What a node is started with.
pub struct Settings {
    /// The configuration in force.
    pub config: BrokerConfig,
    /// Where each value comes from, for DescribeConfigs.
    pub values: BrokerValues,
    /// How many log lines were dropped so far, for `/metrics`.
    pub log_lines_dropped: Box<dyn Fn() -> u64 + Send>,
}

/// What a node says of itself once clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The addresses that are bound, in the order of `listeners`.
    pub listeners: Vec<SocketAddr>,
    /// What the clients of each are told to connect to.
    pub advertised: Vec<(Arc<str>, u16)>,
    /// The virtual broker of each core; none where clients are told of one broker.
    pub core_brokers: Vec<CoreBroker>,
    /// Where metrics and health are, if anywhere.
    pub admin: Option<SocketAddr>,
    /// The number of shards.
    pub core_count: usize,
    /// How long each looks for work before it sleeps.
    pub spin: Duration,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Where the data is, from the root.
    pub data_dir: PathBuf,
    /// Whether that place is memory, and its content lost at power off.
    pub is_in_memory: bool,
    /// The cluster's id.
    pub cluster_id: String,
}

/// Runs the command.
pub(super) fn run(arguments: &StartArguments) -> Result<(), Failure> {
    let (values, notices) = load(arguments)?;
    let mut config = config::resolve(values.clone()).map_err(refuse)?;
    let cores_count = node::cores(&config).len();
    config.network.core_ports(cores_count).map_err(refuse)?;
    let format = config.engine.log_format;
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let level = config.engine.log_level.clone();
    let log = logging::start(blocking::stderr(), format, &level, coloured).map_err(|_| {
        Failure::config(format!("corelog.log.level={level} names no level"))
            .try_this("corelog.log.level=info (or error, warn, debug, trace)")
    })?;
    tracing::info!(
        "corelog {} starts: {}, data in {}, durability {}",
        env!("CARGO_PKG_VERSION"),
        counted(cores_count as u64, "core"),
        blocking::absolute(&config.data_dir).display(),
        config.engine.durability.as_str()
    );
    for notice in notices {
        match notice.warning {
            true => tracing::warn!("{}", notice.text),
            false => tracing::info!("{}", notice.text),
        }
    }
    fit_open_files(&mut config)?;
    let stop = signals::stop(arguments.stop_at_end_of_input)?;
    let settings = Settings {
        config,
        values,
        log_lines_dropped: Box::new(log.dropped_lines()),
    };
    let ended = node::run(settings, stop, |ready| announce(ready, arguments, format));
    if ended.is_ok() {
        tracing::info!("stopped");
    }
    ended
}

/// Takes as many open files as the process may have, and admits no more connections than they
/// allow: connections must not leave the log without files.
fn fit_open_files(config: &mut BrokerConfig) -> Result<(), Failure> {
    let files = raise_open_files_limit()
        .map_err(|error| Failure::new(format!("cannot read the limit of open files: {error}")))?;
    let cores = node::cores(config).len() as u64;
    let (room, chunk_files) = share_open_files(files, cores).ok_or_else(|| {
        Failure::new(format!("{files} open files are too few for {cores} cores"))
            .because("the limit of open files (nofile) is low")
            .try_this("ulimit -n 1048576 (systemd: LimitNOFILE=1048576)")
    })?;
    config.engine.chunk_files_open_max = usize::try_from(chunk_files / cores).unwrap_or(0).max(1);
    let wanted = config.network.connections_max;
    config.network.connections_max = wanted.min(i32::try_from(room).unwrap_or(i32::MAX));
    if wanted != i32::MAX && room < wanted as u64 {
        tracing::warn!(
            "max.connections={wanted} needs more open files than {files}: {room} connections are \
             admitted. To raise it: ulimit -n 1048576 (systemd: LimitNOFILE=1048576)"
        );
    } else if room < FEW_CONNECTIONS {
        tracing::warn!(
            "{files} open files allow {room} connections. To raise it: ulimit -n 1048576 \
             (systemd: LimitNOFILE=1048576)"
        );
    }
    Ok(())
}

/// Fewer connections than this deserve a warning even if nobody asked for more.
const FEW_CONNECTIONS: u64 = 1000;

/// How many of the files that may be open are for connections, and how many for chunks; none if
/// there are too few to run at all. Chunks get what they can use, but not more than half.
fn share_open_files(files: u64, cores: u64) -> Option<(u64, u64)> {
    let reserved = OPEN_FILES_RESERVED + cores * OPEN_FILES_PER_CORE_RESERVED;
    let left = files.checked_sub(reserved).filter(|left| *left > 0)?;
    let chunks = (cores * CHUNK_FILES_OPEN_MAX as u64).min(left / 2);
    Some((left - chunks, chunks))
}

/// What a start with these arguments would run with, and what it would remark.
pub(super) fn resolved(
    arguments: &StartArguments,
) -> Result<(BrokerConfig, Vec<config::Notice>), Failure> {
    let (values, notices) = load(arguments)?;
    Ok((config::resolve(values).map_err(refuse)?, notices))
}

fn load(arguments: &StartArguments) -> Result<(BrokerValues, Vec<config::Notice>), Failure> {
    let file = match &arguments.file {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = blocking::read_file(path).map_err(|error| {
                Failure::config(format!("cannot read {name}: {error}"))
                    .try_this("corelog start without a file uses embedded defaults")
            })?;
            let text = String::from_utf8(text)
                .map_err(|_| Failure::config(format!("{name} is not UTF-8 text")))?;
            Some((name, text))
        }
    };
    let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut overrides = arguments.overrides.clone();
    if let Some(format) = arguments.log_format {
        let format = match format {
            LogFormatArgument::Text => "text",
            LogFormatArgument::Json => "json",
        };
        overrides.push(format!("corelog.log.format={format}"));
    }
    let sources = Sources {
        file: file
            .as_ref()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        environment: std::env::vars_os().filter_map(readable).collect(),
        overrides,
    };
    config::load(&sources).map_err(refuse)
}

pub(super) fn refuse(errors: ConfigErrors) -> Failure {
    let ConfigErrors(sentences) = errors;
    match sentences.as_slice() {
        [one] => Failure::config(format!("the configuration cannot be used: {one}")),
        many => Failure::config(format!(
            "the configuration cannot be used:\n  {}",
            many.join("\n  ")
        )),
    }
}

/// Tells people on the standard output, scripts in the file that they asked for. Where the log is
/// for machines, nobody looks at the standard output.
fn announce(ready: &Ready, arguments: &StartArguments, format: LogFormat) -> Result<(), Failure> {
    tracing::info!(
        "listening on {}, advertised as {}, cluster {}",
        bound_text(ready),
        advertised_text(ready),
        ready.cluster_id
    );
    if let Some(text) = core_brokers_text(ready) {
        tracing::info!("clients are sent to the cores: {text}");
    }
    if format == LogFormat::Text {
        let mut out = blocking::stdout();
        // A closed standard output is no reason not to serve.
        let _ = out
            .write_all(banner(ready).as_bytes())
            .and_then(|()| out.flush());
    }
    let resolve = |host: &str, port| {
        let found = blocking::resolve(host, port).unwrap_or_default();
        found.into_iter().map(|address| address.ip()).collect()
    };
    for concern in concerns(ready, resolve) {
        tracing::warn!("{concern}");
    }
    if let Some(path) = &arguments.ready_file {
        blocking::replace_file(path, ready_json(ready).as_bytes())
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}

fn ready_json(ready: &Ready) -> String {
    let mode = match ready.core_brokers.is_empty() {
        true => ListenerMode::Broker,
        false => ListenerMode::Core,
    };
    let object = json!({
        "listeners": address_list(&ready.listeners),
        "advertised": advertised_list(&ready.advertised),
        "mode": mode.as_str(),
        "brokers": ready.core_brokers.iter().map(core_broker_json).collect::<Vec<_>>(),
        "admin": ready.admin.map(|address| address.to_string()),
        "cores": ready.core_count,
        "spin_us": ready.spin.as_micros() as u64,
        "durability": ready.durability.as_str(),
        "data_dir": ready.data_dir.display().to_string(),
        "in_memory": ready.is_in_memory,
        "cluster_id": ready.cluster_id,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    format!("{object}\n")
}

fn bound_text(ready: &Ready) -> String {
    address_list(&ready.listeners).join(", ")
}

fn address_list(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

fn core_broker_json(broker: &CoreBroker) -> serde_json::Value {
    json!({
        "id": broker.id.0,
        "listeners": address_list(&broker.addresses),
        "advertised": advertised_list(&broker.advertised),
    })
}

/// The virtual brokers, the first and the last, if there are any.
fn core_brokers_text(ready: &Ready) -> Option<String> {
    let text = |broker: &CoreBroker| {
        let advertised = advertised_list(&broker.advertised).join(" and ");
        format!("broker {} at {advertised}", broker.id.0)
    };
    let (first, last) = (ready.core_brokers.first()?, ready.core_brokers.last()?);
    Some(match ready.core_brokers.len() {
        1 => text(first),
        _ => format!("{} to {}", text(first), text(last)),
    })
}

fn advertised_list(advertised: &[(Arc<str>, u16)]) -> Vec<String> {
    let text = |(host, port): &(Arc<str>, u16)| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    advertised.iter().map(text).collect()
}

fn advertised_text(ready: &Ready) -> String {
    advertised_list(&ready.advertised).join(", ")
}

/// What the operator should know, though clients are served.
fn concerns(ready: &Ready, resolve: impl Fn(&str, u16) -> Vec<IpAddr>) -> Vec<String> {
    let mut concerns = Vec::new();
    if ready.is_in_memory {
        concerns.push(format!(
            "the data directory {} is memory (tmpfs): everything is lost at power off, whatever \
             corelog.durability says. A disk: log.dirs=/other/path",
            ready.data_dir.display()
        ));
    }
    for (address, (host, port)) in ready.listeners.iter().zip(&ready.advertised) {
        if address.ip().is_loopback() {
            continue;
        }
        let open = match address.ip().is_unspecified() {
            true => "every interface of this machine",
            false => "the network",
        };
        concerns.push(format!(
            "{address} is open to {open}, and there is no authentication yet: whoever reaches it \
             may read, write and delete everything"
        ));
        let found = resolve(host, *port);
        if found.iter().all(IpAddr::is_loopback) {
            let what = match found.is_empty() {
                true => "which this machine cannot resolve",
                false => "which is loopback on this machine",
            };
            concerns.push(format!(
                "clients of {address} are told to connect to {host}:{port}, {what}; for clients \
                 on other machines: advertised.listeners=PLAINTEXT://NAME:{port}"
            ));
        }
    }
    concerns
}

fn banner(ready: &Ready) -> String {
    let first = ready.listeners.first();
    let first = first.map_or(String::new(), |address| reachable(*address));
    let meaning = match (ready.is_in_memory, ready.durability) {
        (true, _) => "BUT the data directory is memory (tmpfs): all is lost at power off",
        (false, Durability::Sync) => "acknowledged records survive a power cut",
        (false, Durability::Written) => {
            "acknowledged records survive a killed process, not a power cut"
        }
    };
    let admin = match ready.admin {
        Some(address) => format!("http://{}/metrics", reachable(address)),
        None => "not served".to_string(),
    };
    let by_core = core_brokers_text(ready).map(|text| format!("  by core     {text}\n"));
    let port = match first.rsplit_once(':') {
        Some((_, "9092")) => String::new(),
        _ => format!(" -b {first}"),
    };
    format!(
        "\
corelog {version} listens on {bound}
  advertised  {advertised}
{by_core}  data        {data} (cluster {cluster}, {cores})
  durability  {durability}: {meaning}
  metrics     {admin}
  log         on stderr

Lines to paste:
  echo hello | kcat -P -b {first} -t greetings
  kcat -C -b {first} -t greetings -e
  kafka-topics.sh --bootstrap-server {first} --list
  kafka-console-consumer.sh --bootstrap-server {first} --topic greetings --from-beginning
  corelog topic list{port}
",
        version = env!("CARGO_PKG_VERSION"),
        bound = bound_text(ready),
        advertised = advertised_text(ready),
        by_core = by_core.unwrap_or_default(),
        data = ready.data_dir.display(),
        cluster = ready.cluster_id,
        cores = counted(ready.core_count as u64, "core"),
        durability = ready.durability.as_str(),
    )
}

/// An address that a client on this machine can use: one that stands for all is replaced.
fn reachable(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeId;

    fn ready() -> Ready {
        Ready {
            listeners: vec![SocketAddr::from(([127, 0, 0, 1], 9092))],
            advertised: vec![("127.0.0.1".into(), 9092)],
            core_brokers: Vec::new(),
            admin: Some(SocketAddr::from(([0, 0, 0, 0], 9644))),
            core_count: 4,
            spin: Duration::from_micros(50),
            durability: Durability::Sync,
            data_dir: PathBuf::from("/srv/corelog-data"),
            is_in_memory: false,
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".to_string(),
        }
    }

    #[test]
    fn the_banner_says_where_and_how_durable_and_what_to_paste() {
        let expected = format!(
            "\
corelog {} listens on 127.0.0.1:9092
  advertised  127.0.0.1:9092
  data        /srv/corelog-data (cluster AAAAAAAAAAAAAAAAAAAAAQ, 4 cores)
  durability  sync: acknowledged records survive a power cut
  metrics     http://localhost:9644/metrics
  log         on stderr

Lines to paste:
  echo hello | kcat -P -b 127.0.0.1:9092 -t greetings
  kcat -C -b 127.0.0.1:9092 -t greetings -e
  kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --list
  kafka-console-consumer.sh --bootstrap-server 127.0.0.1:9092 --topic greetings --from-beginning
  corelog topic list
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(banner(&ready()), expected);
        let elsewhere = Ready {
            listeners: vec![SocketAddr::from(([0, 0, 0, 0], 19092))],
            advertised: vec![("me.example".into(), 19092)],
            admin: None,
            is_in_memory: true,
            ..ready()
        };
        let banner = banner(&elsewhere);
        for line in [
            "listens on 0.0.0.0:19092\n",
            "advertised  me.example:19092\n",
            "sync: BUT the data directory is memory (tmpfs): all is lost at power off\n",
        ] {
            assert!(banner.contains(line), "{banner}");
        }
        assert!(
            banner.contains("corelog topic list -b localhost:19092\n"),
            "{banner}"
        );
        assert!(banner.contains("metrics     not served\n"), "{banner}");
    }

    #[test]
    fn virtual_brokers_are_told_to_people_and_scripts() {
        let broker = |core: u16| CoreBroker {
            id: NodeId(1_010_000 + i32::from(core)),
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9093 + core))],
            advertised: vec![("::1".into(), 9093 + core)],
        };
        let ready = Ready {
            core_brokers: (0..4).map(broker).collect(),
            ..ready()
        };
        let banner = banner(&ready);
        let line = "\n  by core     broker 1010000 at [::1]:9093 to broker 1010003 at [::1]:9096\n";
        assert!(banner.contains(line), "{banner}");
        let value: serde_json::Value = serde_json::from_str(&ready_json(&ready)).expect("JSON");
        assert_eq!(value["mode"], "core");
        assert_eq!(value["brokers"][3]["id"], 1_010_003);
        assert_eq!(value["brokers"][3]["listeners"][0], "127.0.0.1:9096");
        assert_eq!(value["brokers"][3]["advertised"][0], "[::1]:9096");
    }

    #[test]
    fn what_is_open_unreachable_or_forgetful_is_a_concern() {
        let check = |ready: Ready, found: &[[u8; 4]], expected: &[&str]| {
            let resolve = |_: &str, _| found.iter().copied().map(IpAddr::from).collect();
            let concerns = concerns(&ready, resolve);
            assert_eq!(concerns.len(), expected.len(), "{concerns:?}");
            for (concern, part) in concerns.iter().zip(expected) {
                assert!(concern.contains(part), "{concern}");
            }
        };
        let open = |address: [u8; 4]| Ready {
            listeners: vec![SocketAddr::from((address, 9092))],
            advertised: vec![("me.example".into(), 9092)],
            ..ready()
        };
        check(ready(), &[], &[]);
        let in_memory = Ready {
            is_in_memory: true,
            ..ready()
        };
        check(in_memory, &[], &["is memory (tmpfs)"]);
        let every = "open to every interface";
        check(open([0; 4]), &[[10, 0, 0, 1]], &[every]);
        check(open([0; 4]), &[[127, 0, 0, 1], [10, 0, 0, 1]], &[every]);
        check(
            open([0; 4]),
            &[[127, 0, 0, 1]],
            &[every, "loopback on this machine"],
        );
        check(
            open([10, 0, 0, 1]),
            &[],
            &["open to the network", "cannot resolve"],
        );
    }

    #[test]
    fn connections_get_what_chunks_and_the_node_leave() {
        let plenty = Some(((1 << 20) - 64 - 128 - 4096, 4096));
        assert_eq!(share_open_files(1 << 20, 4), plenty);
        assert_eq!(share_open_files(1024, 4), Some((416, 416)));
        assert_eq!(share_open_files(193, 4), Some((1, 0)));
        assert_eq!(share_open_files(192, 4), None);
        assert_eq!(share_open_files(0, 1), None);
    }

    #[test]
    fn scripts_read_the_addresses_from_the_ready_file() {
        let value: serde_json::Value = serde_json::from_str(&ready_json(&ready())).expect("JSON");
        assert_eq!(value["listeners"][0], "127.0.0.1:9092");
        assert_eq!(value["admin"], "0.0.0.0:9644");
        assert_eq!(value["durability"], "sync");
        assert_eq!(value["spin_us"], 50);
        assert_eq!(value["mode"], "broker");
        assert_eq!(value["pid"], std::process::id());
    }

    #[test]
    fn a_bad_configuration_is_refused_with_every_sentence() {
        let arguments = StartArguments {
            overrides: vec!["num.partitions=0".into(), "nonsense".into()],
            ..StartArguments::default()
        };
        let failure = load(&arguments).expect_err("refused");
        assert_eq!(failure.exit(), super::super::failure::Exit::Config);
        let text = failure.to_string();
        assert!(
            text.contains("num.partitions") && text.contains("nonsense"),
            "{text}"
        );
    }
}
