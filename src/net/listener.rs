//! Listening sockets of one core, and what its connections share.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::{Admission, connection};
use crate::config::SharedConfig;
use crate::handlers::{self, Entrance};
use crate::io::sync::Notify;
use crate::io::{self, TcpListener};
use crate::limits::CONNECTIONS_PER_CORE_MAX;
use crate::metrics::{self, Counter};
use crate::shard::{Claims, Shard};

/// What the connections of one core share. Owned by its core.
pub struct Server {
    pub(super) shard: Rc<Shard>,
    pub(super) handlers: Rc<handlers::Core>,
    pub(super) config: SharedConfig,
    pub(super) request_budget: Rc<Claims>,
    admission: Arc<Admission>,
    connections: Cell<usize>,
    stopped: Cell<bool>,
    stop: Notify,
    drained: Notify,
}

impl Server {
    /// The server of one of `cores` cores.
    pub fn new(
        shard: Rc<Shard>,
        config: SharedConfig,
        cores: usize,
        admission: Arc<Admission>,
    ) -> Rc<Server> {
        let budget_bytes = config.engine.request_memory_bytes;
        Rc::new(Server {
            handlers: handlers::Core::new(&config, cores),
            shard,
            request_budget: Claims::new(budget_bytes),
            admission,
            connections: Cell::new(0),
            stopped: Cell::new(false),
            stop: Notify::new(),
            drained: Notify::new(),
            config,
        })
    }

    /// Accepts connections on a bound socket until the server stops. The entrance decides which
    /// addresses Metadata tells.
    pub async fn accept(self: Rc<Self>, socket: TcpListener, entrance: Entrance) {
        loop {
            let stop = std::pin::pin!(self.stopping());
            let accept = std::pin::pin!(socket.accept());
            let accepted = match futures_util::future::select(accept, stop).await {
                futures_util::future::Either::Left((accepted, _)) => accepted,
                futures_util::future::Either::Right(_) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, entrance),
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

    fn admit(self: &Rc<Self>, stream: io::TcpStream, peer: SocketAddr, entrance: Entrance) {
        let has_room = self.connections.get() < CONNECTIONS_PER_CORE_MAX;
        let admitted = has_room.then(|| self.admission.admit(peer.ip()));
        let Some(admitted) = admitted.flatten() else {
            metrics::add(Counter::ConnectionsRefused, 1);
            return stream.shutdown();
        };
        self.connections.set(self.connections.get() + 1);
        metrics::add(Counter::ConnectionsAccepted, 1);
        let server = self.clone();
        io::spawn(async move {
            connection::serve(server.clone(), stream, peer, entrance).await;
            drop(admitted);
            server.release();
        })
        .detach();
    }

    fn release(&self) {
        metrics::add(Counter::ConnectionsClosed, 1);
        self.connections.set(self.connections.get() - 1);
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

/// Binds one address on this core. Every core binds those of the listeners, and its own ports.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
