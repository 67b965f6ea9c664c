//! Our codecs and the crate `kafka-protocol` read each other's bytes.

use bytes::{Bytes, BytesMut};
use corelog::protocol::messages as ours;
use corelog::protocol::messages::KafkaMessage;
use corelog::protocol::{self, ApiKey, ProtocolError};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message};

use crate::fields::{Fill, for_every_api};
use crate::random::Random;
use crate::random_message;

/// Random structures per message and version.
const ROUNDS: usize = 64;

fn check<Ours, Theirs>(
    random: &mut Random,
    version: i16,
    decode: impl Fn(Bytes, i16) -> Result<Ours, ProtocolError>,
) where
    Ours: Fill + KafkaMessage + PartialEq + std::fmt::Debug,
    Theirs: Encodable + Decodable + Message + std::fmt::Debug,
{
    let known = Theirs::VERSIONS;
    assert!(
        known.min <= version && version <= known.max,
        "{} {version}",
        Ours::NAME
    );
    for _ in 0..ROUNDS {
        let (message, bytes) = random_message::<Ours>(random, version);
        let context = || {
            format!(
                "{} {version}, seed {}: {message:?}",
                Ours::NAME,
                crate::seed()
            )
        };

        let mut unread = bytes.clone();
        let read_by_them = Theirs::decode(&mut unread, version)
            .unwrap_or_else(|error| panic!("they cannot read {}: {error:#}", context()));
        assert!(
            unread.is_empty(),
            "they leave {} bytes of {}",
            unread.len(),
            context()
        );

        let mut written_by_them = BytesMut::new();
        read_by_them
            .encode(&mut written_by_them, version)
            .unwrap_or_else(|error| panic!("they cannot write {}: {error:#}", context()));
        assert_eq!(written_by_them, bytes, "{}", context());

        let read_back = decode(written_by_them.freeze(), version)
            .unwrap_or_else(|error| panic!("we cannot read {}: {error}", context()));
        assert_eq!(read_back, message, "{}", context());
    }
}

fn check_headers<Request: HeaderVersion, Response: HeaderVersion>(api: ApiKey, version: i16) {
    let (request, response) = (
        Request::header_version(version),
        Response::header_version(version),
    );
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
}

#[test]
fn both_codecs_read_each_other_in_every_version() {
    let mut random = Random::new(crate::seed());
    let mut checked = Vec::new();
    macro_rules! visit {
        ($api:ident, $requests:ident $request:ident, $responses:ident $response:ident) => {
            let (min, max) = ApiKey::$api.versions();
            for version in min..=max {
                check_headers::<theirs::$requests::$request, theirs::$responses::$response>(
                    ApiKey::$api,
                    version,
                );
                check::<ours::$requests::$request, theirs::$requests::$request>(
                    &mut random,
                    version,
                    protocol::decode,
                );
                check::<ours::$responses::$response, theirs::$responses::$response>(
                    &mut random,
                    version,
                    protocol::decode_response,
                );
            }
            checked.push(ApiKey::$api);
        };
    }
    for_every_api!(visit);
    assert_eq!(checked, ApiKey::ALL);
}
