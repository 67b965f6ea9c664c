//! One connection to one broker: requests out, responses back in the same order.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;

use crate::io;
use crate::io::blocking::{self, TcpStream};
use crate::limits::RESPONSE_BYTES_MAX;
use crate::protocol::messages::api_versions_request::ApiVersionsRequest;
use crate::protocol::messages::api_versions_response::ApiVersionsResponse;
use crate::protocol::messages::{KafkaRequest, KafkaResponse, RequestResponsePair, StrBytes};
use crate::protocol::{self, ApiKey, ErrorCode, ProtocolError};

use super::ClientError;
use super::error::error_code;

/// The pause before an operation is tried again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How a client connects and how long it waits.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The name that the broker sees.
    pub client_id: String,
    /// How long one connection may take to come about.
    pub connect_timeout: Duration,
    /// How long one answer may take.
    pub request_timeout: Duration,
    /// How long an operation is tried again after errors that may pass.
    pub retry_for: Duration,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            client_id: "corelog".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(30),
        }
    }
}

/// One connection. It may have several requests in flight; their answers come in the order in
/// which they were sent.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    client_id: StrBytes,
    next_correlation_id: i32,
    in_flight: VecDeque<Expected>,
    /// What the broker serves: first and last version by key.
    versions: HashMap<i16, (i16, i16)>,
}

/// An answer that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expected {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

/// The version of the first request of a connection: every broker since 2.4 knows it.
const API_VERSIONS_VERSION: i16 = 3;

impl Connection {
    /// Connects to HOST:PORT, tries each of the host's addresses, and asks what the broker serves.
    pub fn open(address: &str, options: &ClientOptions) -> Result<Connection, ClientError> {
        let mut connection = Connection {
            stream: connect(address, options.connect_timeout)?,
            address: address.to_owned(),
            client_id: StrBytes::from(options.client_id.as_str()),
            next_correlation_id: 0,
            in_flight: VecDeque::new(),
            versions: HashMap::new(),
        };
        connection.set_timeout(options.request_timeout)?;
        connection.negotiate()?;
        Ok(connection)
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes how long one answer may take.
    pub fn set_timeout(&mut self, limit: Duration) -> Result<(), ClientError> {
        self.stream
            .set_timeout(Some(limit))
            .map_err(|cause| self.broken(cause))
    }

    /// The number of requests whose answer is still to come.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The versions of every API that the broker serves, by key.
    pub fn served_versions(&self) -> &HashMap<i16, (i16, i16)> {
        &self.versions
    }

    /// The newest version of an API that broker and client both speak.
    pub fn version(&self, api: ApiKey) -> Result<i16, ClientError> {
        self.version_at_most(api, i16::MAX)
    }

    /// The newest version of an API up to `newest` that broker and client both speak.
    pub fn version_at_most(&self, api: ApiKey, newest: i16) -> Result<i16, ClientError> {
        let (known_min, known_max) = api.versions();
        let common = self.versions.get(&api.code()).and_then(|&(min, max)| {
            let version = max.min(known_max).min(newest);
            (version >= min && version >= known_min).then_some(version)
        });
        common.ok_or_else(|| ClientError::Unsupported {
            address: self.address.clone(),
            api,
        })
    }

    /// Sends a request and waits for its answer, in the newest version that both sides speak.
    pub fn call<R: RequestResponsePair>(
        &mut self,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let version = self.version(api_of::<R>())?;
        self.call_version(request, version)
    }

    /// Sends a request in a given version and waits for its answer. Nothing else may be in flight.
    pub fn call_version<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        assert!(
            self.in_flight.is_empty(),
            "answers to earlier requests must be taken first"
        );
        self.send(request, version)?;
        self.receive::<R::Response>()
    }

    /// Sends a request; its answer is to be taken by `receive`.
    pub fn send<R: KafkaRequest>(&mut self, request: &R, version: i16) -> Result<(), ClientError> {
        let expected = self.transmit(request, version)?;
        self.in_flight.push_back(expected);
        Ok(())
    }

    /// Sends a request that the broker does not answer: a produce request with acks 0.
    pub fn send_unanswered<R: KafkaRequest>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<(), ClientError> {
        self.transmit(request, version).map(|_| ())
    }

    fn transmit<R: KafkaRequest>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<Expected, ClientError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        let frame = protocol::encode_request(request, version, correlation_id, &self.client_id)
            .map_err(|error| self.misunderstood(error))?;
        let api = api_of::<R>();
        self.stream
            .write_all(&frame)
            .map_err(|cause| self.failed(cause, api))?;
        Ok(Expected {
            api,
            version,
            correlation_id,
        })
    }

    /// Whether an answer has begun to arrive, or the connection broke.
    pub fn has_answer(&self) -> Result<bool, ClientError> {
        self.stream.has_input().map_err(|cause| self.broken(cause))
    }

    /// Takes the answer to the oldest request in flight.
    pub fn receive<R: KafkaResponse>(&mut self) -> Result<R, ClientError> {
        let (version, body) = self.receive_body()?;
        protocol::decode_response(body, version).map_err(|error| self.misunderstood(error))
    }

    /// Takes the answer to the oldest request in flight as bytes, with its version.
    fn receive_body(&mut self) -> Result<(i16, Bytes), ClientError> {
        let expected = *self.in_flight.front().expect("a request is in flight");
        let frame = self.read_frame(expected.api)?;
        self.in_flight.pop_front();
        let header = protocol::decode_response_header(&frame, expected.api, expected.version);
        let (correlation_id, body) = header.map_err(|error| self.misunderstood(error.into()))?;
        if correlation_id != expected.correlation_id {
            let detail = format!(
                "the answer to request {} carries id {correlation_id}",
                expected.correlation_id
            );
            return Err(self.misunderstood(ProtocolError::Malformed { detail }));
        }
        Ok((expected.version, body))
    }

    fn read_frame(&mut self, api: ApiKey) -> Result<Bytes, ClientError> {
        let mut size = [0; size_of::<i32>()];
        self.stream
            .read_exact(&mut size)
            .map_err(|cause| self.failed(cause, api))?;
        let size = i32::from_be_bytes(size);
        let length = usize::try_from(size)
            .ok()
            .filter(|&length| length <= RESPONSE_BYTES_MAX);
        let Some(length) = length else {
            let detail = match speaker(size.to_be_bytes()) {
                Some(speaker) => format!("its answer begins as {speaker} does"),
                None => format!("an answer of {size} bytes"),
            };
            return Err(self.misunderstood(ProtocolError::TooLarge { detail }));
        };
        // The buffer grows with what arrives, not with what the first four bytes promise.
        let mut frame = Vec::with_capacity(length.min(READ_AHEAD_BYTES));
        let mut limited = (&mut self.stream).take(length as u64);
        match limited.read_to_end(&mut frame) {
            Ok(_) if frame.len() == length => Ok(Bytes::from(frame)),
            Ok(_) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Err(cause) => Err(self.failed(cause, api)),
        }
    }

    /// Learns what the broker serves. A broker that does not know the version of the question
    /// answers in version 0 and tells what it knows (KIP-511).
    fn negotiate(&mut self) -> Result<(), ClientError> {
        let mut request = ApiVersionsRequest::default();
        request.client_software_name = StrBytes::from(env!("CARGO_PKG_NAME"));
        request.client_software_version = StrBytes::from(env!("CARGO_PKG_VERSION"));
        self.send(&request, API_VERSIONS_VERSION)?;
        let (_, body) = self.receive_body()?;
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        let response: ApiVersionsResponse = if body.starts_with(&unsupported) {
            self.call_version(&ApiVersionsRequest::default(), 0)?
        } else {
            protocol::decode_response(body, API_VERSIONS_VERSION)
                .map_err(|error| self.misunderstood(error))?
        };
        if let ErrorCode::None = error_code(response.error_code) {
            let ranges = response.api_keys.iter();
            self.versions = ranges
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect();
            return Ok(());
        }
        ClientError::check(
            ApiKey::ApiVersions,
            &self.address,
            response.error_code,
            None,
        )
    }

    fn failed(&self, cause: io::Error, api: ApiKey) -> ClientError {
        match cause.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut {
                address: self.address.clone(),
                api,
            },
            _ => self.broken(cause),
        }
    }

    fn broken(&self, cause: io::Error) -> ClientError {
        let cause = match cause.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed it")
            }
            _ => cause,
        };
        ClientError::Disconnected {
            address: self.address.clone(),
            cause,
        }
    }

    fn misunderstood(&self, error: ProtocolError) -> ClientError {
        ClientError::Protocol {
            address: self.address.clone(),
            error,
        }
    }
}

/// Who sends what no broker sends in place of an answer's size.
fn speaker(size: [u8; 4]) -> Option<&'static str> {
    match &size {
        b"HTTP" => Some("an HTTP server's"),
        b"SSH-" => Some("an SSH server's"),
        // A record of TLS: an alert, version 3.x.
        [0x15, 3, ..] => Some("a TLS server's"),
        _ => None,
    }
}

/// What is reserved for an answer before its bytes arrive.
const READ_AHEAD_BYTES: usize = 1 << 20;

fn api_of<R: KafkaRequest>() -> ApiKey {
    ApiKey::from_code(R::API_KEY.value()).expect("the client asks for what corelog serves")
}

/// HOST and PORT of HOST:PORT; an IPv6 address stands in brackets.
pub(super) fn parse_address(address: &str) -> Result<(&str, u16), ClientError> {
    let bad = || ClientError::BadAddress {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return Err(bad());
    }
    Ok((host, port))
}

fn connect(address: &str, limit: Duration) -> Result<TcpStream, ClientError> {
    let (host, port) = parse_address(address)?;
    let failed = |cause| ClientError::Connect {
        address: address.to_owned(),
        cause,
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for candidate in blocking::resolve(host, port).map_err(failed)? {
        match TcpStream::connect(candidate, limit) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(failed(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let check = |address: &str, expected: Option<(&str, u16)>| {
            assert_eq!(parse_address(address).ok(), expected, "{address:?}");
        };
        check("127.0.0.1:9092", Some(("127.0.0.1", 9092)));
        check("localhost:1", Some(("localhost", 1)));
        check("[::1]:9092", Some(("::1", 9092)));
        check("localhost", None);
        check(":9092", None);
        check("localhost:x", None);
        check("localhost:65536", None);
    }
}
