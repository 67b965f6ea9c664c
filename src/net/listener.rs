//! Listening sockets of one core, and what its connections share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::connection;
use crate::config::SharedConfig;
use crate::handlers;
use crate::io::sync::Notify;
use crate::io::{self, TcpListener};
use crate::limits::CONNECTIONS_PER_CORE_MAX;
use crate::metrics::{self, Counter, Gauge};
use crate::shard::{Budget, Shard};

/// What the connections of one core share. Owned by its core.
pub struct Server {
    pub(super) shard: Rc<Shard>,
    pub(super) handlers: Rc<handlers::Core>,
    pub(super) config: SharedConfig,
    pub(super) request_budget: Rc<Budget>,
    connections_max: usize,
    connections: Cell<usize>,
    connections_by_ip: RefCell<HashMap<IpAddr, usize>>,
    stopped: Cell<bool>,
    stop: Notify,
    drained: Notify,
}

impl Server {
    /// The server of one of `cores` cores.
    pub fn new(shard: Rc<Shard>, config: SharedConfig, cores: usize) -> Rc<Server> {
        let budget_bytes = config.engine.request_memory_bytes;
        let connections_max = usize::try_from(config.network.connections_max).unwrap_or(0);
        Rc::new(Server {
            handlers: handlers::Core::new(&config, cores),
            shard,
            request_budget: Rc::new(Budget::new(budget_bytes, Gauge::RequestMemoryBytes)),
            connections_max: connections_max
                .div_ceil(cores)
                .min(CONNECTIONS_PER_CORE_MAX),
            connections: Cell::new(0),
            connections_by_ip: RefCell::new(HashMap::new()),
            stopped: Cell::new(false),
            stop: Notify::new(),
            drained: Notify::new(),
            config,
        })
    }

    /// Accepts connections on a bound socket until the server stops. `listener` is the index of
    /// the listener in the configuration: it decides which addresses Metadata tells.
    pub async fn accept(self: Rc<Self>, socket: TcpListener, listener: usize) {
        loop {
            let stop = std::pin::pin!(self.stopping());
            let accept = std::pin::pin!(socket.accept());
            let accepted = match futures_util::future::select(accept, stop).await {
                futures_util::future::Either::Left((accepted, _)) => accepted,
                futures_util::future::Either::Right(_) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, listener),
                Err(error) => {
                    // Out of descriptors or memory: waiting lets connections end; spinning would
                    // take the core from those that are served.
                    tracing::warn!(
                        "accept failed: {error}. If this is 'Too many open files', raise the \
                         limit: ulimit -n 1048576 (systemd: LimitNOFILE=1048576)"
                    );
                    io::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(self: &Rc<Self>, stream: io::TcpStream, peer: SocketAddr, listener: usize) {
        if self.connections.get() >= self.connections_max {
            metrics::add(Counter::ConnectionsRefused, 1);
            return stream.shutdown();
        }
        let per_ip_max = self.per_ip_max(peer.ip());
        let mut by_ip = self.connections_by_ip.borrow_mut();
        let from_ip = by_ip.entry(peer.ip()).or_insert(0);
        if *from_ip >= per_ip_max {
            metrics::add(Counter::ConnectionsRefused, 1);
            return stream.shutdown();
        }
        *from_ip += 1;
        drop(by_ip);
        self.connections.set(self.connections.get() + 1);
        metrics::add(Counter::ConnectionsAccepted, 1);
        let server = self.clone();
        io::spawn(async move {
            connection::serve(server.clone(), stream, peer, listener).await;
            server.release(peer.ip());
        })
        .detach();
    }

    /// Connections that one address may have on this core; overrides name addresses.
    fn per_ip_max(&self, ip: IpAddr) -> usize {
        let network = &self.config.network;
        let mut overrides = network.connections_per_ip_overrides.iter();
        let own = overrides.find(|(host, _)| *host == ip).map(|(_, max)| *max);
        usize::try_from(own.unwrap_or(network.connections_per_ip_max)).unwrap_or(0)
    }

    fn release(&self, ip: IpAddr) {
        metrics::add(Counter::ConnectionsClosed, 1);
        self.connections.set(self.connections.get() - 1);
        let mut by_ip = self.connections_by_ip.borrow_mut();
        if let Some(count) = by_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&ip);
            }
        }
        if self.connections.get() == 0 {
            self.drained.notify_waiters();
        }
    }

    /// Resolves once the server refuses new work.
    pub(super) async fn stopping(&self) {
        loop {
            let notified = self.stop.notified();
            if self.stopped.get() {
                return;
            }
            notified.await;
        }
    }

    /// Refuses new work and waits until every accepted request is answered.
    pub async fn stop(&self) {
        self.stopped.set(true);
        self.stop.notify_waiters();
        loop {
            let drained = self.drained.notified();
            if self.connections.get() == 0 {
                return;
            }
            drained.await;
        }
    }
}

/// Binds one address on this core. Every core binds the same ones.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
