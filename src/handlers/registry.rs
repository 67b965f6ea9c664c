//! Which APIs are served, and the way of a request to its handler and back.

use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use super::{Client, Reply};
use crate::metrics;
use crate::protocol::arriving::Apart;
use crate::protocol::{
    self, ApiKey, ApiSpec, HeaderError, ProtocolError, RequestHeader, wire::WireError,
};
use crate::shard::PlacedBatch;

/// A request whose header is read.
pub(super) struct Request {
    pub(super) header: RequestHeader,
    /// Without the batches that came apart.
    pub(super) body: Bytes,
    pub(super) apart: Vec<(Apart, PlacedBatch)>,
}

/// A request as it came from a connection, without its size.
pub struct Incoming {
    /// The request from its header on, without the batches in `apart`.
    pub bytes: Bytes,
    /// The large batches of a Produce request, in its order, and where each was in `bytes`.
    pub apart: Vec<(Apart, PlacedBatch)>,
}

/// Why a request's body could not be read, or its answer not be written. The connection is closed,
/// as Kafka does.
#[derive(Debug)]
pub(super) struct Malformed(String);

impl From<ProtocolError> for Malformed {
    fn from(error: ProtocolError) -> Malformed {
        Malformed(error.to_string())
    }
}

impl From<WireError> for Malformed {
    fn from(error: WireError) -> Malformed {
        Malformed(format!("{error:?}"))
    }
}

impl Request {
    /// The response's frame: its prefix, then the body.
    pub(super) fn respond(&self, body: Vec<Bytes>) -> Result<Vec<Bytes>, Malformed> {
        respond(&self.header, body)
    }
}

/// The response's frame for a header: its prefix, then the body.
pub(super) fn respond(header: &RequestHeader, body: Vec<Bytes>) -> Result<Vec<Bytes>, Malformed> {
    let body_bytes = body.iter().map(Bytes::len).sum();
    let mut slices = Vec::with_capacity(1 + body.len());
    slices.push(header.response_prefix(body_bytes)?);
    slices.extend(body);
    Ok(slices)
}

type Served = Pin<Box<dyn Future<Output = Result<Reply, Malformed>>>>;

/// One served API.
struct Api {
    spec: ApiSpec,
    serve: fn(Rc<Client>, Request) -> Served,
}

/// A handler that reads the request and writes the response itself.
macro_rules! hot {
    ($file:ident) => {
        Api {
            spec: super::$file::SPEC,
            serve: |client, request| Box::pin(super::$file::handle(client, request)),
        }
    };
}

/// A handler from a decoded request to a response: `handle(&client, request, version)`.
macro_rules! cold {
    ($file:ident) => {
        Api {
            spec: super::$file::SPEC,
            serve: |client, request| {
                Box::pin(async move {
                    let version = request.header.version;
                    let decoded = protocol::decode(request.body.clone(), version)?;
                    let response = super::$file::handle(&client, decoded, version).await;
                    let body = protocol::encode(&response, version)?;
                    Ok(Reply::Now(request.respond(vec![body])?))
                })
            },
        }
    };
}

/// Every API that is served, in the order of their keys. ApiVersions answers from this list.
const APIS: &[Api] = &[
    hot!(produce),
    hot!(fetch),
    cold!(list_offsets),
    cold!(metadata),
    cold!(offset_commit),
    cold!(offset_fetch),
    cold!(find_coordinator),
    hot!(join_group),
    cold!(heartbeat),
    cold!(leave_group),
    cold!(sync_group),
    cold!(describe_groups),
    cold!(list_groups),
    hot!(api_versions),
    cold!(create_topics),
    cold!(delete_topics),
    cold!(delete_records),
    cold!(init_producer_id),
    cold!(offset_for_leader_epoch),
    cold!(describe_configs),
    cold!(alter_configs),
    cold!(describe_log_dirs),
    cold!(create_partitions),
    cold!(delete_groups),
    cold!(incremental_alter_configs),
    cold!(offset_delete),
    cold!(describe_cluster),
    cold!(describe_producers),
    cold!(describe_topic_partitions),
];

/// What is served, for ApiVersions.
pub(super) fn served() -> impl Iterator<Item = ApiSpec> {
    APIS.iter().map(|api| api.spec)
}

/// Serves one request up to the end of its phase one.
pub async fn handle(client: &Rc<Client>, incoming: Incoming) -> Reply {
    let Incoming { bytes, mut apart } = incoming;
    let (header, body) = match RequestHeader::decode(&bytes) {
        Ok(decoded) => decoded,
        Err(HeaderError::UnknownApi { key, version }) => {
            return Reply::Close(format!("request for API key {key} v{version}, not served"));
        }
        Err(HeaderError::Malformed(error)) => {
            return Reply::Close(format!("malformed request header: {error:?}"));
        }
    };
    let (api_key, version) = (header.api, header.version);
    let Some(api) = APIS.iter().find(|api| api.spec.key == api_key) else {
        return Reply::Close(format!("request for {api_key}, not served"));
    };
    // ApiVersions of any version is answered, so that newer clients can fall back (KIP-511).
    if !api.spec.serves(version) && api_key != ApiKey::ApiVersions {
        return Reply::Close(format!("{api_key} v{version} is not served"));
    }
    metrics::count_request(api_key.code());
    let header_bytes = bytes.len() - body.len();
    for (place, _) in &mut apart {
        place.at = place.at.saturating_sub(header_bytes);
    }
    let request = Request {
        header,
        body,
        apart,
    };
    let served = (api.serve)(client.clone(), request).await;
    match served {
        Ok(reply) => reply,
        Err(Malformed(why)) => {
            Reply::Close(format!("{api_key} v{version} cannot be answered: {why}"))
        }
    }
}
