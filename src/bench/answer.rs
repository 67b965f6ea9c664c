//! Answers as they arrive, and what those to produce requests say. Pure.

use bytes::{Bytes, BytesMut};

use crate::bench::limits::ANSWER_BYTES_MAX;
use crate::bench::problem::Problem;
use crate::protocol::messages::produce_response::ProduceResponse;
use crate::protocol::{self, ApiKey, ErrorCode};

/// Takes one whole answer off the bytes that have arrived, if there is one.
pub fn take_answer(arrived: &mut BytesMut) -> Result<Option<Bytes>, Problem> {
    let Some(length) = answer_bytes(arrived, ANSWER_BYTES_MAX)? else {
        return Ok(None);
    };
    Ok(split_answer(arrived, length))
}

/// How long the answer is whose begin has arrived; `None` if not even its size has.
pub(super) fn answer_bytes(arrived: &[u8], most: usize) -> Result<Option<usize>, Problem> {
    let Some(size) = arrived.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = i32::from_be_bytes(*size);
    let length = usize::try_from(size).ok().filter(|&length| length <= most);
    length.map(Some).ok_or_else(|| {
        Problem::new(format!(
            "the broker sent an answer of {size} bytes; at most {most} are expected"
        ))
    })
}

/// Takes an answer of this length off the bytes that have arrived, if it is whole.
pub(super) fn split_answer(arrived: &mut BytesMut, length: usize) -> Option<Bytes> {
    if arrived.len() < size_of::<i32>() + length {
        return None;
    }
    let _ = arrived.split_to(size_of::<i32>());
    Some(arrived.split_to(length).freeze())
}

/// What an answer says: which request it belongs to, and the first error in it.
pub fn read_answer(answer: &Bytes, version: i16) -> Result<(i32, ErrorCode), Problem> {
    let misunderstood = |what: String| Problem::new(format!("the broker's answer: {what}"));
    let (correlation_id, body) = protocol::decode_response_header(answer, ApiKey::Produce, version)
        .map_err(|error| misunderstood(format!("{error:?}")))?;
    let response: ProduceResponse = protocol::decode_response(body, version)
        .map_err(|error| misunderstood(error.to_string()))?;
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let code = partitions
        .map(|partition| partition.error_code)
        .find(|&code| code != ErrorCode::None.code());
    let code = code.map_or(Ok(ErrorCode::None), |code| {
        ErrorCode::from_code(code).ok_or_else(|| misunderstood(format!("error {code}")))
    })?;
    Ok((correlation_id, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_when_they_are_whole() {
        let mut arrived = BytesMut::from(&[0, 0, 0, 2, 7][..]);
        assert_eq!(take_answer(&mut arrived), Ok(None));
        arrived.extend_from_slice(&[8, 0, 0]);
        assert_eq!(
            take_answer(&mut arrived),
            Ok(Some(Bytes::from_static(&[7, 8])))
        );
        assert_eq!(take_answer(&mut arrived), Ok(None));
        for size in [-1, i32::MAX] {
            let mut arrived = BytesMut::from(&size.to_be_bytes()[..]);
            assert!(take_answer(&mut arrived).is_err(), "{size}");
        }
    }
}
