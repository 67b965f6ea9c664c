//! ApiVersions (key 18), versions 0 to 4, written by hand because of its special cases.
//!
//! Source: Apache Kafka, ApiVersionsRequest.json, ApiVersionsResponse.json, KIP-35, KIP-511,
//! KIP-584. It is the first request of most connections, so its response header has no tagged
//! fields in any version, and a version that the broker does not know is answered in version 0.

use bytes::Bytes;

use super::api::{ApiKey, ApiSpec};
use super::error_code::ErrorCode;
use super::messages::StrBytes;
use super::wire::{Reader, WireError, Writer};

/// A request for what the broker serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersionsRequest {
    /// The client's library, as `apache-kafka-java`; empty before version 3.
    pub client_software_name: StrBytes,
    /// The library's version; empty before version 3.
    pub client_software_version: StrBytes,
}

impl ApiVersionsRequest {
    /// Reads the body of a request whose header said `version`, which must be one of 0 to 4.
    pub fn decode(body: &Bytes, version: i16) -> Result<ApiVersionsRequest, WireError> {
        if version < 3 {
            return Ok(ApiVersionsRequest::default());
        }
        let mut reader = Reader::new(body, ApiKey::ApiVersions.is_flexible(version), 0);
        let request = ApiVersionsRequest {
            client_software_name: reader.string()?,
            client_software_version: reader.string()?,
        };
        reader.skip_tagged_fields()?;
        Ok(request)
    }

    /// Whether name and version are such as may go into logs and metrics (KIP-511): letters,
    /// digits, inner dots and dashes. A request of version 3 or later that fails this is answered
    /// with INVALID_REQUEST.
    pub fn has_valid_software(&self) -> bool {
        is_software_word(&self.client_software_name)
            && is_software_word(&self.client_software_version)
    }
}

fn is_software_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner)
}

/// A feature of the cluster, with the levels that the broker supports or the one that is
/// finalized (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, as `transaction.version`. Clients act on what is finalized, so a feature stands
    /// here only if corelog serves all that its level means.
    pub name: &'static str,
    /// The lowest level supported.
    pub min_level: i16,
    /// The highest level supported, or the finalized level.
    pub max_level: i16,
}

/// What a broker says of itself.
#[derive(Clone, Copy, Debug)]
pub struct ApiVersionsResponse<'a> {
    /// `InvalidRequest`, or `None`.
    pub error: ErrorCode,
    /// What the handlers serve.
    pub apis: &'a [ApiSpec],
    /// The features that the broker could switch on.
    pub supported_features: &'a [Feature],
    /// The features that are switched on in the cluster; `min_level` is that of the range.
    pub finalized_features: &'a [Feature],
    /// Counts the changes of `finalized_features`.
    pub finalized_features_epoch: i64,
}

impl<'a> ApiVersionsResponse<'a> {
    /// The answer of a broker without features.
    pub fn new(apis: &'a [ApiSpec]) -> ApiVersionsResponse<'a> {
        ApiVersionsResponse {
            error: ErrorCode::None,
            apis,
            supported_features: &[],
            finalized_features: &[],
            finalized_features_epoch: -1,
        }
    }

    /// Writes the body of the response to a request of `version`, one of 0 to 4.
    pub fn encode(&self, version: i16) -> Bytes {
        let mut writer = Writer::new(ApiKey::ApiVersions.is_flexible(version), 512);
        writer.i16(self.error.code());
        writer.length(self.apis.len());
        for api in self.apis {
            writer.i16(api.key.code());
            writer.i16(api.advertised_min());
            writer.i16(api.max);
            writer.no_tagged_fields();
        }
        if version >= 1 {
            let throttle_time_ms = 0;
            writer.i32(throttle_time_ms);
        }
        if version >= 3 {
            self.encode_features(&mut writer, version);
        }
        writer.finish()
    }

    fn encode_features(&self, writer: &mut Writer, version: i16) {
        // Clients before version 4 refuse a supported feature whose lowest level is 0
        // (KAFKA-17492), so those are kept from them.
        let is_told = |feature: &&Feature| version >= 4 || feature.min_level > 0;
        let supported: Vec<&Feature> = self.supported_features.iter().filter(is_told).collect();
        let finalized: Vec<&Feature> = self.finalized_features.iter().collect();
        let has_epoch = self.finalized_features_epoch >= 0;
        let count = [!supported.is_empty(), has_epoch, !finalized.is_empty()];
        writer.tagged_field_count(count.into_iter().map(u32::from).sum());
        if !supported.is_empty() {
            writer.tagged_field(0, |field| {
                encode_levels(field, &supported, |feature| {
                    [feature.min_level, feature.max_level]
                });
            });
        }
        if has_epoch {
            writer.tagged_field(1, |field| field.i64(self.finalized_features_epoch));
        }
        if !finalized.is_empty() {
            writer.tagged_field(2, |field| {
                encode_levels(field, &finalized, |feature| {
                    [feature.max_level, feature.min_level]
                });
            });
        }
    }
}

fn encode_levels(field: &mut Writer, features: &[&Feature], levels: fn(&Feature) -> [i16; 2]) {
    field.length(features.len());
    for feature in features {
        field.string(feature.name);
        for level in levels(feature) {
            field.i16(level);
        }
        field.no_tagged_fields();
    }
}

/// The body that answers an ApiVersions request of a version that is not served: version 0, the
/// error UNSUPPORTED_VERSION, and the range of ApiVersions alone, so that the client can ask again
/// (KIP-511).
pub fn unsupported_version_response(api_versions: &ApiSpec) -> Bytes {
    let response = ApiVersionsResponse {
        error: ErrorCode::UnsupportedVersion,
        ..ApiVersionsResponse::new(std::slice::from_ref(api_versions))
    };
    response.encode(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APIS: [ApiSpec; 2] = [
        ApiSpec::new(ApiKey::Produce, 3, 13),
        ApiSpec::new(ApiKey::ApiVersions, 0, 4),
    ];

    #[test]
    fn software_names_are_words() {
        let check = |word: &str, expected: bool| {
            assert_eq!(is_software_word(word), expected, "{word:?}");
        };
        check("apache-kafka-java", true);
        check("2.12.0", true);
        check("a", true);
        check("", false);
        check("-a", false);
        check("a.", false);
        check("a b", false);
        check("a_b", false);
        check("ä", false);
    }

    #[test]
    fn a_request_carries_the_software_from_version_3() {
        let body = Bytes::from_static(&[3, b'l', b'i', 2, b'1', 0]);
        let request = ApiVersionsRequest::decode(&body, 3).unwrap();
        assert_eq!(request.client_software_name.as_str(), "li");
        assert_eq!(request.client_software_version.as_str(), "1");
        assert!(request.has_valid_software());
        let old = ApiVersionsRequest::decode(&Bytes::new(), 2).unwrap();
        assert_eq!(old, ApiVersionsRequest::default());
        assert_eq!(
            ApiVersionsRequest::decode(&Bytes::new(), 3),
            Err(WireError::Truncated)
        );
    }

    #[test]
    fn each_version_has_its_layout() {
        let check = |version: i16, expected: &[u8]| {
            let response = ApiVersionsResponse::new(&APIS);
            assert_eq!(&response.encode(version)[..], expected, "{version}");
        };
        check(0, &[0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 13, 0, 18, 0, 0, 0, 4]);
        check(
            1,
            &[
                0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 13, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0,
            ],
        );
        check(
            3,
            &[
                0, 0, 3, 0, 0, 0, 0, 0, 13, 0, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0,
            ],
        );
    }

    #[test]
    fn an_unknown_version_is_answered_in_version_0() {
        let expected = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(&unsupported_version_response(&APIS[1])[..], &expected);
    }

    #[test]
    fn features_are_tagged_and_level_0_is_kept_from_older_clients() {
        let supported = [
            Feature {
                name: "a",
                min_level: 0,
                max_level: 2,
            },
            Feature {
                name: "b",
                min_level: 1,
                max_level: 3,
            },
        ];
        let response = ApiVersionsResponse {
            supported_features: &supported,
            finalized_features: &supported[1..],
            finalized_features_epoch: 7,
            ..ApiVersionsResponse::new(&[])
        };
        let b = [2, 2, b'b', 0, 1, 0, 3, 0];
        let epoch = [1, 8, 0, 0, 0, 0, 0, 0, 0, 7];
        let finalized = [2, 8, 2, 2, b'b', 0, 3, 0, 1, 0];
        let head = [0, 0, 1, 0, 0, 0, 0, 3];
        let old = [&head[..], &[0, 8], &b, &epoch, &finalized].concat();
        assert_eq!(&response.encode(3)[..], &old);
        let both = [3, 2, b'a', 0, 0, 0, 2, 0, 2, b'b', 0, 1, 0, 3, 0];
        let new = [&head[..], &[0, 15], &both, &epoch, &finalized].concat();
        assert_eq!(&response.encode(4)[..], &new);
    }
}
