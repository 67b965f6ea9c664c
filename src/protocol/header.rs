//! The header in front of every request and every response.
//!
//! Source: Apache Kafka, RequestHeader.json and ResponseHeader.json, KIP-482, KIP-511.

use bytes::Bytes;

use super::api::ApiKey;
use super::codec::ProtocolError;
use super::messages::StrBytes;
use super::wire::{Reader, WireError, Writer};

/// What stands before a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API that is asked for.
    pub api: ApiKey,
    /// The version of its request and response; not yet checked against what is served.
    pub version: i16,
    /// Chosen by the client; travels back in the response.
    pub correlation_id: i32,
    /// The name that the client gave itself: a slice of the request's bytes.
    pub client_id: Option<StrBytes>,
}

/// Why a request's header cannot be used. Each of them closes the connection, as Kafka does:
/// what follows an unknown API or a damaged header cannot be interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The key names no API that corelog serves.
    UnknownApi {
        /// The key.
        key: i16,
        /// The version that was asked for.
        version: i16,
    },
    /// The bytes are not a header.
    Malformed(WireError),
}

impl From<WireError> for HeaderError {
    fn from(error: WireError) -> HeaderError {
        HeaderError::Malformed(error)
    }
}

impl RequestHeader {
    /// Reads the header of a request, the size in front of it already taken off, and returns it
    /// with the body that follows.
    ///
    /// The layout of the header depends on the API and the version. An ApiVersions request of a
    /// version that is not known has the layout of its newest one, so it can still be answered.
    pub fn decode(request: &Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
        let mut reader = Reader::new(request, false, 0);
        let key = reader.i16()?;
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let api = ApiKey::from_code(key).ok_or(HeaderError::UnknownApi { key, version })?;
        let client_id = reader.nullable_string()?;
        let mut body = request.slice(reader.position()..);
        if api.request_header_version(version) == 2 {
            let mut reader = Reader::new(&body, true, 0);
            reader.skip_tagged_fields()?;
            let at = reader.position();
            body = body.slice(at..);
        }
        let header = RequestHeader {
            api,
            version,
            correlation_id,
            client_id,
        };
        Ok((header, body))
    }

    /// The start of the response's frame: the size of what follows, the correlation id and, in
    /// flexible versions, the header's empty tagged fields. `body_bytes` is the length of the
    /// encoded response that will follow; a frame of 2 GiB has no size, and is refused.
    pub fn response_prefix(&self, body_bytes: usize) -> Result<Bytes, ProtocolError> {
        let has_tags = self.api.response_header_version(self.version) == 1;
        let mut writer = Writer::new(has_tags, RESPONSE_PREFIX_BYTES_MAX);
        let size = size_of::<i32>() + usize::from(has_tags) + body_bytes;
        let size = i32::try_from(size).map_err(|_| ProtocolError::TooLarge {
            detail: format!("a response of {size} bytes"),
        })?;
        writer.i32(size);
        writer.i32(self.correlation_id);
        writer.no_tagged_fields();
        Ok(writer.finish())
    }
}

/// Takes the header off a response's frame, its size already taken off: the correlation id, and
/// the body. For clients.
pub fn decode_response_header(
    frame: &Bytes,
    api: ApiKey,
    version: i16,
) -> Result<(i32, Bytes), WireError> {
    let has_tags = api.response_header_version(version) == 1;
    let mut reader = Reader::new(frame, has_tags, 0);
    let correlation_id = reader.i32()?;
    reader.skip_tagged_fields()?;
    Ok((correlation_id, frame.slice(reader.position()..)))
}

/// The longest start of a response: size, correlation id, the count of tagged fields.
pub const RESPONSE_PREFIX_BYTES_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    /// API, version, client id and body.
    type Parts<'a> = (ApiKey, i16, Option<&'a str>, &'a [u8]);

    fn check(bytes: &[u8], expected: Result<Parts<'_>, HeaderError>) {
        let got = RequestHeader::decode(&Bytes::copy_from_slice(bytes));
        let got = got.as_ref().map(|(header, body)| {
            assert_eq!(header.correlation_id, 0x0102_0304);
            (
                header.api,
                header.version,
                header.client_id.as_deref(),
                &body[..],
            )
        });
        assert_eq!(got.map_err(|&error| error), expected, "{bytes:?}");
    }

    #[test]
    fn the_layout_follows_api_and_version() {
        use ApiKey::{ApiVersions, Metadata, Produce};
        check(
            &[0, 3, 0, 8, 1, 2, 3, 4, 0, 1, b'c', 9, 9],
            Ok((Metadata, 8, Some("c"), &[9, 9])),
        );
        check(
            &[0, 3, 0, 8, 1, 2, 3, 4, 0xff, 0xff],
            Ok((Metadata, 8, None, &[])),
        );
        check(
            &[0, 0, 0, 9, 1, 2, 3, 4, 0, 1, b'c', 0, 7],
            Ok((Produce, 9, Some("c"), &[7])),
        );
        let tagged = [0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 5, 2, 8, 8, 7];
        check(&tagged, Ok((Produce, 9, Some(""), &[7])));
        check(
            &[0, 18, 0, 99, 1, 2, 3, 4, 0, 0, 0, 6],
            Ok((ApiVersions, 99, Some(""), &[6])),
        );
    }

    #[test]
    fn what_cannot_be_interpreted_is_refused() {
        let malformed = |error| Err(HeaderError::Malformed(error));
        check(
            &[0, 4, 0, 1, 1, 2, 3, 4, 0, 0],
            Err(HeaderError::UnknownApi { key: 4, version: 1 }),
        );
        check(&[0, 3, 0], malformed(WireError::Truncated));
        check(
            &[0, 3, 0, 8, 1, 2, 3, 4, 0, 9, b'c'],
            malformed(WireError::Truncated),
        );
        check(
            &[0, 3, 0, 8, 1, 2, 3, 4, 0, 1, 0xff],
            malformed(WireError::NotUtf8),
        );
        check(
            &[0, 0, 0, 9, 1, 2, 3, 4, 0, 0],
            malformed(WireError::Truncated),
        );
        let many = [0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 0x7f];
        check(&many, malformed(WireError::TooManyElements));
    }

    #[test]
    fn a_response_starts_with_its_size_and_correlation_id() {
        let check = |api: ApiKey, version: i16, expected: &[u8]| {
            let header = RequestHeader {
                api,
                version,
                correlation_id: 5,
                client_id: None,
            };
            let prefix = header.response_prefix(10).unwrap();
            assert_eq!(&prefix[..], expected, "{api} {version}");
            let longest = i32::MAX as usize - (expected.len() - size_of::<i32>());
            let prefix = header.response_prefix(longest).unwrap();
            assert_eq!(prefix[..4], i32::MAX.to_be_bytes());
            let refused = header.response_prefix(longest + 1);
            assert!(matches!(refused, Err(ProtocolError::TooLarge { .. })));
        };
        check(ApiKey::Metadata, 8, &[0, 0, 0, 14, 0, 0, 0, 5]);
        check(ApiKey::Metadata, 9, &[0, 0, 0, 15, 0, 0, 0, 5, 0]);
        check(ApiKey::ApiVersions, 3, &[0, 0, 0, 14, 0, 0, 0, 5]);
    }
}
