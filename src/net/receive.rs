//! Requests out of a connection's bytes: the size, its bounds, the memory budget, the copy that
//! growing costs.
//!
//! A length from the peer reserves neither memory nor much of the budget for it: both grow with the
//! bytes that have arrived, buffers from a first size that is learned from the connection's
//! requests of late. Of a buffer no more is written to than the request has of the budget. Small
//! requests are read several at a time. A large batch of a Produce request is received at the
//! place from which the log writes it, in memory of its own; only the little of it that came
//! together with the fields in front of it is copied there. Such memory takes as much as has
//! arrived, or, where it was used before, its budget first.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::handlers::Incoming;
use crate::io::{self, TcpStream};
use crate::limits::{
    ARENA_BLOCK_BYTES_MAX, LOG_PLACED_BATCH_BYTES_MIN, RECEIVE_BUFFER_BYTES, RECEIVE_EXACT_BYTES,
    RECEIVE_EXPECTED_BYTES, RECEIVE_FIELDS_BYTES, RECEIVE_GROWTH_FACTOR, REQUEST_ARRIVAL_MS_MAX,
};
use crate::metrics::{self, Counter, Stage};
use crate::protocol::arriving::{Apart, Finder, Next};
use crate::shard::{Claim, Claims, Hold, PlacedBatch};

/// Bytes of the size that stands before every request.
const SIZE_BYTES: usize = 4;

/// One whole request and the budget that it holds until it is answered.
pub(super) struct Received {
    pub(super) request: Incoming,
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
    budget: Rc<Claims>,
}

impl Receiver {
    pub(super) fn new(
        request_bytes_max: usize,
        idle_max: Option<Duration>,
        budget: Rc<Claims>,
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
        let mut claim = self.budget.begin(request_bytes).await;
        let request = self.in_time(stream, request_bytes, &mut claim).await?;
        let received_bytes = SIZE_BYTES + request_bytes;
        self.recent_bytes = received_bytes.max(self.recent_bytes - self.recent_bytes / 8);
        metrics::add(Counter::ReceivedBytes, received_bytes as u64);
        metrics::record(Stage::Receive, io::now() - started);
        Ok(Received {
            request,
            budget: claim.into_hold(),
        })
    }

    /// The request, unless its peer takes too long. That it waits for memory is not its fault.
    async fn in_time(
        &mut self,
        stream: &TcpStream,
        request_bytes: usize,
        claim: &mut Claim,
    ) -> Result<Incoming, ReceiveEnd> {
        let waits = claim.waits();
        let mut arrival = pin!(self.request(stream, request_bytes, claim));
        let mut patience = Duration::from_millis(REQUEST_ARRIVAL_MS_MAX);
        while !patience.is_zero() {
            if let Some(arrived) = io::timeout(patience, &mut arrival).await {
                return arrived;
            }
            patience = waits.take();
        }
        Err(ReceiveEnd::Slow)
    }

    /// The size of the next request; its four bytes stay in the buffer.
    async fn size(&mut self, stream: &TcpStream) -> Result<i32, ReceiveEnd> {
        while self.buffer.len() < SIZE_BYTES {
            if self.recent_bytes >= LOG_PLACED_BATCH_BYTES_MIN {
                // The size and the fields in front of the first batch, and little of that.
                if self.buffer.capacity() < SIZE_BYTES + RECEIVE_FIELDS_BYTES {
                    self.grow(SIZE_BYTES + RECEIVE_FIELDS_BYTES);
                }
            } else if self.recent_bytes >= RECEIVE_EXACT_BYTES {
                // The size alone: the request then gets a buffer that ends where it ends.
                if self.buffer.capacity() < SIZE_BYTES {
                    self.grow(SIZE_BYTES);
                }
            } else if self.buffer.capacity() < self.recent_bytes.max(SIZE_BYTES) {
                self.grow(RECEIVE_BUFFER_BYTES);
            }
            let at_start = self.buffer.is_empty();
            if self.read(stream, usize::MAX).await? == 0 {
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

    /// The whole request, of which the buffer holds the size and what came with it.
    async fn request(
        &mut self,
        stream: &TcpStream,
        request_bytes: usize,
        claim: &mut Claim,
    ) -> Result<Incoming, ReceiveEnd> {
        let mut left_bytes = request_bytes;
        let mut apart = Vec::new();
        let is_here = self.buffer.len() >= SIZE_BYTES + request_bytes;
        if request_bytes >= LOG_PLACED_BATCH_BYTES_MIN && !is_here {
            self.buffer.advance(SIZE_BYTES);
            let mut finder = Finder::default();
            while self.buffer.len() < left_bytes {
                match finder.next(&self.buffer) {
                    Next::End => break,
                    Next::Missing(bytes) => {
                        let wanted = self.buffer.len() + bytes.max(RECEIVE_FIELDS_BYTES);
                        let apart_bytes = request_bytes - left_bytes;
                        let room = claim.room(apart_bytes + self.buffer.len()).await;
                        self.some(stream, wanted.min(left_bytes), room).await?;
                    }
                    Next::Batch(place) if self.is_worth_placing(place, left_bytes) => {
                        let apart_bytes = request_bytes - left_bytes;
                        left_bytes -= place.length;
                        let ends = (left_bytes, apart_bytes);
                        let batch = self.place(stream, place, ends, claim).await?;
                        apart.push((place, batch));
                        finder.taken();
                    }
                    Next::Batch(_) => finder.left(),
                }
            }
            let apart_bytes = request_bytes - left_bytes;
            self.body(stream, left_bytes, apart_bytes, claim).await?;
        } else {
            self.body(stream, SIZE_BYTES + request_bytes, 0, claim)
                .await?;
            self.buffer.advance(SIZE_BYTES);
        }
        let bytes = self.buffer.split_to(left_bytes).freeze();
        Ok(Incoming { bytes, apart })
    }

    /// Whether a batch is large, not here yet, within the request of which `left_bytes` are not
    /// apart, and not so much larger than what this client sends that memory for all of it must
    /// not be set aside before it is here.
    fn is_worth_placing(&self, place: Apart, left_bytes: usize) -> bool {
        let expected = self.recent_bytes.max(RECEIVE_EXPECTED_BYTES);
        place.length >= LOG_PLACED_BATCH_BYTES_MIN
            && place.length <= expected.saturating_mul(RECEIVE_GROWTH_FACTOR)
            && place.at + place.length <= left_bytes
            && place.length > self.buffer.len() - place.at
    }

    /// Receives the rest of a batch that begins at `place` of the buffer, and takes it out.
    /// `left_bytes` are the request's bytes without it and without the `apart_bytes` that were
    /// taken out before.
    async fn place(
        &mut self,
        stream: &TcpStream,
        place: Apart,
        (left_bytes, apart_bytes): (usize, usize),
        claim: &mut Claim,
    ) -> Result<PlacedBatch, ReceiveEnd> {
        let start = PlacedBatch::START;
        let end = start + place.length;
        if place.length <= ARENA_BLOCK_BYTES_MAX {
            // A block that was used before is all there from the start.
            let with_batch = apart_bytes + place.at + place.length;
            claim.at_least(with_batch).await;
        }
        let mut batch = PlacedBatch::buffer(place.length);
        let begun = &self.buffer[place.at..];
        let mut filled = start + begun.len();
        metrics::copy_payload(&mut batch[start..filled], begun);
        self.buffer.truncate(place.at);
        // The fields behind it come along into the padding: one system call less.
        let behind = (left_bytes - place.at).min(RECEIVE_FIELDS_BYTES);
        let until = (end + behind).min(batch.len());
        while filled < end {
            let arrived = apart_bytes + place.at + (filled - start);
            let room = claim.room(arrived).await;
            let upto = until.min(filled.saturating_add(room));
            let (result, back) = stream.read_into(batch, filled..upto).await;
            batch = back;
            match result {
                Ok(0) | Err(_) => return Err(ReceiveEnd::Broken),
                Ok(count) => filled += count,
            }
        }
        self.buffer.extend_from_slice(&batch[end..filled]);
        Ok(PlacedBatch::of(batch, place.length))
    }

    /// Reads something, at most `room` bytes, and at most until the buffer holds `wanted` bytes
    /// if it has to grow for it.
    async fn some(
        &mut self,
        stream: &TcpStream,
        wanted: usize,
        room: usize,
    ) -> Result<(), ReceiveEnd> {
        if self.buffer.len() == self.buffer.capacity() {
            let seen = self.buffer.len().max(RECEIVE_FIELDS_BYTES);
            self.grow(wanted.min(seen.saturating_mul(RECEIVE_GROWTH_FACTOR)));
        }
        match self.read(stream, room).await? {
            0 => Err(ReceiveEnd::Broken),
            _ => Ok(()),
        }
    }

    /// Reads until the buffer holds `needed` bytes.
    async fn body(
        &mut self,
        stream: &TcpStream,
        needed: usize,
        apart_bytes: usize,
        claim: &mut Claim,
    ) -> Result<(), ReceiveEnd> {
        while self.buffer.len() < needed {
            let room = claim.room(apart_bytes + self.buffer.len()).await;
            if self.buffer.len() == self.buffer.capacity() {
                let seen = self.buffer.len().max(self.recent_bytes);
                let grown = seen.saturating_mul(RECEIVE_GROWTH_FACTOR);
                self.grow(needed.min(grown.max(RECEIVE_BUFFER_BYTES)));
            }
            if self.read(stream, room).await? == 0 {
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

    /// Reads something, at most `room` bytes of it.
    async fn read(&mut self, stream: &TcpStream, room: usize) -> Result<usize, ReceiveEnd> {
        let buffer = std::mem::take(&mut self.buffer);
        let (result, buffer) = stream.read_at_most(buffer, room).await;
        self.buffer = buffer;
        result.map_err(|_| ReceiveEnd::Broken)
    }
}
