//! One client connection: requests in, responses out in the same order.
//!
//! Two tasks on the connection's core. The reader takes one request at a time and runs its
//! handler to the end of phase one; only then does it look at the next request, so that two
//! pipelined produce requests reach a partition in their order. The writer takes the replies in
//! request order, waits for phase two, and sends. The queue between them is bounded: a client
//! that does not read its responses is not read from either.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::Server;
use super::receive::{ReceiveEnd, Received, Receiver};
use crate::handlers::{self, Client, Entrance, PhaseTwo, Reply};
use crate::io::sync::mpsc;
use crate::io::{self, TcpStream};
use crate::limits::{CONNECTION_REQUESTS_MAX, RESPONSES_GATHERED_MAX, SEND_STALL_MS_MAX};
use crate::metrics::{self, Counter, Stage};
use crate::shard::Hold;

/// A reply on its way out, with the budget that its request holds.
struct Pending {
    reply: PendingReply,
    _budget: Hold,
    _response: Option<Hold>,
}

enum PendingReply {
    Ready(Vec<Bytes>),
    Later(PhaseTwo),
}

/// Serves a connection until either side ends it. Owned by the core that accepted it; a crash
/// loses it, and what was not answered was not promised.
pub(super) async fn serve(
    server: Rc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
) {
    let stream = Rc::new(stream);
    let (sender, receiver) = mpsc::channel(CONNECTION_REQUESTS_MAX);
    let writer = io::spawn(write_replies(stream.clone(), receiver));
    let client = Rc::new(Client::new(
        server.handlers.clone(),
        server.shard.clone(),
        peer,
        entrance,
    ));
    let end = read_requests(&server, &stream, &client, sender).await;
    // The reader dropped its end of the queue: the writer sends what was accepted, then ends.
    writer.await;
    stream.shutdown();
    match end {
        End::Quiet => {}
        End::Said(reason) => tracing::info!(%peer, "connection closed: {reason}"),
    }
}

/// Whether the end of a connection is worth a line in the log.
enum End {
    Quiet,
    Said(String),
}

async fn read_requests(
    server: &Server,
    stream: &TcpStream,
    client: &Rc<Client>,
    replies: mpsc::Sender<Pending>,
) -> End {
    let network = &server.config.network;
    let idle_max = u64::try_from(network.connections_idle_max_ms)
        .ok()
        .map(Duration::from_millis);
    let request_bytes_max = usize::try_from(network.socket_request_max_bytes).unwrap_or(0);
    let mut receiver = Receiver::new(request_bytes_max, idle_max, server.request_budget.clone());
    loop {
        // A slot of the queue first: a client that does not read its responses stops here.
        let Ok(slot) = replies.reserve().await else {
            return End::Quiet;
        };
        let received = until_stopped(receiver.next(stream), server.stopping()).await;
        let Received { request, budget } = match received {
            None => return End::Quiet,
            Some(Ok(received)) => received,
            Some(Err(end)) => return describe(end, request_bytes_max),
        };
        let (reply, response) = match handlers::handle(client, request).await {
            Reply::Now(slices) => (PendingReply::Ready(slices), None),
            Reply::Held(slices, hold) => (PendingReply::Ready(slices), Some(hold)),
            Reply::Later(phase_two) => (PendingReply::Later(phase_two), None),
            Reply::Nothing => continue,
            Reply::Close(reason) => return End::Said(reason),
        };
        slot.send(Pending {
            reply,
            _budget: budget,
            _response: response,
        });
    }
}

/// What work gives; `None` once the stop has come, even if there is work at hand.
async fn until_stopped<T>(
    work: impl Future<Output = T>,
    stop: impl Future<Output = ()>,
) -> Option<T> {
    let work = std::pin::pin!(work);
    let stop = std::pin::pin!(stop);
    match futures_util::future::select(stop, work).await {
        futures_util::future::Either::Left(((), _)) => None,
        futures_util::future::Either::Right((done, _)) => Some(done),
    }
}

fn describe(end: ReceiveEnd, request_bytes_max: usize) -> End {
    match end {
        ReceiveEnd::Closed | ReceiveEnd::Broken | ReceiveEnd::Idle => End::Quiet,
        ReceiveEnd::Slow => End::Said("a request did not arrive whole in time".into()),
        ReceiveEnd::BadSize(size) => End::Said(format!(
            "a request announced {size} bytes; the largest allowed is {request_bytes_max} \
             (socket.request.max.bytes). A client that speaks TLS or HTTP to this port looks so"
        )),
    }
}

/// Sends replies in request order. Ends when the reader has gone and all is sent, or when the
/// peer takes no more.
async fn write_replies(stream: Rc<TcpStream>, mut queue: mpsc::Receiver<Pending>) {
    let mut gathered: VecDeque<Pending> = VecDeque::new();
    while let Some(first) = queue.recv().await {
        gathered.push_back(first);
        while gathered.len() < RESPONSES_GATHERED_MAX
            && let Ok(next) = queue.try_recv()
        {
            gathered.push_back(next);
        }
        while !gathered.is_empty() {
            if !send_ready(&stream, &mut gathered).await {
                stream.shutdown();
                return;
            }
        }
    }
}

/// Waits for the first reply and sends it together with those behind it that are ready by then: a
/// write to the disk completes for several requests at once.
async fn send_ready(stream: &TcpStream, gathered: &mut VecDeque<Pending>) -> bool {
    // As many as there are, so that lists need not grow; most responses have a prefix and a body.
    let mut slices = Vec::with_capacity(2 * gathered.len());
    let mut sent: Vec<Pending> = Vec::with_capacity(gathered.len());
    let mut closes = false;
    while let Some(mut pending) = gathered.pop_front() {
        let reply = std::mem::replace(&mut pending.reply, PendingReply::Ready(Vec::new()));
        match reply {
            PendingReply::Ready(body) => slices.extend(body),
            PendingReply::Later(mut phase_two) => {
                let done = match slices.is_empty() {
                    true => Some((&mut phase_two).await),
                    false => (&mut phase_two).now_or_never(),
                };
                match done {
                    Some(Some(body)) => slices.extend(body),
                    // What is complete before it is still owed.
                    Some(None) => {
                        closes = true;
                        break;
                    }
                    None => {
                        pending.reply = PendingReply::Later(phase_two);
                        gathered.push_front(pending);
                        break;
                    }
                }
            }
        }
        sent.push(pending);
    }
    let started = io::now();
    let bytes: usize = slices.iter().map(Bytes::len).sum();
    let stall_max = Duration::from_millis(SEND_STALL_MS_MAX);
    let sent_in_time = io::timeout(stall_max, stream.write_all(slices)).await;
    metrics::add(Counter::SentBytes, bytes as u64);
    metrics::record(Stage::Respond, io::now() - started);
    !closes && matches!(sent_in_time, Some(Ok(())))
}
