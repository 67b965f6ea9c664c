//! Damaged messages: every decoder refuses or reads them, none panics, none takes memory out of
//! proportion to the bytes that are there.

// Real time only says when a longer run ends.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use corelog::limits::{REQUEST_ELEMENTS_MAX, REQUEST_NESTED_BYTES_MAX};
use corelog::protocol::api_versions::ApiVersionsRequest;
use corelog::protocol::fetch::FetchRequest;
use corelog::protocol::produce::ProduceRequest;
use corelog::protocol::{self, ApiKey, ProtocolError, RequestHeader, messages};

use crate::counting::peak_bytes;
use crate::fields::for_every_api;
use crate::random::Random;
use crate::random_message;

/// Damaged messages per decoder and version in a short run.
const ROUNDS: usize = 400;
/// Memory that one byte of a message may become: an element of two bytes becomes a structure.
const BYTES_PER_BYTE_MAX: usize = 128;
/// Memory beside that: the text of an error, the smallest vectors.
const BYTES_BESIDE_MAX: usize = 4096;

/// Damages a message in one to four places.
fn mutate(random: &mut Random, message: &[u8]) -> Bytes {
    let mut bytes = message.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.next() as u8),
            // Lengths and counts that promise far more than there is, in each encoding.
            4 => overwrite(&mut bytes, at, &[0x7f, 0xff, 0xff, 0xff]),
            5 => overwrite(&mut bytes, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            6 => overwrite(
                &mut bytes,
                at,
                &(random.next() as u32 >> random.below(32)).to_be_bytes(),
            ),
            _ => {
                let from = random.below(bytes.len());
                let length = random.below((bytes.len() - from).min(16) + 1);
                let copied = bytes[from..from + length].to_vec();
                bytes.splice(at..at, copied);
            }
        }
    }
    Bytes::from(bytes)
}

fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (byte, value) in bytes[at..].iter_mut().zip(value) {
        *byte = *value;
    }
}

struct Run {
    random: Random,
    until: Option<Instant>,
    decoded: usize,
    refused: usize,
}

impl Run {
    /// One damaged message through one decoder.
    fn check<T>(
        &mut self,
        what: &str,
        version: i16,
        message: &[u8],
        decode: impl FnOnce(Bytes) -> Result<T, ProtocolError>,
    ) {
        let damaged = mutate(&mut self.random, message);
        let cap = damaged.len() * BYTES_PER_BYTE_MAX + BYTES_BESIDE_MAX;
        let (peak, result) = peak_bytes(|| decode(damaged.clone()));
        assert!(
            peak <= cap,
            "{what} {version}: {} bytes became {peak}, seed {}: {damaged:?}",
            damaged.len(),
            crate::seed()
        );
        match result {
            Ok(_) => self.decoded += 1,
            Err(_) => self.refused += 1,
        }
    }

    fn goes_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

#[test]
fn damaged_messages_are_refused_within_bounds() {
    let seconds = std::env::var("CORELOG_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("a number of seconds"));
    let mut run = Run {
        random: Random::new(crate::seed()),
        until: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        decoded: 0,
        refused: 0,
    };
    loop {
        every_generated_decoder(&mut run);
        every_decoder_by_hand(&mut run);
        if !run.goes_on() {
            break;
        }
    }
    println!(
        "{} damaged messages decoded, {} refused",
        run.decoded, run.refused
    );
    assert!(run.decoded > 0 && run.refused > 0);
}

fn every_generated_decoder(run: &mut Run) {
    macro_rules! visit {
        ($api:ident, $requests:ident $request:ident, $responses:ident $response:ident) => {
            let (min, max) = ApiKey::$api.versions();
            for version in min..=max {
                for _ in 0..ROUNDS {
                    type Request = messages::$requests::$request;
                    let (_, bytes) = random_message::<Request>(&mut run.random, version);
                    run.check(stringify!($request), version, &bytes, |damaged| {
                        protocol::decode::<Request>(damaged, version)
                    });
                    type Response = messages::$responses::$response;
                    let (_, bytes) = random_message::<Response>(&mut run.random, version);
                    run.check(stringify!($response), version, &bytes, |damaged| {
                        protocol::decode_response::<Response>(damaged, version)
                    });
                }
            }
        };
    }
    for_every_api!(visit);
}

fn every_decoder_by_hand(run: &mut Run) {
    macro_rules! visit {
        ($api:ident, $requests:ident $request:ident) => {
            let (min, max) = ApiKey::$api.versions();
            for version in min..=max {
                for _ in 0..ROUNDS {
                    type Generated = messages::$requests::$request;
                    let (_, bytes) = random_message::<Generated>(&mut run.random, version);
                    run.check(stringify!($request), version, &bytes, |damaged| {
                        Ok($request::decode(&damaged, version)?)
                    });
                }
            }
        };
    }
    visit!(Produce, produce_request ProduceRequest);
    visit!(Fetch, fetch_request FetchRequest);
    visit!(ApiVersions, api_versions_request ApiVersionsRequest);
    for _ in 0..ROUNDS * 10 {
        let api = ApiKey::ALL[run.random.below(ApiKey::ALL.len())];
        let mut header = vec![0, api.code() as u8, 0, run.random.below(14) as u8];
        header.extend_from_slice(&[0, 0, 0, 1, 0, 3, b'a', b'b', b'c', 1, 0, 2, 9, 9, 7, 7]);
        run.check("RequestHeader", 0, &header, |damaged| {
            RequestHeader::decode(&damaged).map_err(|error| ProtocolError::Malformed {
                detail: format!("{error:?}"),
            })
        });
    }
}

/// The largest requests that the bounds let through, made of the smallest elements.
#[test]
fn requests_of_nothing_but_tiny_elements_stay_within_bounds() {
    let elements = REQUEST_ELEMENTS_MAX;
    let check = |what: &str, body: Vec<u8>, decode: &dyn Fn(Bytes) -> bool| {
        let body = Bytes::from(body);
        let (peak, is_decoded) = peak_bytes(|| decode(body.clone()));
        println!("{what}: {} bytes became {peak}", body.len());
        assert!(is_decoded, "{what} was refused, which shows nothing");
        assert!(
            peak <= WORST_BYTES_MAX,
            "{what}: {} bytes became {peak}",
            body.len()
        );
    };

    let topics = array(elements, &[1, 0]);
    check(
        "Metadata 9",
        [&topics[..], &[1, 0, 0, 0]].concat(),
        &|body| protocol::decode::<messages::MetadataRequest>(body, 9).is_ok(),
    );

    let configs = array(elements, &[1, 0, 0]);
    let topic = [&[1, 0, 0, 0, 0, 0, 0, 1], &configs[..], &[0]].concat();
    let topics = array(REQUEST_NESTED_BYTES_MAX / topic.len(), &topic);
    check(
        "CreateTopics 7",
        [&topics[..], &[0, 0, 0, 0, 0, 0]].concat(),
        &|body| protocol::decode::<messages::CreateTopicsRequest>(body, 7).is_ok(),
    );

    let keys = array(elements, &[1]);
    let resource = [&[2, 1], &keys[..], &[0]].concat();
    let resources = array(REQUEST_NESTED_BYTES_MAX / resource.len(), &resource);
    check(
        "DescribeConfigs 4",
        [&resources[..], &[0, 0, 0]].concat(),
        &|body| protocol::decode::<messages::DescribeConfigsRequest>(body, 4).is_ok(),
    );

    let topics = array(elements, &[1, 1, 0]);
    let group = [&[1], &topics[..], &[0]].concat();
    let groups = array(REQUEST_NESTED_BYTES_MAX / group.len(), &group);
    check("OffsetFetch 8", [&groups[..], &[0, 0]].concat(), &|body| {
        protocol::decode::<messages::OffsetFetchRequest>(body, 8).is_ok()
    });

    let topics = array(elements, &[1, 1, 0]);
    check(
        "Produce 9",
        [&[0; 7], &topics[..], &[0]].concat(),
        &|body| ProduceRequest::decode(&body, 9).is_ok(),
    );
    check(
        "Fetch 12",
        [&[0; 25], &topics[..], &[1, 1, 0]].concat(),
        &|body| FetchRequest::decode(&body, 12).is_ok(),
    );
}

/// A compact array of `count` times the same element.
fn array(count: usize, element: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = count + 1;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend(element.iter().copied().cycle().take(element.len() * count));
    bytes
}

/// What one request may take at most while it is decoded, whatever it holds.
const WORST_BYTES_MAX: usize = 96 << 20;
