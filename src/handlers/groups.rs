//! What the handlers of the group APIs have in common: the way to a group's coordinator, and the
//! words of the wire.

use std::net::IpAddr;
use std::rc::Rc;

use super::Client;
use crate::coordinator::{GroupError, Request, Response, partition_for};
use crate::model::{OFFSETS_TOPIC, PartitionId};
use crate::protocol::messages::StrBytes;

/// Asks the coordinator of a group.
pub(super) async fn ask(
    client: &Rc<Client>,
    group_id: &str,
    request: Request,
) -> Result<Response, GroupError> {
    // A client that looks for its coordinator makes the topic.
    let partition = offsets_partition(client, group_id).ok_or(GroupError::NotCoordinator)?;
    let answer = client.shard.group(partition, request).await;
    answer.ok_or(GroupError::NotCoordinator)
}

/// The offsets partition of a group, once there is an offsets topic.
pub(super) fn offsets_partition(client: &Client, group_id: &str) -> Option<PartitionId> {
    let topic = client.shard.topic_by_name(OFFSETS_TOPIC)?;
    let count = i32::try_from(topic.leader_epochs.len()).unwrap_or(i32::MAX);
    Some(PartitionId {
        topic_id: topic.id,
        index: partition_for(group_id, count),
    })
}

/// Why a request cannot be answered with anything else.
pub(super) fn mismatched(response: &Response) -> ! {
    unreachable!("a coordinator answers in kind, not with {response:?}")
}

/// The room that an answer about many groups has. What is beyond it is not told: the client asks
/// again for that, as for a coordinator that is busy.
pub(super) struct Room {
    left_bytes: usize,
    is_full: bool,
}

impl Room {
    pub(super) fn new(bytes_max: usize) -> Room {
        Room {
            left_bytes: bytes_max,
            is_full: false,
        }
    }

    /// Whether something was refused already; nobody need ask for more.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes the room that what was found needs.
    pub(super) fn take<T>(&mut self, found: T, bytes: usize) -> Result<T, GroupError> {
        match self.left_bytes.checked_sub(bytes) {
            Some(left_bytes) if !self.is_full => {
                self.left_bytes = left_bytes;
                Ok(found)
            }
            Some(_) | None => {
                self.is_full = true;
                Err(GroupError::NotAvailable)
            }
        }
    }
}

/// Text that stays: the request's bytes are given back.
pub(super) fn owned(text: &Option<StrBytes>) -> Option<String> {
    text.as_ref().map(|text| text.as_str().to_owned())
}

/// Text of ours for the wire.
pub(super) fn wire(text: String) -> StrBytes {
    StrBytes::from(text)
}

/// Nullable text of ours for the wire.
pub(super) fn nullable(text: Option<String>) -> Option<StrBytes> {
    text.map(StrBytes::from)
}

/// An address as Java prints it, with the slash that tools show before it.
pub(super) fn java_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:x}"));
            format!("/{}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_javas() {
        let check = |text: &str, expected: &str| {
            let address = text.parse().unwrap();
            assert_eq!(java_address(address), expected);
        };
        check("127.0.0.1", "/127.0.0.1");
        check("::1", "/0:0:0:0:0:0:0:1");
        check("::ffff:10.1.2.3", "/10.1.2.3");
        check("fe80::a:bc", "/fe80:0:0:0:0:0:a:bc");
    }
}
