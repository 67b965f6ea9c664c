//! A running node: the cores, their listeners, and the way down.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::failure::Failure;
use super::screen::counted;
use super::signals::Stop;
use super::start::{self, Settings};
use crate::admin::{self, Admin, Housekeeping};

use crate::config::{BrokerConfig, BrokerIds, ConfigErrors, PortsOfCores, SharedConfig};
use crate::handlers::Entrance;
use crate::io::housekeeping::{self, Listener};
use crate::io::sync::watch;
use crate::io::{self, CoreSpec, TcpListener, blocking};
use crate::limits::{CORES_MAX, GRACEFUL_STOP_MS_MAX, PORT_RELEASE_MS_MAX};
use crate::metrics::{Board, NodeFacts};
use crate::model::{CoreId, NodeId};
use crate::net::{self, Admission, Server};
use crate::protocol::{ApiKey, ErrorCode};
use crate::shard::{AdvertisedListener, Launch, Shard, StartError};

/// The pause between two looks at a port that is taken.
const PORT_RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// What a node says when it serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The bound address of each listener, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// What clients of each listener are told.
    pub advertised: Vec<(Arc<str>, u16)>,
    /// The virtual broker of each core; none where clients are told of one broker.
    pub core_brokers: Vec<CoreBroker>,
    /// The number of cores.
    pub cores_count: usize,
    /// `cluster.id`.
    pub cluster_id: Arc<str>,
}

/// A core's virtual broker, and how it is reached by way of each listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreBroker {
    /// The id that clients are told.
    pub id: NodeId,
    /// The bound addresses, in the order of the listeners.
    pub addresses: Vec<SocketAddr>,
    /// What clients of each listener are told.
    pub advertised: Vec<(Arc<str>, u16)>,
}

/// Why a node ended other than by being told to.
#[derive(Debug)]
pub enum NodeError {
    /// The shards do not start.
    Start(StartError),
    /// The cores have no ports that they could listen on.
    Config(ConfigErrors),
    /// A listener's host does not resolve, or its address cannot be bound.
    Bind {
        /// The address as configured.
        address: String,
        /// Whether it is the port of a core, not of a listener.
        is_of_core: bool,
        /// What the system said.
        error: io::Error,
    },
    /// The cores cannot run: no io_uring, no memory for rings.
    Cores(io::Error),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Start(error) => error.fmt(f),
            NodeError::Config(errors) => errors.fmt(f),
            NodeError::Bind {
                address,
                is_of_core,
                error,
            } => {
                let whose = if *is_of_core {
                    ", the port of a core"
                } else {
                    ""
                };
                write!(f, "cannot listen on {address}{whose}: {error}.")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse if *is_of_core => write!(
                        f,
                        "\n  likely cause: another program listens there; with \
                         corelog.listener.mode=core each core has a port, by default behind the \
                         listener's\n  to see which: ss -ltnp 'sport = :{}'\n  to use others: \
                         corelog start --override corelog.listener.core.ports=FIRST..LAST",
                        address.rsplit(':').next().unwrap_or_default()
                    ),
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "\n  likely cause: another broker listens there\n  to see which: ss -ltnp \
                         'sport = :{}'\n  to start a second one on this machine: {SECOND_BROKER}",
                        address.rsplit(':').next().unwrap_or_default()
                    ),
                    io::ErrorKind::AddrNotAvailable => write!(
                        f,
                        "\n  likely cause: no interface of this machine has that address\n  to see \
                         them: ip addr"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "\n  likely cause: ports below 1024 are for root\n  to use another port: \
                         corelog start --override listeners=PLAINTEXT://127.0.0.1:9092"
                    ),
                    _ => Ok(()),
                }
            }
            NodeError::Cores(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NodeError {}

/// All that two brokers on one machine must not share, in one command.
const SECOND_BROKER: &str = "corelog start --override listeners=PLAINTEXT://127.0.0.1:9192 \
     --override corelog.admin.listener=127.0.0.1:9744 --override log.dirs=./corelog-data-2";

/// The cores that a configuration asks for, each with the CPU that it is pinned to.
pub fn cores(config: &BrokerConfig) -> Vec<CoreSpec> {
    let available = io::available_cpus();
    let cpus: Vec<usize> = match config.engine.cpus.is_empty() {
        true => available,
        false => config.engine.cpus.iter().map(|cpu| *cpu as usize).collect(),
    };
    let wanted = usize::try_from(config.engine.cores).unwrap_or(0);
    let count = if wanted == 0 { cpus.len() } else { wanted }.clamp(1, CORES_MAX);
    // More cores than CPUs share them, and pinning would only get in the way.
    let pinned = config.engine.pin_cores && count <= cpus.len();
    (0..count)
        .map(|core| CoreSpec {
            id: CoreId(core as u16),
            cpu: pinned.then(|| cpus[core]),
            spin: config.engine.spin,
        })
        .collect()
}

/// Runs the node of a command until `stop` turns true: opens the data directory, recovers,
/// listens, calls `on_ready`, serves metrics and clients, and stops gracefully.
pub(super) fn run(
    settings: Settings,
    stop: Stop,
    on_ready: impl FnOnce(&start::Ready) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Settings {
        config,
        log_lines_dropped,
        ..
    } = settings;
    let config = Arc::new(config);
    let cores = cores(&config);
    refuse_taken_ports(&config, cores.len()).map_err(|error| Failure::new(error.to_string()))?;
    let board = Board::new(cores.len());
    // Before anything is opened: a port that is taken costs no recovery, and whoever asks during
    // one is told that the node is not ready.
    let admin = start_admin(&config, board.clone(), log_lines_dropped)?;
    let (sender, receiver) = mpsc::channel();
    let (shared, for_cores) = (config.clone(), board.clone());
    let node = io::spawn_thread("node", move || {
        serve_until(shared, for_cores, &cores, stop, move |ready| {
            // The receiver waits for this.
            let _ = sender.send(ready.clone());
        })
    })?;
    // Without a message the node has ended before it served; its result says why.
    if let Ok(ready) = receiver.recv() {
        on_ready(&start::Ready {
            listeners: ready.addresses,
            advertised: ready.advertised,
            core_brokers: ready.core_brokers,
            admin: admin.as_ref().map(Admin::address),
            core_count: ready.cores_count,
            spin: config.engine.spin,
            durability: config.engine.durability,
            data_dir: blocking::absolute(&config.data_dir),
            is_in_memory: blocking::lies_in_memory(&config.data_dir),
            cluster_id: ready.cluster_id.to_string(),
        })?;
    }
    let ended = node
        .join()
        .map_err(|_| Failure::new("a core has panicked; see the log"))?;
    drop(admin);
    ended.map_err(|error| Failure::new(error.to_string()))
}

/// The cores bind their sockets with SO_REUSEPORT, which would let a second broker of the same user
/// share a port with the first and take half of its connections. A socket without it is refused.
fn refuse_taken_ports(config: &BrokerConfig, cores_count: usize) -> Result<(), NodeError> {
    let ports = config.network.core_ports(cores_count);
    let ports = ports.map_err(NodeError::Config)?;
    for (listener, of_cores) in resolve(config)?.into_iter().zip(ports) {
        let of_cores = of_cores
            .bound
            .iter()
            .map(|port| (at_port(listener, *port), true));
        for (address, is_of_core) in std::iter::once((listener, false)).chain(of_cores) {
            if address.port() != 0 {
                await_free(address).map_err(|error| NodeError::Bind {
                    address: address.to_string(),
                    is_of_core,
                    error,
                })?;
            }
        }
    }
    Ok(())
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// Waits a moment for an address that is taken. A broker that was killed just now may still listen:
/// the kernel ends its rings, which hold its sockets, after the process is gone.
fn await_free(address: SocketAddr) -> io::Result<()> {
    let deadline = housekeeping::now() + Duration::from_millis(PORT_RELEASE_MS_MAX);
    loop {
        match Listener::bind(address) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && housekeeping::now() < deadline =>
            {
                blocking::sleep(PORT_RELEASE_PAUSE);
            }
            bound => return bound.map(|_| ()),
        }
    }
}

fn start_admin(
    config: &BrokerConfig,
    board: Board,
    log_lines_dropped: Box<dyn Fn() -> u64 + Send>,
) -> Result<Option<Admin>, Failure> {
    let Some(address) = config.engine.admin_listener else {
        return Ok(None);
    };
    let facts = NodeFacts {
        version: env!("CARGO_PKG_VERSION"),
        node_id: config.node_id.0,
        durability: config.engine.durability.as_str(),
        api_name: |key| ApiKey::from_code(key).map(ApiKey::name),
        error_name: |code| ErrorCode::from_code(code).map(ErrorCode::name),
    };
    let housekeeping = Housekeeping {
        board,
        facts,
        log_lines_dropped,
    };
    let started = admin::start(address, housekeeping).map_err(|error| {
        let failure = Failure::new(format!("cannot serve metrics on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure
                .because("another broker listens there")
                .try_this(SECOND_BROKER),
            _ => failure.try_this(
                "corelog start --override corelog.admin.listener=127.0.0.1:0 (or an empty value \
                 for none)",
            ),
        }
    })?;
    Ok(Some(started))
}

/// Runs a node's cores until `stop` turns true. `ready` is called once, on a core, when all
/// listeners accept.
pub fn serve_until(
    config: SharedConfig,
    board: Board,
    cores: &[CoreSpec],
    stop: watch::Receiver<bool>,
    ready: impl Fn(&Ready) + Send + Sync + 'static,
) -> Result<(), NodeError> {
    let core_ports = config.network.core_ports(cores.len());
    let core_ports = core_ports.map_err(NodeError::Config)?;
    let launch = Launch::new(config, board, cores.len());
    let node = Arc::new(Node {
        launch: launch.clone(),
        core_ports,
        bound: watch::Sender::new(Bound {
            core_addresses: vec![Vec::new(); cores.len()],
            ..Bound::default()
        }),
        admission: Admission::new(launch.config(), cores.len()),
        error: Mutex::new(None),
        stop,
        ready: Box::new(ready),
    });
    let shared = node.clone();
    let ran = io::run(cores, move |core| serve(shared.clone(), core));
    if let Some(error) = node
        .error
        .lock()
        .expect("no core panics while it holds it")
        .take()
    {
        return Err(error);
    }
    if let Some(error) = launch.error() {
        return Err(NodeError::Start(error));
    }
    ran.map_err(NodeError::Cores)
}

/// What the cores share beside the shards.
struct Node {
    launch: Arc<Launch>,
    /// For each listener.
    core_ports: Vec<PortsOfCores>,
    bound: watch::Sender<Bound>,
    admission: Arc<Admission>,
    error: Mutex<Option<NodeError>>,
    stop: watch::Receiver<bool>,
    ready: Box<dyn Fn(&Ready) + Send + Sync>,
}

/// How far the listeners are.
#[derive(Clone, Debug, Default)]
struct Bound {
    /// Set by core 0, which learns the ports that the system chose.
    addresses: Option<Vec<SocketAddr>>,
    /// For each core, the ports of its own at each listener.
    core_addresses: Vec<Vec<SocketAddr>>,
    cores_count: usize,
    drained_count: usize,
    failed: bool,
}

impl Node {
    fn fail(&self, error: NodeError) {
        let mut first = self.error.lock().expect("no core panics while it holds it");
        first.get_or_insert(error);
        self.bound.send_modify(|bound| bound.failed = true);
    }

    /// Waits for all cores; false if one has failed.
    async fn all(&self, reached: impl Fn(&Bound) -> bool) -> bool {
        let mut bound = self.bound.subscribe();
        let waited = bound.wait_for(|now| now.failed || reached(now)).await;
        waited.is_ok_and(|now| !now.failed)
    }
}

async fn serve(node: Arc<Node>, core: CoreId) {
    let begin = io::now();
    // The core that failed has left its error in the launch.
    let Ok(shard) = Shard::open(node.launch.clone(), core).await else {
        return;
    };
    let cores_count = node.launch.cores_count();
    let config = node.launch.config().clone();
    if core.0 == 0 {
        let time = io::now() - begin;
        let (topics, partitions) =
            shard.with_image(|image| (image.topics().count(), image.partitions_count()));
        tracing::info!(
            "recovered {} in {} ms: {}, {}, on {}",
            config.data_dir.display(),
            time.as_millis(),
            counted(topics as u64, "topic"),
            counted(partitions as u64, "partition"),
            counted(cores_count as u64, "core")
        );
    }
    let admission = node.admission.clone();
    let server = Server::new(shard.clone(), config, core, cores_count, admission);
    // No one accepts before all have bound: what clients are told names the ports of all cores.
    if let Some(sockets) = listen(&node, core).await
        && node.all(|bound| bound.cores_count == cores_count).await
    {
        node.launch.set_advertised(|| advertised(&node));
        for (socket, entrance) in sockets {
            io::spawn(server.clone().accept(socket, entrance)).detach();
        }
        if core.0 == 0 {
            announce(&node, &shard);
        }
        // The sender lives as long as the process; its end is a stop as well.
        let _ = node.stop.clone().wait_for(|stop| *stop).await;
    }
    node.launch.board().set_ready(false);
    // Who waits for a log that is not open yet is told at once.
    shard.stop_opening();
    let patience = Duration::from_millis(GRACEFUL_STOP_MS_MAX);
    if io::timeout(patience, server.stop()).await.is_none() {
        tracing::warn!("connections that still waited for an answer are cut");
    }
    // Requests of other cores are served until every core has drained.
    node.bound.send_modify(|bound| bound.drained_count += 1);
    let mut bound = node.bound.subscribe();
    let _ = bound.wait_for(|now| now.drained_count == cores_count).await;
    shard.close().await;
}

/// Binds this core's listeners, and the ports that are its own. None if that is not possible.
async fn listen(node: &Node, core: CoreId) -> Option<Vec<(TcpListener, Entrance)>> {
    let addresses = if core.0 == 0 {
        match resolve(node.launch.config()) {
            Ok(addresses) => addresses,
            Err(error) => {
                node.fail(error);
                return None;
            }
        }
    } else {
        if !node.all(|bound| bound.addresses.is_some()).await {
            return None;
        }
        let bound = node.bound.borrow();
        bound.addresses.clone().expect("core 0 has bound them")
    };
    let (mut sockets, mut bound, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for (listener, (address, ports)) in addresses.iter().zip(&node.core_ports).enumerate() {
        let socket = bind(node, *address, false).await?;
        bound.push(socket.local_addr());
        let is_of_core = false;
        sockets.push((
            socket,
            Entrance {
                listener,
                is_of_core,
            },
        ));
        if let Some(port) = ports.bound.get(usize::from(core.0)) {
            let socket = bind(node, at_port(*address, *port), true).await?;
            own.push(socket.local_addr());
            let is_of_core = true;
            sockets.push((
                socket,
                Entrance {
                    listener,
                    is_of_core,
                },
            ));
        }
    }
    node.bound.send_modify(|state| {
        state.addresses.get_or_insert(bound);
        state.core_addresses[usize::from(core.0)] = own;
        state.cores_count += 1;
    });
    Some(sockets)
}

async fn bind(node: &Node, address: SocketAddr, is_of_core: bool) -> Option<TcpListener> {
    let bound = net::bind(address).await;
    bound
        .map_err(|error| {
            node.fail(NodeError::Bind {
                address: address.to_string(),
                is_of_core,
                error,
            });
        })
        .ok()
}

/// The address of each listener: of a host's addresses the first, IPv4 before IPv6.
fn resolve(config: &BrokerConfig) -> Result<Vec<SocketAddr>, NodeError> {
    let addresses = config.network.listeners.iter().map(|listener| {
        let host = if listener.host.is_empty() {
            "0.0.0.0"
        } else {
            &*listener.host
        };
        let address = format!("{host}:{}", listener.port);
        match io::blocking::resolve(host, listener.port) {
            Ok(mut found) => {
                found.sort_by_key(|address| address.is_ipv6());
                found.into_iter().next().ok_or_else(|| NodeError::Bind {
                    address,
                    is_of_core: false,
                    error: io::ErrorKind::AddrNotAvailable.into(),
                })
            }
            Err(error) => Err(NodeError::Bind {
                address,
                is_of_core: false,
                error,
            }),
        }
    });
    addresses.collect()
}

/// What clients are told: `advertised.listeners`, else the host as configured, else what the
/// machine calls itself, and the ports that were bound.
fn advertised(node: &Node) -> Vec<AdvertisedListener> {
    let bound = node.bound.borrow();
    let addresses = bound.addresses.iter().flatten();
    let listeners = node.launch.config().network.listeners.iter().zip(addresses);
    let told = listeners.enumerate().map(|(at, (listener, address))| {
        let host = match &listener.advertised_host {
            Some(host) => host.clone(),
            None if listener.host.is_empty() || address.ip().is_unspecified() => {
                io::blocking::host_name().into()
            }
            None => listener.host.clone(),
        };
        let distance = node.core_ports[at].advertised_distance;
        let of_cores = bound.core_addresses.iter().filter_map(|own| own.get(at));
        let port = |own: &SocketAddr| {
            let port = u16::try_from(i32::from(own.port()) + distance);
            port.expect("the configuration has been checked")
        };
        AdvertisedListener {
            host,
            port: listener.advertised_port.unwrap_or(address.port()),
            core_ports: of_cores.map(port).collect(),
        }
    });
    told.collect()
}

fn announce(node: &Node, shard: &Shard) {
    node.launch.board().set_cluster_id(shard.cluster_id());
    node.launch.board().set_ready(true);
    let bound = node.bound.borrow().clone();
    let told = advertised(node);
    let (config, cores_count) = (node.launch.config(), node.launch.cores_count());
    let ids = BrokerIds::new(config.network.listener_mode, config.node_id, cores_count);
    let core_broker = |(core, addresses): (usize, Vec<SocketAddr>)| CoreBroker {
        id: ids.of(CoreId(core as u16)),
        advertised: told
            .iter()
            .map(|listener| (listener.host.clone(), listener.core_ports[core]))
            .collect(),
        addresses,
    };
    let own = bound.core_addresses.into_iter().enumerate();
    let core_brokers = own.filter(|(_, addresses)| !addresses.is_empty());
    (node.ready)(&Ready {
        core_brokers: core_brokers.map(core_broker).collect(),
        advertised: told
            .iter()
            .map(|listener| (listener.host.clone(), listener.port))
            .collect(),
        addresses: bound.addresses.expect("all cores have bound"),
        cores_count,
        cluster_id: shard.cluster_id(),
    });
}
