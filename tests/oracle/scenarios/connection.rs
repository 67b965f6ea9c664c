//! Bytes that no client would send, and the order of answers.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::produce::{data, request};
use crate::batch::Batch;
use crate::session::{Session, text};

/// A request's header in version 1, by hand, with its length in front.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&7i32.to_be_bytes());
    out.extend_from_slice(&6i16.to_be_bytes());
    out.extend_from_slice(b"oracle");
    out.extend_from_slice(body);
    sized(out.len() as i32, &out)
}

fn sized(length: i32, bytes: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), bytes].concat()
}

pub(crate) fn frames(s: &mut Session) {
    let metadata = 3;
    let whole = frame(metadata, 1, &0i32.to_be_bytes());
    let cut = whole.len() - 6;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a negative length", sized(-1, &[])),
        ("the smallest length", sized(i32::MIN, &[])),
        ("length 0", sized(0, &[])),
        ("length 1", sized(1, &[0])),
        ("a length over the limit", sized(104_857_601, &[0; 64])),
        ("the largest length", sized(i32::MAX, &[0; 64])),
        ("a header cut short", sized(7, &whole[4..11])),
        (
            "a client id longer than the frame",
            frame(metadata, 1, &[])[..14].to_vec(),
        ),
        ("a body cut short", sized(cut as i32, &whole[4..4 + cut])),
        (
            "bytes after the body",
            frame(metadata, 1, &[0, 0, 0, 0, 9, 9]),
        ),
        ("an unknown key", frame(999, 0, &[])),
        ("a negative key", frame(-1, 0, &[])),
        ("a key that was removed", frame(4, 0, &[])),
        ("a key between brokers", frame(52, 0, &[])),
        ("Metadata in a version to come", frame(metadata, 99, &[])),
        ("Metadata in a negative version", frame(metadata, -1, &[])),
        ("Produce 0", frame(0, 0, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("Produce 2", frame(0, 2, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("Fetch 3", frame(1, 3, &[0; 20])),
        (
            "an array longer than the frame",
            frame(metadata, 1, &1_000_000i32.to_be_bytes()),
        ),
        (
            "an array of negative length",
            frame(metadata, 1, &(-5i32).to_be_bytes()),
        ),
        (
            "a string of negative length",
            frame(metadata, 1, &[0, 0, 0, 1, 0xff, 0xf0]),
        ),
        (
            "a flexible body of rubbish",
            frame(metadata, 12, &[0xff; 12]),
        ),
        (
            "text instead of Kafka",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
    ];
    for (label, bytes) in cases {
        let mut c = s.connect();
        c.write(&bytes);
        s.reaction(&mut c, label);
    }

    // A client that is too new is answered in version 0, whatever it sent.
    for version in [5, 127, i16::MAX, -1] {
        let mut c = s.connect();
        // The header of such a version has tagged fields, here none; the body is anything.
        c.write(&frame(18, version, &[0, 0xff, 0xff, 0xff]));
        if let Some(mut bytes) = s.reaction(&mut c, &format!("ApiVersions {version}")) {
            let correlation_id = bytes.get_i32();
            s.fact(&format!("correlation id for {version}"), correlation_id);
            let response = ApiVersionsResponse::decode(&mut bytes, 0).expect("version 0");
            s.fact(&format!("error for {version}"), response.error_code);
            let keys: Vec<i16> = response.api_keys.iter().map(|k| k.api_key).collect();
            s.fact(&format!("APIs for {version}"), format!("{keys:?}"));
            s.fact(&format!("bytes left for {version}"), bytes.len());
            // The connection goes on.
            s.call(
                &mut c,
                &format!("after version {version}"),
                1,
                &MetadataRequest::default().with_topics(Some(vec![])),
            );
        }
    }

    // Any client id will do, and none.
    for (label, id) in [("a null client id", -1i16), ("an empty client id", 0)] {
        let mut c = s.connect();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&[0, 3, 0, 1, 0, 0, 0, 7]);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&0i32.to_be_bytes());
        c.write(&sized(bytes.len() as i32, &bytes));
        s.reaction(&mut c, label);
    }

    // A request that comes byte by byte is a request.
    let mut c = s.connect();
    for byte in &whole {
        c.write(std::slice::from_ref(byte));
    }
    s.reaction(&mut c, "byte by byte");

    // Unknown tagged fields are skipped.
    let mut body = bytes::BytesMut::new();
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("oracle"))
        .with_client_software_version(text("1"))
        .with_unknown_tagged_field(77, Bytes::from_static(b"later"));
    request.encode(&mut body, 3).expect("encodes");
    let mut c = s.connect();
    let with_header_tags = [&[0u8][..], &body].concat();
    c.write(&frame(18, 3, &with_header_tags));
    s.reaction(&mut c, "tagged fields that nobody knows");
}

/// Answers come in the order of the requests, also when a later one is ready first.
pub(crate) fn pipelining(s: &mut Session) {
    let topic = s.topic("pipelined", 1, &[]);
    let v = s.newest::<ProduceRequest>();
    let mut c = s.connect();
    let fetch = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_topics(vec![]);
    c.send(11, &fetch.with_session_epoch(-1));
    c.send(1, &MetadataRequest::default().with_topics(Some(vec![])));
    for i in 0..20 {
        let batch = Batch::of(&[&format!("value {i}")]).bytes();
        c.send(v, &request(-1, vec![data(v, &topic, &[(0, Some(batch))])]));
    }
    c.send(1, &MetadataRequest::default().with_topics(Some(vec![])));
    s.answer::<FetchRequest>(&mut c, "the first answer");
    s.answer::<MetadataRequest>(&mut c, "the second answer");
    for i in 0..20 {
        s.answer::<ProduceRequest>(&mut c, &format!("produce {i}"));
    }
    s.answer::<MetadataRequest>(&mut c, "the last answer");
}
