//! The topics of a consumer's subscription: the one look that the coordinator takes into a
//! member's metadata, and it forgives what it does not understand.
//!
//! Source: ConsumerProtocolSubscription version 0, the prefix of every later version: a version,
//! then an array of topic names, then user data.

/// The topics, or `None` if the bytes are no subscription.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metadata: &[u8], expected: Option<&[&str]>) {
        let got = topics(metadata);
        let expected = expected.map(|names| names.iter().map(|name| name.to_string()).collect());
        assert_eq!(got, expected, "{metadata:?}");
    }

    #[test]
    fn subscriptions_of_every_version_start_alike() {
        check(
            b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff",
            Some(&["a", "bc"]),
        );
        check(
            b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\0",
            Some(&["a"]),
        );
        check(b"\0\0\0\0\0\0", Some(&[]));
    }

    #[test]
    fn foreign_metadata_is_no_subscription() {
        check(b"", None);
        check(b"\xff\xff\0\0\0\0", None);
        check(b"\0\0\xff\xff\xff\xff", None);
        check(b"\0\0\x7f\xff\xff\xff", None);
        check(b"\0\0\0\0\0\x01\0\x05abc", None);
        check(b"\0\0\0\0\0\x01\0\x01\xff", None);
    }
}
