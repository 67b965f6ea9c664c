//! Where to begin reading: `-o`.

use crate::model::{Offset, Timestamp};

/// A place to begin, before the broker was asked what offset that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The first record that is there.
    Beginning,
    /// After the last record.
    End,
    /// An offset.
    At(Offset),
    /// So many records before the end.
    BeforeEnd(i64),
    /// The first record that is not older.
    Since(Timestamp),
}

/// Reads `beginning`, `end`, `N`, `-N` or `s@TIME`, TIME being milliseconds since the epoch or a
/// date.
pub(super) fn parse(text: &str) -> Result<Position, String> {
    let number = |text: &str| text.parse::<i64>().ok();
    let position = match text {
        "beginning" | "earliest" => Some(Position::Beginning),
        "end" | "latest" => Some(Position::End),
        text => match text.strip_prefix("s@") {
            Some(time) => {
                let moment = number(time)
                    .map(Timestamp)
                    .or_else(|| super::datetime::parse(time));
                moment.map(Position::Since)
            }
            None => number(text).map(|number| match number {
                0.. => Position::At(Offset(number)),
                _ => Position::BeforeEnd(number.saturating_neg()),
            }),
        },
    };
    position.ok_or_else(|| "is none of beginning, end, N, -N, s@MS, s@DATE".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        let check = |text: &str, expected: Option<Position>| {
            assert_eq!(parse(text).ok(), expected, "{text}");
        };
        check("beginning", Some(Position::Beginning));
        check("earliest", Some(Position::Beginning));
        check("end", Some(Position::End));
        check("0", Some(Position::At(Offset(0))));
        check("17", Some(Position::At(Offset(17))));
        check("-5", Some(Position::BeforeEnd(5)));
        check("-9223372036854775808", Some(Position::BeforeEnd(i64::MAX)));
        check("s@1000", Some(Position::Since(Timestamp(1000))));
        check(
            "s@1970-01-01T00:00:02Z",
            Some(Position::Since(Timestamp(2000))),
        );
        check("s@", None);
        check("middle", None);
        check("", None);
    }
}
