//! Waiting for a socket: the one thing of connections that goes through the ring.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::operations::Operation;
use super::request::Request;
use crate::io::{ErrorKind, Result};

/// Waits until the socket is ready, or has an error that the next system call will tell.
pub(super) async fn ready(socket: &Rc<OwnedFd>, events: i16) -> Result<()> {
    let request = Request::Poll {
        file: socket.clone(),
        events,
    };
    match Operation::run(request, None).await.result {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}
