//! kcat's format letters: how `consume` prints a record.
//!
//! | letter | prints |
//! |---|---|
//! | `%s` | value; nothing for a tombstone |
//! | `%S` | the value's length in bytes; -1 for a tombstone |
//! | `%R` | the value's length as a 32-bit big-endian integer; -1 for a tombstone |
//! | `%k` | key; nothing where there is none |
//! | `%K` | the key's length in bytes; -1 where there is none |
//! | `%T` | timestamp in milliseconds |
//! | `%h` | headers: `name=value`, separated by commas; `NULL` for a value that is null |
//! | `%t` | topic |
//! | `%p` | partition |
//! | `%o` | offset |
//! | `%%` | a percent sign |
//! | `\n` `\r` `\t` `\\` `\xNN` | the byte |

use crate::model::{Offset, Timestamp, TopicPartition};

/// What can be printed of one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) offset: Offset,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A format that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Timestamp,
    Headers,
    Topic,
    Partition,
    Offset,
}

/// Why a text is not a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FormatError {
    /// `%` before a letter that means nothing.
    UnknownLetter(char),
    /// `\` before a letter that means nothing, or `\x` without two hexadecimal digits.
    UnknownEscape(String),
    /// The text ends with a single `%` or `\`.
    Unfinished(char),
}

impl std::fmt::Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FormatError::UnknownLetter(letter) => {
                write!(f, "%{letter} is none of %s %S %R %k %K %T %h %t %p %o %%")
            }
            FormatError::UnknownEscape(escape) => {
                write!(f, "\\{escape} is none of \\n \\r \\t \\\\ \\xNN")
            }
            FormatError::Unfinished(mark) => write!(f, "the format ends with a single {mark}"),
        }
    }
}

impl Format {
    /// Reads a format.
    pub(super) fn parse(text: &str) -> Result<Format, FormatError> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match letter(chars.next())? {
                    Part::Bytes(more) => bytes.extend(more),
                    part => {
                        if !bytes.is_empty() {
                            parts.push(Part::Bytes(std::mem::take(&mut bytes)));
                        }
                        parts.push(part);
                    }
                },
                '\\' => bytes.push(escape(&mut chars)?),
                c => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !bytes.is_empty() {
            parts.push(Part::Bytes(bytes));
        }
        Ok(Format { parts })
    }

    /// Appends one record to `out`.
    pub(super) fn print(&self, record: &Shown<'_>, out: &mut Vec<u8>) {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        for part in &self.parts {
            let number = match part {
                Part::Bytes(bytes) => {
                    out.extend(bytes);
                    continue;
                }
                Part::Value => {
                    out.extend(record.value.unwrap_or_default());
                    continue;
                }
                Part::Key => {
                    out.extend(record.key.unwrap_or_default());
                    continue;
                }
                Part::Topic => {
                    out.extend(record.partition.topic.as_str().as_bytes());
                    continue;
                }
                Part::Headers => {
                    headers(record.headers, out);
                    continue;
                }
                Part::ValueLengthBinary => {
                    out.extend((length(record.value) as i32).to_be_bytes());
                    continue;
                }
                Part::ValueLength => length(record.value),
                Part::KeyLength => length(record.key),
                Part::Timestamp => record.timestamp.0,
                Part::Partition => i64::from(record.partition.index),
                Part::Offset => record.offset.0,
            };
            out.extend(number.to_string().as_bytes());
        }
    }
}

fn letter(letter: Option<char>) -> Result<Part, FormatError> {
    Ok(match letter.ok_or(FormatError::Unfinished('%'))? {
        's' => Part::Value,
        'S' => Part::ValueLength,
        'R' => Part::ValueLengthBinary,
        'k' => Part::Key,
        'K' => Part::KeyLength,
        'T' => Part::Timestamp,
        'h' => Part::Headers,
        't' => Part::Topic,
        'p' => Part::Partition,
        'o' => Part::Offset,
        '%' => Part::Bytes(vec![b'%']),
        other => return Err(FormatError::UnknownLetter(other)),
    })
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, FormatError> {
    let c = chars.next().ok_or(FormatError::Unfinished('\\'))?;
    Ok(match c {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '\\' => b'\\',
        'x' => {
            let digits: String = chars.take(2).collect();
            let byte = u8::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 2);
            byte.ok_or(FormatError::UnknownEscape(format!("x{digits}")))?
        }
        other => return Err(FormatError::UnknownEscape(other.to_string())),
    })
}

fn headers(headers: &[(&[u8], Option<&[u8]>)], out: &mut Vec<u8>) {
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend(*name);
        out.push(b'=');
        out.extend(value.unwrap_or(b"NULL"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partition_of;

    fn check(format: &str, expected: &str) {
        let record = Shown {
            partition: &partition_of("orders", 3),
            offset: Offset(42),
            timestamp: Timestamp(1_795_329_425_123),
            key: Some(b"k1"),
            value: Some(b"value"),
            headers: &[(b"a", Some(b"1")), (b"b", None)],
        };
        check_of(&record, format, expected.as_bytes());
    }

    fn check_of(record: &Shown<'_>, format: &str, expected: &[u8]) {
        let mut out = Vec::new();
        Format::parse(format)
            .expect("a format")
            .print(record, &mut out);
        assert_eq!(out, expected, "{format}: {}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn each_letter_prints_its_part() {
        check("%s", "value");
        check("%S", "5");
        check("%R", "\0\0\0\x05");
        check("%k", "k1");
        check("%K", "2");
        check("%T", "1795329425123");
        check("%h", "a=1,b=NULL");
        check("%t", "orders");
        check("%p", "3");
        check("%o", "42");
        check("%%", "%");
        check("%t[%p]@%o: %k=%s\\n", "orders[3]@42: k1=value\n");
        check("\\x41\\t\\\\ä", "A\t\\ä");
        check("", "");
    }

    #[test]
    fn what_is_null_prints_as_nothing_and_has_length_minus_one() {
        let record = Shown {
            partition: &partition_of("t", 0),
            offset: Offset(0),
            timestamp: Timestamp::NONE,
            key: None,
            value: None,
            headers: &[],
        };
        check_of(&record, "%k|%s|%K|%S|%h|%T", b"||-1|-1||-1");
        check_of(&record, "%R", &[0xff; 4]);
    }

    #[test]
    fn letters_that_mean_nothing_are_refused() {
        let check = |format: &str, error: FormatError| {
            assert_eq!(Format::parse(format), Err(error), "{format}");
        };
        check("%x", FormatError::UnknownLetter('x'));
        check("a%", FormatError::Unfinished('%'));
        check("a\\", FormatError::Unfinished('\\'));
        check("\\q", FormatError::UnknownEscape("q".into()));
        check("\\x4", FormatError::UnknownEscape("x4".into()));
        check("\\xäb", FormatError::UnknownEscape("xäb".into()));
    }
}
