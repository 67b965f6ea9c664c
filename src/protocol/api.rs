//! The APIs that corelog serves, and which versions its codecs know.
//!
//! Source: Apache Kafka 4.1, the message schemas. Why each range ends where it does:
//! docs/decisions/2026-11-22-advertised-versions.md.

use std::fmt;

macro_rules! apis {
    ($(
        $variant:ident = $key:literal, $min:literal..=$max:literal, flexible $flexible:literal;
    )*) => {
        /// An API that corelog serves. The names are Kafka's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("Key ", $key, ", versions ", $min, " to ", $max, ".")]
              $variant = $key,)*
        }

        impl ApiKey {
            /// Every API, in the order of their keys.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$variant,)*];

            /// The API of a key; `None` if corelog does not serve it.
            pub const fn from_code(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, as in `OffsetForLeaderEpoch`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$variant => stringify!($variant),)*
                }
            }

            /// The first and the last version that the codecs know.
            pub const fn versions(self) -> (i16, i16) {
                match self {
                    $(ApiKey::$variant => ($min, $max),)*
                }
            }

            /// The first version in KIP-482's flexible encoding.
            pub const fn flexible_from(self) -> i16 {
                match self {
                    $(ApiKey::$variant => $flexible,)*
                }
            }
        }
    };
}

/// The flexible-from of an API that has no flexible version.
const NEVER: i16 = i16::MAX;

apis! {
    Produce = 0, 3..=13, flexible 9;
    Fetch = 1, 4..=18, flexible 12;
    ListOffsets = 2, 1..=10, flexible 6;
    Metadata = 3, 0..=13, flexible 9;
    OffsetCommit = 8, 2..=9, flexible 8;
    OffsetFetch = 9, 1..=9, flexible 6;
    FindCoordinator = 10, 0..=6, flexible 3;
    JoinGroup = 11, 0..=9, flexible 6;
    Heartbeat = 12, 0..=4, flexible 4;
    LeaveGroup = 13, 0..=5, flexible 4;
    SyncGroup = 14, 0..=5, flexible 4;
    DescribeGroups = 15, 0..=6, flexible 5;
    ListGroups = 16, 0..=5, flexible 3;
    ApiVersions = 18, 0..=4, flexible 3;
    CreateTopics = 19, 2..=7, flexible 5;
    DeleteTopics = 20, 1..=6, flexible 4;
    DeleteRecords = 21, 0..=2, flexible 2;
    InitProducerId = 22, 0..=5, flexible 2;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4;
    DescribeConfigs = 32, 1..=4, flexible 4;
    AlterConfigs = 33, 0..=2, flexible 2;
    DescribeLogDirs = 35, 1..=4, flexible 2;
    CreatePartitions = 37, 0..=3, flexible 2;
    DeleteGroups = 42, 0..=2, flexible 2;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1;
    OffsetDelete = 47, 0..=0, flexible 0x7fff; // NEVER
    DescribeCluster = 60, 0..=2, flexible 0;
    DescribeProducers = 61, 0..=0, flexible 0;
    DescribeTopicPartitions = 75, 0..=0, flexible 0;
}

const _: () = assert!(ApiKey::OffsetDelete.flexible_from() == NEVER);

impl ApiKey {
    /// The number that travels.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether requests and responses of this version are in the flexible encoding.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of the header of a request: 1, or 2 with tagged fields. Header 0, without a
    /// client id, belonged to an API that is gone.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header of a response: 0, or 1 with tagged fields. ApiVersions answers
    /// with 0 always, because its client does not know yet what the broker speaks.
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            ApiKey::ApiVersions => 0,
            _ if self.is_flexible(version) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one handler serves: the first line of each file of `handlers`. The slice of all of them
/// is what ApiVersions answers from and what requests are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiSpec {
    /// The API.
    pub key: ApiKey,
    /// The first version that is served.
    pub min: i16,
    /// The last version that is served.
    pub max: i16,
}

impl ApiSpec {
    /// States what is served.
    ///
    /// # Panics
    /// If the codecs do not know those versions; at compile time, where the specs are constants.
    pub const fn new(key: ApiKey, min: i16, max: i16) -> ApiSpec {
        let (known_min, known_max) = key.versions();
        assert!(known_min <= min && min <= max && max <= known_max);
        ApiSpec { key, min, max }
    }

    /// Whether a request of this version is served.
    pub const fn serves(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The first version that ApiVersions tells. Produce tells 0 although 0 to 2 are refused:
    /// librdkafka compresses only for brokers that tell it (KAFKA-18659).
    pub const fn advertised_min(&self) -> i16 {
        match self.key {
            ApiKey::Produce => 0,
            _ => self.min,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back_to_their_api() {
        for &api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
            let (min, max) = api.versions();
            assert!(0 <= min && min <= max, "{api}");
        }
        assert!(ApiKey::ALL.is_sorted());
        assert_eq!(ApiKey::from_code(17), None);
        assert_eq!(ApiKey::from_code(-1), None);
    }

    #[test]
    fn headers_follow_the_flexible_versions_except_for_api_versions() {
        let check = |api: ApiKey, version: i16, request: i16, response: i16| {
            assert_eq!(
                api.request_header_version(version),
                request,
                "{api} {version}"
            );
            assert_eq!(
                api.response_header_version(version),
                response,
                "{api} {version}"
            );
        };
        check(ApiKey::Produce, 8, 1, 0);
        check(ApiKey::Produce, 9, 2, 1);
        check(ApiKey::OffsetDelete, 0, 1, 0);
        check(ApiKey::DescribeCluster, 0, 2, 1);
        check(ApiKey::ApiVersions, 2, 1, 0);
        check(ApiKey::ApiVersions, 3, 2, 0);
        check(ApiKey::ApiVersions, 99, 2, 0);
    }

    #[test]
    fn produce_is_advertised_from_zero() {
        let produce = ApiSpec::new(ApiKey::Produce, 3, 13);
        assert_eq!(produce.advertised_min(), 0);
        assert!(!produce.serves(2) && produce.serves(3) && !produce.serves(14));
        assert_eq!(ApiSpec::new(ApiKey::Fetch, 4, 11).advertised_min(), 4);
    }
}
