//! A Produce request of which batches are taken out as it arrives says the same as the whole one.

use std::collections::VecDeque;

use bytes::Bytes;
use corelog::protocol::arriving::{Apart, Finder, Next};
use corelog::protocol::messages::{StrBytes, produce_request::ProduceRequest as Message};
use corelog::protocol::produce::{ProduceRequest, ProduceTopic, Records};
use corelog::protocol::{self, ApiKey, RequestHeader};

use crate::random::Random;
use crate::random_message;

/// What is left of a request, and the batches that were taken out.
struct Arrived {
    left: Vec<u8>,
    apart: Vec<(Apart, Vec<u8>)>,
}

/// Plays the connection: bytes come in pieces as `random` likes, and so are batches taken out.
fn arrive(request: &[u8], random: &mut Random) -> Arrived {
    let mut coming = VecDeque::from(request.to_vec());
    let (mut left, mut apart) = (Vec::new(), Vec::new());
    let mut finder = Finder::default();
    loop {
        match finder.next(&left) {
            Next::End => break,
            Next::Missing(bytes) => {
                assert!(bytes > 0);
                if coming.is_empty() {
                    break;
                }
                let some = (1 + random.below(40)).min(coming.len());
                left.extend(coming.drain(..some));
            }
            Next::Batch(batch) => {
                let here = left.len().saturating_sub(batch.at);
                let takes = batch.length > here && batch.length - here <= coming.len();
                if takes && random.below(3) > 0 {
                    let mut bytes = left.split_off(batch.at);
                    bytes.extend(coming.drain(..batch.length - here));
                    apart.push((batch, bytes));
                    finder.taken();
                } else {
                    finder.left();
                }
            }
        }
    }
    left.extend(coming);
    Arrived { left, apart }
}

fn decode(arrived: &Arrived) -> Option<ProduceRequest> {
    let bytes = Bytes::from(arrived.left.clone());
    let (header, body) = RequestHeader::decode(&bytes).ok()?;
    let header_bytes = bytes.len() - body.len();
    let places = arrived.apart.iter().map(|(place, _)| Apart {
        at: place.at - header_bytes,
        ..*place
    });
    let places: Vec<Apart> = places.collect();
    ProduceRequest::decode_around(&body, header.version, &places).ok()
}

/// The batches in order, wherever they are.
fn batches(topics: &[ProduceTopic], apart: &[(Apart, Vec<u8>)]) -> Vec<Option<Vec<u8>>> {
    let mut apart = apart.iter();
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let batches = partitions.map(|partition| match &partition.records {
        None => None,
        Some(Records::Here(bytes)) => Some(bytes.to_vec()),
        Some(Records::Apart) => Some(apart.next().expect("one for each").1.clone()),
    });
    let batches = batches.collect();
    assert!(apart.next().is_none(), "each is told of once");
    batches
}

#[test]
fn batches_that_are_taken_out_are_found_again() {
    let mut random = Random::new(crate::seed());
    let (min, max) = ApiKey::Produce.versions();
    let mut taken_count = 0;
    for version in min..=max {
        for _ in 0..300 {
            let (message, _) = random_message::<Message>(&mut random, version);
            let client_id = StrBytes::from("a client");
            let frame = protocol::encode_request(&message, version, 7, &client_id).unwrap();
            let request = &frame[4..];
            let whole = decode(&Arrived {
                left: request.to_vec(),
                apart: Vec::new(),
            });
            let whole = whole.expect("a good request");
            let arrived = arrive(request, &mut random);
            taken_count += arrived.apart.len();
            let around = decode(&arrived).expect("the same request");
            assert_eq!(
                batches(&around.topics, &arrived.apart),
                batches(&whole.topics, &[]),
                "version {version}"
            );
            assert_eq!(
                (around.acks, around.topics.len()),
                (whole.acks, whole.topics.len())
            );
        }
    }
    assert!(taken_count > 1000, "only {taken_count} were taken out");
}

#[test]
fn damaged_requests_end_and_neither_panic_nor_loop() {
    let mut random = Random::new(crate::seed() + 1);
    let (min, max) = ApiKey::Produce.versions();
    for version in min..=max {
        for _ in 0..300 {
            let (message, _) = random_message::<Message>(&mut random, version);
            let client_id = StrBytes::from("");
            let frame = protocol::encode_request(&message, version, 7, &client_id).unwrap();
            let mut request = frame[4..].to_vec();
            for _ in 0..1 + random.below(4) {
                let at = random.below(request.len());
                request[at] = random.below(256) as u8;
            }
            request.truncate(1 + random.below(request.len()));
            let arrived = arrive(&request, &mut random);
            let taken: usize = arrived.apart.iter().map(|(_, bytes)| bytes.len()).sum();
            assert_eq!(arrived.left.len() + taken, request.len(), "no byte is lost");
            if let Some(decoded) = decode(&arrived) {
                // What was taken out may be more than what is told of, if bytes follow the end.
                let told = decoded.topics.iter().flat_map(|topic| &topic.partitions);
                let told = told.filter(|partition| partition.records == Some(Records::Apart));
                assert!(told.count() <= arrived.apart.len());
            }
        }
    }
}
