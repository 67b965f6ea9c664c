//! The request sequences. Each function runs once against each broker and writes down what it is
//! answered; it must send the same requests to both, whatever they answer.

mod cluster;
mod commits;
mod configs;
mod connection;
mod fetch;
mod groups;
mod internal;
mod membership;
mod offsets;
mod produce;
mod producers;
mod topics;

use crate::session::Session;

pub(crate) use groups::warm_up;

pub(crate) type Scenario = (&'static str, fn(&mut Session));

/// In an order in which none depends on what another one leaves.
pub(crate) const ALL: &[Scenario] = &[
    ("api_versions", cluster::api_versions),
    ("metadata", topics::metadata),
    ("auto_creation", topics::auto_creation),
    ("create_topics", topics::create_topics),
    ("delete_topics", topics::delete_topics),
    ("create_partitions", topics::create_partitions),
    (
        "describe_topic_partitions",
        topics::describe_topic_partitions,
    ),
    ("produce_versions", produce::versions),
    ("produce_refusals", produce::refusals),
    ("produce_records", produce::records),
    ("produce_log_append_time", produce::log_append_time),
    ("produce_limits", produce::limits),
    ("producer_sequences", producers::sequences),
    ("init_producer_id", producers::init_producer_id),
    ("describe_producers", producers::describe_producers),
    ("fetch_versions", fetch::versions),
    ("fetch_limits", fetch::limits),
    ("fetch_offsets", fetch::offsets),
    ("fetch_waiting", fetch::waiting),
    ("fetch_sessions", fetch::sessions),
    ("fetch_epochs", fetch::epochs),
    ("list_offsets", offsets::list_offsets),
    ("offset_for_leader_epoch", offsets::offset_for_leader_epoch),
    ("delete_records", offsets::delete_records),
    ("find_coordinator", groups::find_coordinator),
    ("group_versions", groups::versions),
    ("group_refusals", groups::refusals),
    ("group_of_three", membership::three_members),
    ("group_static_members", membership::static_members),
    ("group_expiry", membership::expiry),
    ("group_administration", groups::administration),
    ("offset_commit", commits::offset_commit),
    ("offset_fetch", commits::offset_fetch),
    ("offset_delete", commits::offset_delete),
    ("describe_configs", configs::describe),
    ("alter_configs", configs::alter),
    ("incremental_alter_configs", configs::incremental_alter),
    ("config_effects", configs::effects),
    ("describe_log_dirs", cluster::describe_log_dirs),
    ("describe_cluster", cluster::describe_cluster),
    ("raw_frames", connection::frames),
    ("raw_pipelining", connection::pipelining),
    ("internal_produce", internal::produce),
    ("internal_administration", internal::administration),
    ("internal_deletion", internal::deletion),
];
