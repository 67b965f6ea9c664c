//! Requests out of a connection's bytes: the size, its bounds, the memory budget, the copy that
//! growing costs.
//!
//! A length from the peer reserves budget but never memory: the buffer grows with the bytes that
//! have arrived, from a first size that is learned from the connection's requests of late. A large
//! request's buffer ends with the request, so a producer's requests are received in place and never
//! moved; small requests are read several at a time.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::io::{self, TcpStream};
use crate::limits::{
    RECEIVE_BUFFER_BYTES, RECEIVE_EXACT_BYTES, RECEIVE_EXPECTED_BYTES, RECEIVE_GROWTH_FACTOR,
    REQUEST_ARRIVAL_MS_MAX,
};
use crate::metrics::{self, Counter, Stage};
use crate::shard::{Budget, Hold};

/// Bytes of the size that stands before every request.
const SIZE_BYTES: usize = 4;

/// One whole request and the budget that it holds until it is answered.
pub(super) struct Received {
    /// The request from its header on, without the size.
    pub(super) bytes: Bytes,
    /// Returned to the core's budget when dropped.
    pub(super) budget: Hold,
}

/// Why no further request comes from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveEnd {
    /// The peer closed between two requests.
    Closed,
    /// The peer closed, or the socket failed, in the middle of a request.
    Broken,
    /// No request came within `connections.max.idle.ms`.
    Idle,
    /// A request did not arrive within `REQUEST_ARRIVAL_MS_MAX`.
    Slow,
    /// The size is negative or above `socket.request.max.bytes`.
    BadSize(i32),
}

/// Reads one connection's requests in order. Owned by the connection's core.
pub(super) struct Receiver {
    buffer: BytesMut,
    /// The size of the largest request of late; it fades.
    recent_bytes: usize,
    request_bytes_max: usize,
    idle_max: Option<Duration>,
    budget: Rc<Budget>,
}

impl Receiver {
    pub(super) fn new(
        request_bytes_max: usize,
        idle_max: Option<Duration>,
        budget: Rc<Budget>,
    ) -> Receiver {
        Receiver {
            buffer: BytesMut::new(),
            recent_bytes: RECEIVE_EXPECTED_BYTES,
            request_bytes_max,
            idle_max,
            budget,
        }
    }

    /// Waits for the next whole request.
    pub(super) async fn next(&mut self, stream: &TcpStream) -> Result<Received, ReceiveEnd> {
        let size = match self.idle_max {
            Some(idle_max) => io::timeout(idle_max, self.size(stream))
                .await
                .ok_or(ReceiveEnd::Idle)??,
            None => self.size(stream).await?,
        };
        let request_bytes = usize::try_from(size)
            .ok()
            .filter(|bytes| *bytes <= self.request_bytes_max)
            .ok_or(ReceiveEnd::BadSize(size))?;
        let started = io::now();
        let budget = self.budget.hold(request_bytes).await;
        let arrival_max = Duration::from_millis(REQUEST_ARRIVAL_MS_MAX);
        let body = self.body(stream, SIZE_BYTES + request_bytes);
        io::timeout(arrival_max, body)
            .await
            .ok_or(ReceiveEnd::Slow)??;
        let mut whole = self.buffer.split_to(SIZE_BYTES + request_bytes).freeze();
        whole.advance(SIZE_BYTES);
        let received_bytes = SIZE_BYTES + request_bytes;
        self.recent_bytes = received_bytes.max(self.recent_bytes - self.recent_bytes / 8);
        metrics::add(Counter::ReceivedBytes, received_bytes as u64);
        metrics::record(Stage::Receive, io::now() - started);
        Ok(Received {
            bytes: whole,
            budget,
        })
    }

    /// The size of the next request; its four bytes stay in the buffer.
    async fn size(&mut self, stream: &TcpStream) -> Result<i32, ReceiveEnd> {
        while self.buffer.len() < SIZE_BYTES {
            if self.recent_bytes >= RECEIVE_EXACT_BYTES {
                // The size alone: the request then gets a buffer that ends where it ends.
                if self.buffer.capacity() < SIZE_BYTES {
                    self.grow(SIZE_BYTES);
                }
            } else if self.buffer.capacity() < self.recent_bytes.max(SIZE_BYTES) {
                self.grow(RECEIVE_BUFFER_BYTES);
            }
            let at_start = self.buffer.is_empty();
            if self.read(stream).await? == 0 {
                return Err(if at_start {
                    ReceiveEnd::Closed
                } else {
                    ReceiveEnd::Broken
                });
            }
        }
        Ok(i32::from_be_bytes([
            self.buffer[0],
            self.buffer[1],
            self.buffer[2],
            self.buffer[3],
        ]))
    }

    /// Reads until the buffer holds `needed` bytes.
    async fn body(&mut self, stream: &TcpStream, needed: usize) -> Result<(), ReceiveEnd> {
        while self.buffer.len() < needed {
            if self.buffer.len() == self.buffer.capacity() {
                let seen = self.buffer.len().max(self.recent_bytes);
                let grown = seen.saturating_mul(RECEIVE_GROWTH_FACTOR);
                self.grow(needed.min(grown.max(RECEIVE_BUFFER_BYTES)));
            }
            if self.read(stream).await? == 0 {
                return Err(ReceiveEnd::Broken);
            }
        }
        Ok(())
    }

    /// Moves what is there into a fresh buffer of `capacity` bytes.
    fn grow(&mut self, capacity: usize) {
        let mut fresh = BytesMut::with_capacity(capacity);
        fresh.extend_from_slice(&self.buffer);
        // The size in front is no payload.
        let moved_bytes = self.buffer.len().saturating_sub(SIZE_BYTES);
        metrics::add(Counter::CopiedBytes, moved_bytes as u64);
        self.buffer = fresh;
    }

    async fn read(&mut self, stream: &TcpStream) -> Result<usize, ReceiveEnd> {
        let (result, buffer) = stream.read(std::mem::take(&mut self.buffer)).await;
        self.buffer = buffer;
        result.map_err(|_| ReceiveEnd::Broken)
    }
}
