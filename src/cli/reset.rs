//! `corelog group reset-offsets`: moves the committed offsets of a group without members.

use std::io::Write;

use serde_json::json;

use super::arguments::ResetArguments;
use super::failure::Failure;
use super::screen::{Screen, Table};
use super::{datetime, topic};
use crate::client::{Client, CommittedOffset, OffsetSpec};
use crate::io::blocking;
use crate::model::{Offset, Timestamp, TopicPartition};
use crate::protocol::ErrorCode;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Earliest,
    Latest,
    At(Offset),
    ShiftBy(i64),
    Since(Timestamp),
}

/// What is known of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bounds {
    partition: TopicPartition,
    committed: Option<Offset>,
    start: Offset,
    end: Offset,
    /// The first record that is not older, where that was asked.
    at_time: Option<Offset>,
}

/// Why an offset is not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bent {
    /// The log ends before the one that was asked for.
    Higher(Offset),
    /// The log begins after it.
    Lower(Offset),
    /// No record is as young as was asked for.
    NoneSince,
}

/// A partition's new offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) partition: TopicPartition,
    pub(super) offset: Offset,
    pub(super) bent: Option<Bent>,
}

impl Moved {
    /// What a person should know of it.
    fn remark(&self) -> Option<String> {
        let Moved {
            partition, offset, ..
        } = self;
        Some(match self.bent? {
            Bent::Higher(wanted) => {
                format!("{partition} has offsets up to {offset} only, not {wanted}: {offset}")
            }
            Bent::Lower(wanted) => {
                format!("{partition} has offsets from {offset} on, not {wanted}: {offset}")
            }
            Bent::NoneSince => {
                format!("{partition} has no record that is as young: its end, {offset}")
            }
        })
    }
}

/// Runs the command.
pub(super) fn run(
    client: &mut Client,
    screen: &mut Screen,
    arguments: &ResetArguments,
) -> Result<(), Failure> {
    let group = arguments.group.as_str();
    let is_executed = arguments.execute;
    let moved = moved(client, arguments)?;
    if !screen.is_json() {
        for remark in moved.iter().filter_map(Moved::remark) {
            // A stderr that is closed misses a remark only.
            let _ = writeln!(blocking::stderr(), "corelog: {remark}");
        }
    }
    screen.show(
        || {
            let mut table = Table::new(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]);
            for moved in &moved {
                table.row([
                    group.to_string(),
                    moved.partition.topic.to_string(),
                    moved.partition.index.to_string(),
                    moved.offset.to_string(),
                ]);
            }
            let hint = "Nothing was changed: add --execute.\n";
            format!("{table}{}", if is_executed { "" } else { hint })
        },
        || {
            let row = |moved: &Moved| {
                let mut row = json!({
                    "topic": moved.partition.topic.as_str(),
                    "partition": moved.partition.index,
                    "new_offset": moved.offset.0,
                });
                if let Some(remark) = moved.remark() {
                    row["note"] = remark.into();
                }
                row
            };
            let rows: Vec<_> = moved.iter().map(row).collect();
            json!({ "group": group, "executed": is_executed, "partitions": rows })
        },
    )
}

/// The new offsets, by partition, which are those in force if the arguments say so.
pub(super) fn moved(
    client: &mut Client,
    arguments: &ResetArguments,
) -> Result<Vec<Moved>, Failure> {
    let group = arguments.group.as_str();
    let goal = goal(arguments)?;
    let committed = client.committed_offsets(group, None)?;
    let partitions = scope(client, arguments, &committed)?;
    let bounds = bounds(client, partitions, &committed, goal)?;
    let mut moved = Vec::new();
    for known in &bounds {
        match step(goal, known) {
            Some((offset, bent)) => moved.push(Moved {
                partition: known.partition.clone(),
                offset,
                bent,
            }),
            None => {
                return Err(Failure::new(format!(
                    "group {group} has no offset of {} to shift",
                    known.partition
                ))
                .try_this("--to-earliest, --to-latest or --to-offset"));
            }
        }
    }
    let offsets: Vec<CommittedOffset> = moved
        .iter()
        .map(|moved| CommittedOffset::new(moved.partition.clone(), moved.offset))
        .collect();
    if arguments.execute
        && let Err(error) = client.commit_offsets(group, &offsets)
    {
        let has_members = matches!(
            error.code(),
            Some(ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress)
        );
        return Err(match has_members {
            true => Failure::new(format!("the offsets of group {group} were not changed"))
                .because("the group has members, which would overwrite them")
                .try_this("stop the group's consumers first"),
            false => error.into(),
        });
    }
    Ok(moved)
}

fn goal(arguments: &ResetArguments) -> Result<Goal, Failure> {
    if let Some(text) = &arguments.to_datetime {
        return datetime::parse(text).map(Goal::Since).ok_or_else(|| {
            Failure::usage(format!("--to-datetime: {text:?} is no date"))
                .try_this("--to-datetime 2026-11-22T06:37:05.123Z")
        });
    }
    Ok(match (arguments.to_offset, arguments.shift_by) {
        (Some(offset), _) => Goal::At(Offset(offset)),
        (None, Some(count)) => Goal::ShiftBy(count),
        (None, None) if arguments.to_latest => Goal::Latest,
        // clap sees to it that one of the goals is given.
        (None, None) => Goal::Earliest,
    })
}

/// The partitions that the command is about, in order.
fn scope(
    client: &mut Client,
    arguments: &ResetArguments,
    committed: &[CommittedOffset],
) -> Result<Vec<TopicPartition>, Failure> {
    let mut found = Vec::new();
    if arguments.all_topics {
        found.extend(committed.iter().map(|offset| offset.partition.clone()));
        if found.is_empty() {
            return Err(
                Failure::new(format!("group {} has no offsets", arguments.group))
                    .try_this("corelog group list"),
            );
        }
    }
    for text in &arguments.topics {
        let (name, indexes) = match text.split_once(':') {
            Some((name, indexes)) => (name, Some(indexes)),
            None => (text.as_str(), None),
        };
        let name = topic::topic_name(name)?;
        let known: Vec<i32> = client
            .topic(&name)?
            .partitions
            .iter()
            .map(|p| p.index)
            .collect();
        let indexes = match indexes {
            None => known,
            Some(indexes) => listed_indexes(text, indexes, &known)?,
        };
        found.extend(indexes.into_iter().map(|index| TopicPartition {
            topic: name.clone(),
            index,
        }));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn listed_indexes(text: &str, indexes: &str, known: &[i32]) -> Result<Vec<i32>, Failure> {
    let index = |word: &str| {
        let index = word.parse().ok().filter(|index| known.contains(index));
        index.ok_or_else(|| Failure::usage(format!("--topic {text}: there is no partition {word}")))
    };
    indexes.split(',').map(index).collect()
}

fn bounds(
    client: &mut Client,
    partitions: Vec<TopicPartition>,
    committed: &[CommittedOffset],
    goal: Goal,
) -> Result<Vec<Bounds>, Failure> {
    let mut list = |spec: OffsetSpec| -> Result<Vec<Option<Offset>>, Failure> {
        let wanted: Vec<_> = partitions
            .iter()
            .map(|partition| (partition.clone(), spec))
            .collect();
        let listed = client.list_offsets(&wanted)?;
        let offset_of = |partition: &TopicPartition| {
            let found = listed.iter().find(|listed| listed.partition == *partition);
            found.and_then(|listed| listed.offset)
        };
        Ok(partitions.iter().map(offset_of).collect())
    };
    let starts = list(OffsetSpec::Earliest)?;
    let ends = list(OffsetSpec::Latest)?;
    let at_times = match goal {
        Goal::Since(timestamp) => list(OffsetSpec::At(timestamp))?,
        Goal::Earliest | Goal::Latest | Goal::At(_) | Goal::ShiftBy(_) => vec![None; starts.len()],
    };
    let mut found = Vec::new();
    for (index, partition) in partitions.into_iter().enumerate() {
        let committed = committed
            .iter()
            .find(|offset| offset.partition == partition);
        found.push(Bounds {
            committed: committed.map(|offset| offset.offset),
            start: starts[index].unwrap_or(Offset::ZERO),
            end: ends[index].unwrap_or(Offset::ZERO),
            at_time: at_times[index],
            partition,
        });
    }
    Ok(found)
}

/// The new offset, within the log's bounds, and why it is not the one that was asked for; `None`
/// where there is nothing to shift.
fn step(goal: Goal, known: &Bounds) -> Option<(Offset, Option<Bent>)> {
    let offset = match goal {
        Goal::Earliest => known.start,
        Goal::Latest => known.end,
        Goal::At(offset) => offset,
        Goal::ShiftBy(count) => Offset(known.committed?.0.saturating_add(count)),
        Goal::Since(_) => match known.at_time {
            Some(offset) => offset,
            None => return Some((known.end, Some(Bent::NoneSince))),
        },
    };
    Some(match offset {
        _ if offset > known.end => (known.end, Some(Bent::Higher(offset))),
        _ if offset < known.start => (known.start, Some(Bent::Lower(offset))),
        offset => (offset, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partition_of;

    fn check(
        goal: Goal,
        committed: Option<i64>,
        at_time: Option<i64>,
        expected: Option<(i64, Option<Bent>)>,
    ) {
        let known = Bounds {
            partition: partition_of("orders", 0),
            committed: committed.map(Offset),
            start: Offset(10),
            end: Offset(20),
            at_time: at_time.map(Offset),
        };
        assert_eq!(
            step(goal, &known),
            expected.map(|(offset, bent)| (Offset(offset), bent)),
            "{goal:?} {committed:?}"
        );
    }

    #[test]
    fn goals_stay_within_the_log() {
        let exactly = |offset| Some((offset, None));
        let higher = |wanted| Some((20, Some(Bent::Higher(Offset(wanted)))));
        let lower = |wanted| Some((10, Some(Bent::Lower(Offset(wanted)))));
        check(Goal::Earliest, None, None, exactly(10));
        check(Goal::Latest, None, None, exactly(20));
        check(Goal::At(Offset(15)), None, None, exactly(15));
        check(Goal::At(Offset(10)), None, None, exactly(10));
        check(Goal::At(Offset(20)), None, None, exactly(20));
        check(Goal::At(Offset(5)), None, None, lower(5));
        check(Goal::At(Offset(50)), None, None, higher(50));
        check(Goal::ShiftBy(3), Some(12), None, exactly(15));
        check(Goal::ShiftBy(-3), Some(12), None, lower(9));
        check(Goal::ShiftBy(i64::MAX), Some(12), None, higher(i64::MAX));
        check(Goal::ShiftBy(1), None, None, None);
        check(Goal::Since(Timestamp(1)), None, Some(17), exactly(17));
        check(
            Goal::Since(Timestamp(1)),
            None,
            None,
            Some((20, Some(Bent::NoneSince))),
        );
    }

    #[test]
    fn partitions_that_do_not_exist_are_refused() {
        assert_eq!(listed_indexes("t:0,2", "0,2", &[0, 1, 2]), Ok(vec![0, 2]));
        assert!(listed_indexes("t:3", "3", &[0, 1, 2]).is_err());
        assert!(listed_indexes("t:", "", &[0]).is_err());
        assert!(listed_indexes("t:x", "x", &[0]).is_err());
    }
}
