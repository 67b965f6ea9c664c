//! Waiting for a socket: the one thing of connections that goes through the reactor.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use glommio::io::PollableFd;

use super::gate::Gate;
use super::operations::{InFlight, plain};
use crate::io::{ErrorKind, Result};

/// Waits until the socket is ready, or has an error that the next system call will tell.
pub(super) async fn ready(socket: &Rc<OwnedFd>, events: i16) -> Result<()> {
    let flight = InFlight::begin();
    let socket = plain(PollableFd::new(socket.clone()))?;
    let waiting = Gate::new(async move {
        match events {
            libc::POLLOUT => socket.writable().await,
            _ => socket.readable().await,
        }
    });
    let result = plain(waiting.await);
    drop(flight);
    match result {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}
