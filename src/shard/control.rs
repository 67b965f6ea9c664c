//! Calls to the controller, and the way of its records to all shards.

use std::rc::Rc;

use futures_util::future::join_all;

use super::Shard;
use super::message::{Answer, Call};
use crate::controller::{
    ConfigChange, ConfigOwner, Deltas, NewPartitions, NewTopic, Refused, TopicMeta, TopicRef,
};
use crate::model::CoreId;

/// What may be asked of the controller.
pub enum ControlCall {
    /// Make topics.
    CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
        /// Only say whether it could be done.
        validate_only: bool,
    },
    /// Add partitions.
    AddPartitions {
        /// The topics and how many partitions they shall have.
        requests: Vec<NewPartitions>,
        /// Only say whether it could be done.
        validate_only: bool,
    },
    /// Delete topics.
    DeleteTopics(Vec<TopicRef>),
    /// Change configurations.
    Configure {
        /// Whose, and how.
        changes: Vec<(ConfigOwner, ConfigChange)>,
        /// Only say whether it could be done.
        validate_only: bool,
    },
    /// Give a block of producer ids.
    ProducerIds,
}

/// What the controller answers, each to the call of the same name; one result for each item, in
/// order.
pub enum ControlAnswer {
    /// The topics made.
    CreateTopics(Vec<Result<TopicMeta, Refused>>),
    /// Whether partitions were added.
    AddPartitions(Vec<Result<(), Refused>>),
    /// What the topics were.
    DeleteTopics(Vec<Result<TopicMeta, Refused>>),
    /// Whether configurations were changed.
    Configure(Vec<Result<(), Refused>>),
    /// The first id of the block.
    ProducerIds(Result<i64, Refused>),
}

impl Shard {
    /// Asks the controller. When the answer is here, every shard has applied the change.
    pub async fn control(self: &Rc<Self>, call: ControlCall) -> ControlAnswer {
        match self.call(CoreId(0), Call::Control(call)).await {
            Answer::Control(answer) => answer,
            _ => unreachable!("the controller answers as the controller"),
        }
    }

    /// Makes topics; see `control`.
    pub async fn create_topics(
        self: &Rc<Self>,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<Result<TopicMeta, Refused>> {
        match self
            .control(ControlCall::CreateTopics {
                topics,
                validate_only,
            })
            .await
        {
            ControlAnswer::CreateTopics(results) => results,
            _ => unreachable!("an answer is of its call's kind"),
        }
    }

    /// Adds partitions; see `control`.
    pub async fn add_partitions(
        self: &Rc<Self>,
        requests: Vec<NewPartitions>,
        validate_only: bool,
    ) -> Vec<Result<(), Refused>> {
        match self
            .control(ControlCall::AddPartitions {
                requests,
                validate_only,
            })
            .await
        {
            ControlAnswer::AddPartitions(results) => results,
            _ => unreachable!("an answer is of its call's kind"),
        }
    }

    /// Deletes topics; see `control`.
    pub async fn delete_topics(
        self: &Rc<Self>,
        topics: Vec<TopicRef>,
    ) -> Vec<Result<TopicMeta, Refused>> {
        match self.control(ControlCall::DeleteTopics(topics)).await {
            ControlAnswer::DeleteTopics(results) => results,
            _ => unreachable!("an answer is of its call's kind"),
        }
    }

    /// Changes configurations; see `control`.
    pub async fn configure(
        self: &Rc<Self>,
        changes: Vec<(ConfigOwner, ConfigChange)>,
        validate_only: bool,
    ) -> Vec<Result<(), Refused>> {
        match self
            .control(ControlCall::Configure {
                changes,
                validate_only,
            })
            .await
        {
            ControlAnswer::Configure(results) => results,
            _ => unreachable!("an answer is of its call's kind"),
        }
    }

    /// A producer id that nobody has had. Each core takes ids from a block of its own.
    pub async fn new_producer_id(self: &Rc<Self>) -> Result<i64, Refused> {
        loop {
            if let Some(id) = self.producer_ids.borrow_mut().next() {
                return Ok(id);
            }
            match self.control(ControlCall::ProducerIds).await {
                ControlAnswer::ProducerIds(Ok(first)) => {
                    let block = first..first + crate::limits::PRODUCER_IDS_PER_BLOCK;
                    *self.producer_ids.borrow_mut() = block;
                }
                ControlAnswer::ProducerIds(Err(refused)) => return Err(refused),
                _ => unreachable!("an answer is of its call's kind"),
            }
        }
    }

    /// Serves a call on core 0. One at a time, until every shard has applied its records, so that
    /// all shards see all changes in one order.
    pub(super) async fn control_local(self: &Rc<Self>, call: ControlCall) -> ControlAnswer {
        let controller = self.controller.clone().expect("only core 0 is asked");
        let _turn = self.control_turn.acquire().await.expect("never closed");
        let config = self.config();
        let (answer, deltas) = match call {
            ControlCall::CreateTopics {
                topics,
                validate_only,
            } => {
                let (results, deltas) = controller
                    .create_topics(topics, validate_only, &config)
                    .await;
                (ControlAnswer::CreateTopics(results), deltas)
            }
            ControlCall::AddPartitions {
                requests,
                validate_only,
            } => {
                let (results, deltas) = controller
                    .add_partitions(requests, validate_only, &config)
                    .await;
                (ControlAnswer::AddPartitions(results), deltas)
            }
            ControlCall::DeleteTopics(topics) => {
                let (results, deltas) = controller.delete_topics(topics, &config).await;
                (ControlAnswer::DeleteTopics(results), deltas)
            }
            ControlCall::Configure {
                changes,
                validate_only,
            } => {
                let (results, deltas) = controller.configure(changes, validate_only, &config).await;
                (ControlAnswer::Configure(results), deltas)
            }
            ControlCall::ProducerIds => {
                let first = controller.producer_ids(&config).await;
                (ControlAnswer::ProducerIds(first), None)
            }
        };
        if let Some(deltas) = deltas {
            self.broadcast(deltas).await;
        }
        answer
    }

    async fn broadcast(self: &Rc<Self>, deltas: Deltas) {
        let cores = (0..self.routes.cores_count()).map(|core| CoreId(core as u16));
        join_all(cores.map(|core| self.call(core, Call::Apply(deltas.clone())))).await;
    }
}
