//! Kafka request and response bytes to structs and back. Pure: no I/O, no clock, no state.
//!
//! A request arrives as one frame, its size taken off by `net`:
//!
//!     let (header, body) = RequestHeader::decode(&frame)?;      // unknown key, damage: close
//!     spec.serves(header.version)                               // no: close, or, for ApiVersions,
//!                                                               // unsupported_version_response
//!     let request: MetadataRequest = protocol::decode(body, header.version)?;
//!     let body = protocol::encode(&response, header.version)?;
//!     header.response_prefix(body.len())?                       // goes in front of the body
//!
//! Produce, Fetch and ApiVersions are written by hand in files of their names:
//! `ProduceRequest::decode(&body, version)`, `ProduceResponse::encode(version)`,
//! `encode_fetch_response(&response, version)`, which returns pieces because record data is never
//! copied. The structures of all other APIs are in `messages`, under Kafka's names; their codecs
//! are generated, in a crate that no other file names.
//!
//! Nothing here panics on bytes from the network, and no length or count from there sizes an
//! allocation beyond the bytes that are present; see `wire` and `codec` for the bounds.
//! `tests/protocol` checks every API and version against an independent codec and mutates
//! every message under an allocation cap.

mod api;
pub mod arriving;
mod error_code;
mod header;

pub mod api_versions;
pub mod fetch;
pub mod produce;

mod codec;
pub mod messages;
pub mod wire;

pub use api::{ApiKey, ApiSpec};
pub use codec::{
    ProtocolError, decode, decode_assignment, decode_response, decode_subscription, encode,
    encode_assignment, encode_request, encode_subscription,
};
pub use error_code::ErrorCode;
pub use header::{HeaderError, RESPONSE_PREFIX_BYTES_MAX, RequestHeader, decode_response_header};
