//! Listening sockets of one core, and what its connections share.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::admission::{Admission, Admitted, Seat};
use super::connection;
use crate::config::SharedConfig;
use crate::handlers::{self, Entrance};
use crate::io::mailbox::{MailSender, Mailbox};
use crate::io::sync::Notify;
use crate::io::{self, TcpListener, Unserved};
use crate::metrics::{self, Counter};
use crate::model::CoreId;
use crate::shard::{Claims, Shard};

/// What the connections of one core share. Owned by its core.
pub struct Server {
    pub(super) shard: Rc<Shard>,
    pub(super) handlers: Rc<handlers::Core>,
    pub(super) config: SharedConfig,
    pub(super) request_budget: Rc<Claims>,
    core: CoreId,
    admission: Arc<Admission>,
    /// The doors of all cores.
    doors: Vec<MailSender<Guest>>,
    connections: Cell<usize>,
    stopped: Cell<bool>,
    stop: Notify,
    drained: Notify,
}

/// A connection that one core has accepted and another serves.
pub(super) struct Guest {
    connection: Unserved,
    entrance: Entrance,
    admitted: Admitted,
}

impl Server {
    /// The server of one of `cores` cores. What other cores accept for it comes through its door.
    pub fn new(
        shard: Rc<Shard>,
        config: SharedConfig,
        core: CoreId,
        cores: usize,
        admission: Arc<Admission>,
    ) -> Rc<Server> {
        let budget_bytes = config.engine.request_memory_bytes;
        let (door, doors) = admission.door(core);
        let server = Rc::new(Server {
            handlers: handlers::Core::new(&config, cores),
            shard,
            request_budget: Claims::new(budget_bytes),
            core,
            admission,
            doors,
            connections: Cell::new(0),
            stopped: Cell::new(false),
            stop: Notify::new(),
            drained: Notify::new(),
            config,
        });
        io::spawn(server.clone().let_in(door)).detach();
        server
    }

    /// Serves what comes through the door until the server stops; what comes later is closed.
    async fn let_in(self: Rc<Self>, mut door: Mailbox<Guest>) {
        loop {
            let stop = std::pin::pin!(self.stopping());
            let guest = std::pin::pin!(door.recv());
            match futures_util::future::select(stop, guest).await {
                futures_util::future::Either::Left(_) => return,
                futures_util::future::Either::Right((guest, _)) => self.serve(guest),
            }
        }
    }

    /// Accepts connections on a bound socket until the server stops. The entrance decides which
    /// addresses Metadata tells.
    pub async fn accept(self: Rc<Self>, socket: TcpListener, entrance: Entrance) {
        loop {
            let stop = std::pin::pin!(self.stopping());
            let accept = std::pin::pin!(socket.accept_unserved());
            let accepted = match futures_util::future::select(accept, stop).await {
                futures_util::future::Either::Left((accepted, _)) => accepted,
                futures_util::future::Either::Right(_) => return,
            };
            match accepted {
                Ok(connection) => self.admit(connection, entrance),
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

    /// Takes a connection in and serves it, or hands it to the core that shall.
    fn admit(self: &Rc<Self>, connection: Unserved, entrance: Entrance) {
        let seat = match entrance.is_of_core {
            true => Seat::Only(self.core),
            false => Seat::Any,
        };
        let Some(admitted) = self.admission.admit(connection.peer_addr().ip(), seat) else {
            metrics::add(Counter::ConnectionsRefused, 1);
            return connection.serve().shutdown();
        };
        let core = admitted.core();
        let guest = Guest {
            connection,
            entrance,
            admitted,
        };
        if core == self.core {
            return self.serve(guest);
        }
        // A door that is full has a core behind it that is late: this one is not.
        if let Err(guest) = self.doors[usize::from(core.0)].try_send(guest) {
            self.serve(guest);
        }
    }

    fn serve(self: &Rc<Self>, guest: Guest) {
        let Guest {
            connection,
            entrance,
            admitted,
        } = guest;
        self.connections.set(self.connections.get() + 1);
        metrics::add(Counter::ConnectionsAccepted, 1);
        let (server, peer) = (self.clone(), connection.peer_addr());
        let stream = connection.serve();
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
