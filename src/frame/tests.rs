//! Tests of the room as a whole: batches are built, validated, read, and compared with what an
//! independent implementation of the format writes and reads.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as other;
use proptest::prelude::*;

use super::*;
use crate::config::TimestampType;
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];
const NOW: i64 = 1_700_000_000_000;

fn rules() -> BatchRules {
    BatchRules {
        now: Timestamp(NOW),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        batch_bytes_max: 1 << 20,
        compacted: false,
        decompressed_bytes_max: 1 << 20,
    }
}

/// Three records whose second has the largest timestamp.
fn builder(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    builder.push(Timestamp(NOW), Some(b"k1"), Some(b"v1"));
    builder.push_with_headers(
        Timestamp(NOW + 5),
        Some(b""),
        None,
        &[("h", Some(b"1")), ("h", None), ("", Some(b""))],
    );
    builder.push(Timestamp(NOW - 5), Some(b"k3"), Some(&[7; 500]));
    builder
}

/// A batch of the three records with bytes changed at `at`, and its CRC made right again.
fn bent(codec: Codec, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = builder(codec).build();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    validate::write_crc(&mut batch);
    batch
}

fn check(batch: &[u8], rules: &BatchRules, expected: Result<(), BatchError>) {
    assert_eq!(validate(batch, rules).map(|_| ()), expected);
}

#[test]
fn a_built_batch_is_valid_and_reads_back() {
    for codec in CODECS {
        let batch = builder(codec).build();
        let info = validate(&batch, &rules()).unwrap();
        assert_eq!(info.codec, codec);
        assert_eq!(info.header.record_count, 3);
        assert_eq!(
            (info.max_timestamp, info.max_timestamp_delta),
            (Timestamp(NOW + 5), 1)
        );
        assert_eq!(
            info.stamp, None,
            "what the builder writes needs no correction"
        );

        let records = records(&batch, 1 << 20).unwrap();
        let read: Vec<Record<'_>> = records.iter().map(Result::unwrap).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].key, Some(b"k1".as_slice()));
        assert_eq!((read[1].key, read[1].value), (Some(b"".as_slice()), None));
        let headers: Vec<_> = read[1].headers.collect();
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"h", Some(b"1")), (b"h", None), (b"", Some(b""))];
        assert_eq!(headers, expected);
        assert_eq!(
            (read[2].offset, read[2].timestamp),
            (Offset(2), Timestamp(NOW - 5))
        );
    }
}

#[test]
fn the_envelope_is_checked() {
    for codec in CODECS {
        let good = builder(codec).build();
        check(&good[..16], &rules(), Err(BatchError::Truncated));
        check(&good[..60], &rules(), Err(BatchError::Truncated));
        check(
            &good[..good.len() - 1],
            &rules(),
            Err(BatchError::Truncated),
        );
        check(
            &[good.as_slice(), &good].concat(),
            &rules(),
            Err(BatchError::Trailing),
        );
        check(
            &bent(codec, 8, &48_i32.to_be_bytes()),
            &rules(),
            Err(BatchError::Length),
        );
        check(
            &bent(codec, 8, &(-1_i32).to_be_bytes()),
            &rules(),
            Err(BatchError::Length),
        );
        check(&bent(codec, 16, &[1]), &rules(), Err(BatchError::Magic));
        check(
            &bent(codec, 16, &[3]),
            &rules(),
            Err(BatchError::UnknownMagic),
        );
        check(&bent(codec, 7, &[1]), &rules(), Err(BatchError::BaseOffset));
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check(&flipped, &rules(), Err(BatchError::Crc));
        assert_eq!(check_whole(&flipped), Err(BatchError::Crc));
        assert_eq!(check_whole(&good), Ok(BatchHeader::read(&good).unwrap()));
        let small = BatchRules {
            batch_bytes_max: good.len() - 1,
            ..rules()
        };
        check(&good, &small, Err(BatchError::TooLarge));
        let exact = BatchRules {
            batch_bytes_max: good.len(),
            ..rules()
        };
        check(&good, &exact, Ok(()));
    }
}

#[test]
fn the_header_is_checked() {
    let error = |at: usize, bytes: &[u8], expected| {
        check(&bent(Codec::None, at, bytes), &rules(), Err(expected));
    };
    error(22, &[5], BatchError::Codec);
    error(22, &[7], BatchError::Codec);
    error(22, &[0b10_0000], BatchError::Control);
    error(23, &3_i32.to_be_bytes(), BatchError::Counts);
    error(23, &i32::MAX.to_be_bytes(), BatchError::Counts);
    error(23, &(-1_i32).to_be_bytes(), BatchError::Counts);
    error(57, &0_i32.to_be_bytes(), BatchError::Counts);
    error(57, &2_i32.to_be_bytes(), BatchError::Counts);
    error(43, &9_i64.to_be_bytes(), BatchError::Sequence);
    let producer = builder(Codec::None)
        .producer(ProducerId(9), ProducerEpoch(0), 0)
        .build();
    check(&producer, &rules(), Ok(()));
}

#[test]
fn the_count_of_records_is_the_true_one() {
    for codec in CODECS {
        let mut more = bent(codec, 57, &4_i32.to_be_bytes());
        more[23..27].copy_from_slice(&3_i32.to_be_bytes());
        validate::write_crc(&mut more);
        check(&more, &rules(), Err(BatchError::Record(3)));
        let mut fewer = bent(codec, 57, &2_i32.to_be_bytes());
        fewer[23..27].copy_from_slice(&1_i32.to_be_bytes());
        validate::write_crc(&mut fewer);
        check(&fewer, &rules(), Err(BatchError::RecordsRemain));
    }
}

/// A batch of one codec around record bytes that no builder would write.
fn around(codec: Codec, count: i32, plain: &[u8]) -> Vec<u8> {
    let mut batch = builder(Codec::None).build();
    batch.truncate(BATCH_HEADER_BYTES);
    batch.extend_from_slice(&compress(codec, plain));
    let length = (batch.len() - BATCH_LENGTH_PREFIX_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = CODECS.iter().position(|known| *known == codec).unwrap() as u8;
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    validate::write_crc(&mut batch);
    batch
}

#[test]
fn records_are_walked_in_every_codec() {
    let first = [12, 0, 0, 0, 1, 1, 0];
    let second = [12, 0, 0, 2, 1, 1, 0];
    let skipping = [12, 0, 0, 4, 1, 1, 0];
    let long_key = [12, 0, 0, 2, 90, 1, 0];
    for codec in CODECS {
        let of = |records: &[[u8; 7]]| around(codec, records.len() as i32, &records.concat());
        check(&of(&[first, second]), &rules(), Ok(()));
        check(
            &of(&[first, skipping]),
            &rules(),
            Err(BatchError::Record(1)),
        );
        check(&of(&[second, first]), &rules(), Err(BatchError::Record(0)));
        check(
            &of(&[first, long_key]),
            &rules(),
            Err(BatchError::Record(1)),
        );
        check(
            &of(&[long_key, first]),
            &rules(),
            Err(BatchError::Record(0)),
        );
    }
}

#[test]
fn compressed_records_that_lie_are_refused() {
    for codec in &CODECS[1..] {
        let bomb = around(*codec, 1, &vec![0; 4 << 20]);
        check(&bomb, &rules(), Err(BatchError::Record(0)));
        // A record that is well-formed and too long.
        let mut builder = BatchBuilder::new(*codec);
        builder.push(Timestamp(NOW), None, Some(&vec![0; 4 << 20]));
        let large = builder.build();
        check(&large, &rules(), Err(BatchError::DecompressedTooLarge));
        assert_eq!(records(&large, 1 << 20).err(), Some(RecordsError::TooLarge));
        let mut cut = around(
            *codec,
            2,
            &[[12, 0, 0, 0, 1, 1, 0], [12, 0, 0, 2, 1, 1, 0]].concat(),
        );
        cut[BATCH_HEADER_BYTES] ^= 0xff;
        validate::write_crc(&mut cut);
        let got = validate(&cut, &rules()).unwrap_err();
        let expected = [BatchError::Decompress, BatchError::Record(0)];
        assert!(expected.contains(&got), "{codec:?}: {got:?}");
    }
}

fn record_error(batch_index: i32, reason: RecordErrorReason) -> RecordError {
    RecordError {
        batch_index,
        reason,
    }
}

#[test]
fn refused_records_are_named() {
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        let late = Timestamp(NOW + 3_600_001);
        builder.push(Timestamp(NOW + 3_600_000), None, Some(b"v"));
        builder.push(Timestamp(NOW), Some(b"k"), None);
        builder.push(late, Some(b"k"), Some(b"v"));
        builder.push(Timestamp::NONE, None, Some(b"v"));
        let batch = builder.build();
        let late = record_error(2, RecordErrorReason::Timestamp(late));
        let only = BatchError::Records(vec![late].into());
        check(&batch, &rules(), Err(only));
        let null = |index| record_error(index, RecordErrorReason::NullKey);
        let compacted = BatchRules {
            compacted: true,
            ..rules()
        };
        let all = BatchError::Records(vec![null(0), late, null(3)].into());
        check(&batch, &compacted, Err(all));
        let stamped = BatchRules {
            timestamp_type: TimestampType::LogAppendTime,
            ..rules()
        };
        check(&batch, &stamped, Ok(()));
        let before = BatchRules {
            timestamp_before_max_ms: 4,
            ..rules()
        };
        let early = RecordErrorReason::Timestamp(Timestamp(NOW - 5));
        let early = BatchError::Records(vec![record_error(2, early)].into());
        check(&self::builder(codec).build(), &before, Err(early));
    }
}

#[test]
fn the_number_of_named_records_is_bounded() {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..crate::limits::RECORD_ERRORS_MAX + 10 {
        builder.push(Timestamp(NOW), None, None);
    }
    let compacted = BatchRules {
        compacted: true,
        ..rules()
    };
    let Err(BatchError::Records(errors)) = validate(&builder.build(), &compacted) else {
        panic!("null keys are refused");
    };
    assert_eq!(errors.len(), crate::limits::RECORD_ERRORS_MAX);
}

#[test]
fn the_broker_stamps_a_copy() {
    for codec in CODECS {
        let mut batch = builder(codec).build();
        let by_broker = BatchRules {
            timestamp_type: TimestampType::LogAppendTime,
            ..rules()
        };
        let info = validate(&batch, &by_broker).unwrap();
        assert_eq!(
            (info.max_timestamp, info.max_timestamp_delta),
            (Timestamp(NOW), 0)
        );
        info.stamp.unwrap().apply(&mut batch);
        let header = check_whole(&batch).unwrap();
        assert!(header.is_log_append_time());
        assert_eq!(header.codec(), Some(codec));
        let records = records(&batch, 1 << 20).unwrap();
        assert!(
            records
                .iter()
                .all(|record| record.unwrap().timestamp == Timestamp(NOW))
        );
        // A producer may not do that itself.
        let errors: Vec<RecordError> = (0..3)
            .map(|index| record_error(index, RecordErrorReason::TimestampType))
            .collect();
        check(&batch, &by_broker, Err(BatchError::Records(errors.into())));
    }
}

#[test]
fn a_wrong_maximum_timestamp_is_corrected() {
    for codec in CODECS {
        let mut batch = bent(codec, 35, &(NOW + 77).to_be_bytes());
        let info = validate(&batch, &rules()).unwrap();
        assert_eq!(info.max_timestamp, Timestamp(NOW + 5));
        info.stamp.unwrap().apply(&mut batch);
        assert_eq!(batch, builder(codec).build());
    }
}

#[derive(Clone, Debug)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn any_record() -> impl Strategy<Value = Plain> {
    let blob = |len| proptest::option::of(proptest::collection::vec(any::<u8>(), 0..len));
    let header = ("[a-zé]{0,6}", blob(20));
    let time = prop_oneof![Just(-1), NOW - 1_000_000..NOW + 3_600_000];
    (
        time,
        blob(40),
        blob(3000),
        proptest::collection::vec(header, 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Plain {
            timestamp,
            key,
            value,
            headers,
        })
}

fn build(codec: Codec, plain: &[Plain]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec).at(Offset::ZERO, LeaderEpoch(3));
    for record in plain {
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        let time = Timestamp(record.timestamp);
        builder.push_with_headers(
            time,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build()
}

proptest! {
    #[test]
    fn what_is_built_is_valid_and_reads_back(
        codec in proptest::sample::select(&CODECS[..]),
        plain in proptest::collection::vec(any_record(), 1..40),
    ) {
        let batch = build(codec, &plain);
        let info = validate(&batch, &rules()).unwrap();
        let latest = plain.iter().map(|record| record.timestamp).max().unwrap();
        prop_assert_eq!(info.max_timestamp, Timestamp(latest));
        prop_assert_eq!(info.stamp, None);
        let records = records(&batch, 1 << 20).unwrap();
        prop_assert_eq!(records.iter().count(), plain.len());
        for (index, (read, plain)) in records.iter().zip(&plain).enumerate() {
            let read = read.unwrap();
            prop_assert_eq!(read.offset, Offset(index as i64));
            prop_assert_eq!(read.timestamp, Timestamp(plain.timestamp));
            prop_assert_eq!(read.key, plain.key.as_deref());
            prop_assert_eq!(read.value, plain.value.as_deref());
            let headers: Vec<_> = read.headers.collect();
            let expected: Vec<_> = plain
                .headers
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_deref()))
                .collect();
            prop_assert_eq!(headers, expected);
        }
    }

    #[test]
    fn another_decoder_reads_what_is_built(
        codec in proptest::sample::select(&CODECS[..]),
        plain in proptest::collection::vec(any_record(), 1..20),
    ) {
        let batch = build(codec, &plain);
        let set = other::RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
        prop_assert_eq!(set.records.len(), plain.len());
        for (read, plain) in set.records.iter().zip(&plain) {
            prop_assert_eq!(read.timestamp, plain.timestamp);
            prop_assert_eq!(read.key.as_deref(), plain.key.as_deref());
            prop_assert_eq!(read.value.as_deref(), plain.value.as_deref());
            prop_assert_eq!(read.partition_leader_epoch, 3);
        }
    }

    #[test]
    fn what_another_encoder_writes_is_valid(
        codec in proptest::sample::select(&CODECS[..]),
        plain in proptest::collection::vec(any_record(), 1..20),
    ) {
        let batch = encode_elsewhere(codec, &plain);
        let info = validate(&batch, &rules()).unwrap();
        prop_assert_eq!(info.codec, codec);
        prop_assert_eq!(info.header.producer_id, ProducerId(42));
        let records = records(&batch, 1 << 20).unwrap();
        prop_assert_eq!(records.iter().count(), plain.len());
        for (read, plain) in records.iter().zip(&plain) {
            let read = read.unwrap();
            prop_assert_eq!(read.timestamp, Timestamp(plain.timestamp));
            prop_assert_eq!(read.key, plain.key.as_deref());
            prop_assert_eq!(read.value, plain.value.as_deref());
        }
    }
}

fn encode_elsewhere(codec: Codec, plain: &[Plain]) -> Vec<u8> {
    let blob = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes::from);
    let records: Vec<other::Record> = plain
        .iter()
        .enumerate()
        .map(|(index, record)| other::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 42,
            producer_epoch: 1,
            timestamp_type: other::TimestampType::Creation,
            offset: index as i64,
            sequence: index as i32,
            timestamp: record.timestamp,
            key: blob(&record.key),
            value: blob(&record.value),
            headers: record
                .headers
                .iter()
                .map(|(key, value)| (StrBytes::from_string(key.clone()), blob(value)))
                .collect::<IndexMap<_, _>>(),
        })
        .collect();
    let compression = match codec {
        Codec::None => other::Compression::None,
        Codec::Gzip => other::Compression::Gzip,
        Codec::Snappy => other::Compression::Snappy,
        Codec::Lz4 => other::Compression::Lz4,
        Codec::Zstd => other::Compression::Zstd,
    };
    let options = other::RecordEncodeOptions {
        version: 2,
        compression,
    };
    let mut out = BytesMut::new();
    other::RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.to_vec()
}
