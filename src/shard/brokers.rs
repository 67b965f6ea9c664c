//! What clients are told to connect to: the node, or a virtual broker for each core.
//!
//! Ids, hosts and ports are made here and nowhere else, so that brokers, leaders, coordinators and
//! the controller are the same everywhere that a client of one listener looks. Nothing of it is on
//! disk, and nothing decides by it: any core still serves any request.

use std::sync::Arc;

use super::Shard;
use crate::config::BrokerIds;
use crate::model::{CoreId, NodeId, PartitionId};

/// A broker as clients of one listener see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The id to tell.
    pub id: NodeId,
    /// The host to tell.
    pub host: Arc<str>,
    /// The port to tell.
    pub port: u16,
}

/// What the clients of one listener are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedListener {
    /// The host.
    pub host: Arc<str>,
    /// The port of the listener itself.
    pub port: u16,
    /// The port of each core; none where clients are told of one broker.
    pub core_ports: Vec<u16>,
}

impl Shard {
    /// The ids of this node's brokers.
    pub fn broker_ids(&self) -> BrokerIds {
        let config = self.launch.config();
        BrokerIds::new(
            config.network.listener_mode,
            config.node_id,
            self.launch.cores_count(),
        )
    }

    /// The broker that clients of `listener` are told leads `partition`, or with `None` is the
    /// controller. What no core owns is the controller's too.
    pub fn advertised(&self, listener: usize, partition: Option<PartitionId>) -> Advertised {
        let owner = partition.and_then(|partition| self.owner(partition));
        self.advertised_core(listener, owner.unwrap_or(CoreId(0)))
    }

    /// All brokers that clients of `listener` are told of.
    pub fn brokers(&self, listener: usize) -> Vec<Advertised> {
        let cores = self.broker_ids().cores();
        cores
            .map(|core| self.advertised_core(listener, core))
            .collect()
    }

    fn advertised_core(&self, listener: usize, core: CoreId) -> Advertised {
        let told = self.launch.advertised(listener);
        let of_core = told.core_ports.get(usize::from(core.0));
        Advertised {
            id: self.broker_ids().of(core),
            host: told.host.clone(),
            port: of_core.copied().unwrap_or(told.port),
        }
    }
}
