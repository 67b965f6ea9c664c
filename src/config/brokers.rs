//! The ids under which clients know this node: its own, or one for each core.

use crate::limits::{CORES_MAX, VIRTUAL_BROKERS_FROM, VIRTUAL_BROKERS_PER_NODE};
use crate::model::{CoreId, NodeId};

/// Whom clients are told of: `corelog.listener.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerMode {
    /// One broker, the node. Any core serves any request; one for another core takes a hop.
    Broker,
    /// A virtual broker for each core, with a port of its own, which leads what the core owns.
    Core,
}

impl ListenerMode {
    /// The word of the configuration file and of the ready file.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerMode::Broker => "broker",
            ListenerMode::Core => "core",
        }
    }
}

/// The ids that clients of this node are told. The same at each of its listeners; never on disk.
///
/// A virtual broker's id is `1_000_000 + node.id * 10_000 + core`: above every id that a node in
/// this mode may have, and below the numbers at which Java's client counts the coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerIds {
    mode: ListenerMode,
    node: NodeId,
    cores_count: u16,
}

/// The largest `node.id` of a node with virtual brokers.
pub(super) const NODE_ID_MAX: i32 = 99_999;

const _: () = assert!(NODE_ID_MAX < VIRTUAL_BROKERS_FROM);
const _: () = assert!(CORES_MAX <= VIRTUAL_BROKERS_PER_NODE as usize);
// The coordinator of broker N is number i32::MAX - N in Java's client and those that follow it.
const _: () = assert!(
    VIRTUAL_BROKERS_FROM as i64
        + NODE_ID_MAX as i64 * VIRTUAL_BROKERS_PER_NODE as i64
        + VIRTUAL_BROKERS_PER_NODE as i64
        <= (i32::MAX / 2) as i64
);

impl BrokerIds {
    /// The ids of a node with so many cores.
    pub fn new(mode: ListenerMode, node: NodeId, cores_count: usize) -> BrokerIds {
        assert!((1..=CORES_MAX).contains(&cores_count), "a node has cores");
        BrokerIds {
            mode,
            node,
            cores_count: cores_count as u16,
        }
    }

    /// The broker of a core. Nothing else makes the id of a virtual broker.
    pub fn of(&self, core: CoreId) -> NodeId {
        match self.mode {
            ListenerMode::Broker => self.node,
            ListenerMode::Core => {
                let first = VIRTUAL_BROKERS_FROM + self.node.0 * VIRTUAL_BROKERS_PER_NODE;
                NodeId(first + i32::from(core.0))
            }
        }
    }

    /// The cores that stand for brokers: all, or the first for the node.
    pub fn cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        let count = match self.mode {
            ListenerMode::Broker => 1,
            ListenerMode::Core => self.cores_count,
        };
        (0..count).map(CoreId)
    }

    /// The core of a virtual broker of this node.
    pub fn core_of(&self, id: NodeId) -> Option<CoreId> {
        match self.mode {
            ListenerMode::Broker => None,
            ListenerMode::Core => self.cores().find(|core| self.of(*core) == id),
        }
    }

    /// The number of the node's cores, of which a slot's is the remainder.
    pub fn cores_count(&self) -> u32 {
        u32::from(self.cores_count)
    }

    /// Whether an id is this node's: that of its file, or one that its clients are told.
    pub fn are_of(&self, id: NodeId) -> bool {
        id == self.node || self.core_of(id).is_some()
    }

    /// The ids that may be asked for, for people.
    pub fn described(&self) -> String {
        match self.mode {
            ListenerMode::Broker => self.node.0.to_string(),
            ListenerMode::Core => {
                let last = CoreId(self.cores_count - 1);
                format!("{} to {}", self.of(CoreId(0)).0, self.of(last).0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: ListenerMode, node: i32, cores: usize, expected: &[i32]) {
        let ids = BrokerIds::new(mode, NodeId(node), cores);
        let all: Vec<i32> = ids.cores().map(|core| ids.of(core).0).collect();
        assert_eq!(all, expected);
        assert!(all.iter().all(|id| ids.are_of(NodeId(*id))));
        assert!(ids.are_of(NodeId(node)));
        let after = all.iter().max().expect("at least one") + 1;
        assert!(!ids.are_of(NodeId(after)), "{after}");
        for core in ids.cores().filter(|_| mode == ListenerMode::Core) {
            assert_eq!(ids.core_of(ids.of(core)), Some(core));
        }
    }

    #[test]
    fn a_node_is_one_broker_or_one_for_each_core() {
        check(ListenerMode::Broker, 7, 4, &[7]);
        check(ListenerMode::Core, 0, 2, &[1_000_000, 1_000_001]);
        check(ListenerMode::Core, 7, 3, &[1_070_000, 1_070_001, 1_070_002]);
        check(ListenerMode::Core, NODE_ID_MAX, 1, &[1_000_990_000]);
    }

    #[test]
    fn no_node_has_the_id_of_a_virtual_broker() {
        let ids = BrokerIds::new(ListenerMode::Core, NodeId(0), CORES_MAX);
        let next = BrokerIds::new(ListenerMode::Core, NodeId(1), CORES_MAX);
        let of_next: Vec<NodeId> = next.cores().map(|core| next.of(core)).collect();
        assert!(ids.cores().all(|core| ids.of(core).0 > NODE_ID_MAX));
        assert!(ids.cores().all(|core| !of_next.contains(&ids.of(core))));
    }
}
