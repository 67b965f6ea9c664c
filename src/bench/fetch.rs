//! What a consumer asks for and what it is answered: positions, and the fetch session that spares
//! both sides the partitions in which nothing happens (KIP-227). Pure.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use crate::bench::book::Arrival;
use crate::bench::limits::{BATCH_BYTES_MAX, FETCH_ANSWER_BYTES, FETCH_ANSWER_PARTITION_BYTES};
use crate::bench::problem::Problem;
use crate::bench::request::{CLIENT_ID, Place, intended_of};
use crate::bench::traffic::ConsumePart;
use crate::frame::BatchHeader;
use crate::model::Offset;
use crate::protocol::messages::StrBytes;
use crate::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::fetch_response::{FetchResponse, PartitionData};
use crate::protocol::{self, ApiKey, ErrorCode};

/// The newest version that names topics, so that no topic id must be known.
pub(super) const FETCH_VERSION_MAX: i16 = 12;
/// A consumer, not a follower.
const NO_REPLICA: i32 = -1;

/// Where one partition is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) place: Place,
    /// The first offset that is still there, as far as is known.
    pub(super) start: Offset,
    pub(super) next: Offset,
    /// The end, if it is read up to one.
    upto: Option<Offset>,
    /// Records that are there and were not fetched, at the last answer.
    lag: u64,
}

impl Position {
    pub(super) fn new(place: Place, start: Offset, next: Offset) -> Position {
        Position {
            place,
            start,
            next,
            upto: None,
            lag: 0,
        }
    }

    /// It ends before this offset.
    pub(super) fn upto(self, end: Offset) -> Position {
        Position {
            upto: Some(end),
            ..self
        }
    }

    /// Whether all of it was read; never where it has no end.
    fn is_done(&self) -> bool {
        self.upto.is_some_and(|end| self.next >= end)
    }
}

/// One consumer's state: what it reads, and its fetch session.
#[derive(Debug)]
pub(super) struct Fetcher {
    sizes: ConsumePart,
    version: i16,
    positions: Vec<Position>,
    /// The positions' numbers by topic and partition.
    numbers: HashMap<StrBytes, HashMap<i32, usize>>,
    session_id: i32,
    /// 0 asks for a new session.
    session_epoch: i32,
    /// Positions that the broker does not know yet: all without a session.
    changed: BTreeSet<usize>,
    /// Positions that are not done.
    unread: usize,
    lag: u64,
}

impl Fetcher {
    pub(super) fn new(sizes: ConsumePart, version: i16, positions: Vec<Position>) -> Fetcher {
        let mut numbers: HashMap<StrBytes, HashMap<i32, usize>> = HashMap::new();
        for (number, position) in positions.iter().enumerate() {
            let topic = StrBytes::from(&*position.place.topic);
            let topic = numbers.entry(topic).or_default();
            topic.insert(position.place.index, number);
        }
        Fetcher {
            sizes,
            version,
            numbers,
            session_id: 0,
            session_epoch: 0,
            changed: (0..positions.len()).collect(),
            unread: positions.iter().filter(|found| !found.is_done()).count(),
            positions,
            lag: 0,
        }
    }

    /// Records that are there and were not fetched, of all partitions.
    pub(super) fn lag(&self) -> u64 {
        self.lag
    }

    /// Whether all of it was read that was to be read.
    pub(super) fn is_done(&self) -> bool {
        self.sizes.stop_at_end && self.unread == 0
    }

    /// Bytes that an answer has at most: the broker may go beyond what was asked for by a batch.
    pub(super) fn answer_bytes_max(&self) -> usize {
        let partitions = self.positions.len() * FETCH_ANSWER_PARTITION_BYTES;
        let beyond = 2 * BATCH_BYTES_MAX as usize;
        self.sizes.max_bytes as usize + beyond + FETCH_ANSWER_BYTES + partitions
    }

    /// The next request.
    pub(super) fn request(&mut self, correlation_id: i32) -> Bytes {
        let mut request = FetchRequest::default();
        request.replica_id = NO_REPLICA;
        request.max_wait_ms = self.sizes.max_wait_ms as i32;
        request.min_bytes = self.sizes.min_bytes as i32;
        request.max_bytes = self.sizes.max_bytes as i32;
        request.session_id = self.session_id;
        request.session_epoch = self.session_epoch;
        // Positions of one topic are neighbours.
        for &number in &self.changed {
            let position = &self.positions[number];
            let topic = &*position.place.topic;
            let is_other = |last: &FetchTopic| &*last.topic != topic;
            if request.topics.last().is_none_or(is_other) {
                let mut named = FetchTopic::default();
                named.topic = StrBytes::from(topic);
                request.topics.push(named);
            }
            let mut asked = FetchPartition::default();
            asked.partition = position.place.index;
            asked.fetch_offset = position.next.0;
            asked.partition_max_bytes = self.sizes.partition_max_bytes as i32;
            let named = request.topics.last_mut().expect("one was pushed");
            named.partitions.push(asked);
        }
        let client_id = StrBytes::from(CLIENT_ID);
        protocol::encode_request(&request, self.version, correlation_id, &client_id)
            .expect("a request of some partitions has a size")
    }

    /// Takes an answer, and tells which batches it brought. Returns its correlation id.
    pub(super) fn take(
        &mut self,
        answer: &Bytes,
        mut on_batch: impl FnMut(Arrival),
    ) -> Result<i32, Problem> {
        let misunderstood = |what: String| Problem::new(format!("the broker's answer: {what}"));
        let (correlation_id, body) =
            protocol::decode_response_header(answer, ApiKey::Fetch, self.version)
                .map_err(|error| misunderstood(format!("{error:?}")))?;
        let response: FetchResponse = protocol::decode_response(body, self.version)
            .map_err(|error| misunderstood(error.to_string()))?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch) => {
                self.begin_session();
                return Ok(correlation_id);
            }
            code => return Err(refused("a fetch", code, response.error_code)),
        }
        self.continue_session(response.session_id);
        for topic in &response.responses {
            for data in &topic.partitions {
                let numbers = self.numbers.get(&topic.topic);
                let number = numbers.and_then(|numbers| numbers.get(&data.partition_index));
                let Some(&number) = number else {
                    let (topic, index) = (&topic.topic, data.partition_index);
                    return Err(misunderstood(format!("nobody asked for {topic}-{index}")));
                };
                self.take_partition(number, data, &mut on_batch)?;
            }
        }
        Ok(correlation_id)
    }

    fn begin_session(&mut self) {
        (self.session_id, self.session_epoch) = (0, 0);
        self.changed = (0..self.positions.len()).collect();
    }

    /// What was asked for is known to the broker, if it keeps a session.
    fn continue_session(&mut self, id: i32) {
        if id == 0 {
            self.begin_session();
            return;
        }
        self.session_id = id;
        // Behind the largest epoch comes 1 again; 0 would begin a new session.
        self.session_epoch = self.session_epoch.checked_add(1).unwrap_or(1);
        self.changed.clear();
    }

    fn take_partition(
        &mut self,
        number: usize,
        data: &PartitionData,
        on_batch: &mut impl FnMut(Arrival),
    ) -> Result<(), Problem> {
        let position = &mut self.positions[number];
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                return Err(Problem::new(format!(
                    "a consumer fell behind what the broker keeps of {}-{}",
                    position.place.topic, position.place.index
                ))
                .hint("a larger retention.bytes of the topic, a lower rate, or more connections"));
            }
            code => {
                let what = format!("{}-{}", position.place.topic, position.place.index);
                return Err(refused(&what, code, data.error_code));
            }
        }
        position.start = position.start.max(Offset(data.log_start_offset));
        let (before, was_done) = (position.next, position.is_done());
        let mut rest = data.records.as_deref().unwrap_or_default();
        // The last batch may be cut off.
        while let Some((batch, header, behind)) = split_batch(rest) {
            rest = behind;
            position.next = Offset(header.last_offset().0 + 1);
            on_batch(Arrival {
                records: u64::try_from(header.record_count).unwrap_or(0),
                bytes: batch.len() as u64,
                intended: intended_of(batch),
            });
        }
        self.unread -= usize::from(position.is_done() && !was_done);
        let lag = u64::try_from(data.high_watermark - position.next.0).unwrap_or(0);
        self.lag = self.lag - position.lag + lag;
        position.lag = lag;
        if self.sizes.again && lag == 0 {
            position.next = position.start;
        }
        if position.next != before {
            self.changed.insert(number);
        }
        Ok(())
    }
}

fn refused(what: &str, code: Option<ErrorCode>, number: i16) -> Problem {
    match code {
        Some(code) => Problem::new(format!("{what} was refused: {}", code.name())),
        None => Problem::new(format!("{what} was refused: error {number}")),
    }
}

/// The first of some batches, its header, and what is behind it.
fn split_batch(bytes: &[u8]) -> Option<(&[u8], BatchHeader, &[u8])> {
    let header = BatchHeader::read(bytes)?;
    let (batch, behind) = bytes.split_at_checked(header.total_bytes()?)?;
    Some((batch, header, behind))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::frame::{BatchBuilder, Codec};
    use crate::io::Instant;
    use crate::model::{LeaderEpoch, Timestamp};
    use crate::protocol::RequestHeader;
    use crate::protocol::fetch::{
        FetchPartitionResponse, FetchRequest as Asked, FetchResponse as Answered,
        FetchTopicResponse, encode_fetch_response,
    };

    use super::*;
    use crate::bench::traffic::Start;

    fn fetcher(again: bool) -> Fetcher {
        let sizes = ConsumePart {
            connections: 1,
            start: Start::Earliest,
            again,
            stop_at_end: false,
            max_bytes: 1000,
            partition_max_bytes: 100,
            min_bytes: 1,
            max_wait_ms: 20,
        };
        let positions = [("a", 0), ("a", 1), ("b", 0)].map(|(topic, index)| {
            let place = Place {
                topic: Arc::from(topic),
                index,
                leader: 0,
            };
            Position::new(place, Offset(3), Offset(5))
        });
        Fetcher::new(sizes, FETCH_VERSION_MAX, positions.to_vec())
    }

    /// The session, and the partitions with their offsets, that the next request names.
    fn asked(fetcher: &mut Fetcher) -> (i32, i32, Vec<(String, i32, i64)>) {
        let frame = fetcher.request(7).slice(4..);
        let (header, body) = RequestHeader::decode(&frame).expect("a header");
        assert_eq!(header.correlation_id, 7);
        let request = Asked::decode(&body, header.version).expect("a body");
        assert_eq!((request.max_bytes, request.max_wait_ms), (1000, 20));
        let topics = request.topics.iter();
        let partitions = topics.flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|asked| (topic.name.to_string(), asked.index, asked.fetch_offset.0))
        });
        (
            request.session_id,
            request.session_epoch,
            partitions.collect(),
        )
    }

    /// An answer with a batch of two records at `base` of a-1, which ends at `end`.
    fn answer(session_id: i32, error: ErrorCode, base: i64, end: i64) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None).at(Offset(base), LeaderEpoch(0));
        let value = 77_u64.to_be_bytes();
        builder.push(Timestamp(1), None, Some(&value));
        builder.push(Timestamp(1), None, Some(&value));
        let batch = Bytes::from(builder.build());
        let partition = FetchPartitionResponse {
            high_watermark: Offset(end),
            log_start_offset: Offset(4),
            // The second batch was cut off.
            records: vec![batch.clone(), batch.slice(..70)],
            ..FetchPartitionResponse::refused(1, error)
        };
        let topic = FetchTopicResponse {
            name: StrBytes::from("a"),
            topic_id: crate::model::TopicId::ZERO,
            partitions: vec![partition],
        };
        let response = Answered {
            session_id,
            topics: vec![topic],
            ..Answered::refused(ErrorCode::None)
        };
        let mut frame = vec![0, 0, 0, 7, 0];
        for piece in encode_fetch_response(&response, FETCH_VERSION_MAX) {
            frame.extend_from_slice(&piece);
        }
        Bytes::from(frame)
    }

    #[test]
    fn a_session_names_what_has_changed_only() {
        let mut fetcher = fetcher(false);
        let all = |at| {
            vec![
                ("a".to_owned(), 0, 5),
                ("a".to_owned(), 1, at),
                ("b".to_owned(), 0, 5),
            ]
        };
        assert_eq!(asked(&mut fetcher), (0, 0, all(5)));
        let mut arrivals = Vec::new();
        let taken = fetcher.take(&answer(9, ErrorCode::None, 5, 10), |batch| {
            arrivals.push(batch)
        });
        assert_eq!(taken, Ok(7));
        assert_eq!(arrivals.len(), 1);
        assert_eq!(arrivals[0].records, 2);
        assert_eq!(arrivals[0].intended, Some(Instant::from_nanos(77)));
        assert_eq!(fetcher.lag(), 3);
        assert_eq!(asked(&mut fetcher), (9, 1, vec![("a".to_owned(), 1, 7)]));
        // Without a session everything is named again.
        assert_eq!(
            fetcher.take(&answer(0, ErrorCode::None, 7, 9), |_| {}),
            Ok(7)
        );
        assert_eq!(fetcher.lag(), 0);
        assert_eq!(asked(&mut fetcher), (0, 0, all(9)));
    }

    #[test]
    fn a_partition_that_is_read_again_begins_at_what_is_left_of_it() {
        let mut fetcher = fetcher(true);
        assert_eq!(
            fetcher.take(&answer(9, ErrorCode::None, 5, 9), |_| {}),
            Ok(7)
        );
        assert_eq!(asked(&mut fetcher).2, [("a".to_owned(), 1, 7)]);
        assert_eq!(
            fetcher.take(&answer(9, ErrorCode::None, 7, 9), |_| {}),
            Ok(7)
        );
        assert_eq!(asked(&mut fetcher).2, [("a".to_owned(), 1, 4)]);
    }

    #[test]
    fn what_is_refused_is_named() {
        let check = |error, words: &[&str]| {
            let refused = fetcher(false).take(&answer(0, error, 5, 9), |_| {});
            let text = refused.expect_err("refused").to_string();
            for word in words {
                assert!(text.contains(word), "{word:?} is not in: {text}");
            }
        };
        check(ErrorCode::OffsetOutOfRange, &["a-1", "retention.bytes"]);
        check(
            ErrorCode::NotLeaderOrFollower,
            &["a-1", "NOT_LEADER_OR_FOLLOWER"],
        );
    }

    #[test]
    fn what_is_no_answer_is_no_panic() {
        let whole = answer(9, ErrorCode::None, 5, 10);
        for length in 0..whole.len() {
            let taken = fetcher(false).take(&whole.slice(..length), |_| {});
            assert!(taken.is_err(), "{length} of {} bytes", whole.len());
        }
    }
}
