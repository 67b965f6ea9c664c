//! What a load needs to know before it begins: who leads the partitions, which requests go there.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bench::fetch::FETCH_VERSION_MAX;
use crate::bench::limits::LEADER_SECONDS;
use crate::bench::problem::Problem;
use crate::bench::request::{PRODUCE_VERSION_MAX, Place, Template, templates};
use crate::bench::traffic::Traffic;
use crate::client::{Client, Target};
use crate::io::{self, blocking};
use crate::model::{NodeId, TopicName};
use crate::protocol::ApiKey;

/// Everything that one run of load needs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub traffic: Traffic,
    /// HOST:PORT of the broker.
    pub bootstrap: String,
    /// The addresses that lead partitions.
    pub leaders: Vec<SocketAddr>,
    /// The partitions, those of one topic in a row.
    pub places: Arc<Vec<Place>>,
    /// The versions of produce and of fetch requests.
    pub version: i16,
    pub fetch_version: i16,
    /// The requests for each leader.
    pub templates: Arc<Vec<Vec<Template>>>,
    /// One core of the client each; the connections are dealt to them in turn.
    pub cpus: Vec<Option<usize>>,
    /// How long each of them looks for answers before it sleeps.
    pub spin: Duration,
    pub warm_up: Duration,
    pub length: Duration,
    /// A directory whose file system must not run full.
    pub dir: Option<PathBuf>,
}

impl Plan {
    /// Plans traffic on partitions, from one core that is not pinned; times are the caller's.
    pub fn new(
        traffic: Traffic,
        bootstrap: &str,
        client: &mut Client,
        found: Found,
    ) -> Result<Plan, Problem> {
        let connection = client.connection(Target::Any)?;
        let version = connection.version_at_most(ApiKey::Produce, PRODUCE_VERSION_MAX)?;
        let fetch_version = connection.version_at_most(ApiKey::Fetch, FETCH_VERSION_MAX)?;
        let Found { places, leaders } = found;
        let consume = traffic.consume.as_ref();
        for (what, count) in [
            ("load", traffic.load.connections),
            ("consume", consume.map_or(0, |consume| consume.connections)),
        ] {
            if (1..leaders.len()).contains(&(count as usize)) {
                return Err(Problem::new(format!(
                    "{} addresses lead the partitions; {what}.connections = {count} are too few",
                    leaders.len()
                )));
            }
        }
        Ok(Plan {
            templates: Arc::new(templates(&traffic.load, &places, leaders.len(), version)),
            traffic,
            bootstrap: bootstrap.to_owned(),
            leaders,
            places: Arc::new(places),
            version,
            fetch_version,
            cpus: vec![None],
            spin: Duration::ZERO,
            warm_up: Duration::ZERO,
            length: Duration::ZERO,
            dir: None,
        })
    }

    /// The cores of producers, and those of consumers: others where there are several, so that no
    /// acknowledgement waits while megabytes of a fetch are read.
    pub(super) fn cores(&self) -> (Range<usize>, Range<usize>) {
        let all = self.cpus.len();
        let both = self.traffic.load.connections > 0 && self.traffic.consume.is_some();
        match both && all > 1 {
            true => (0..all.div_ceil(2), all.div_ceil(2)..all),
            false => (0..all, 0..all),
        }
    }
}

/// Partitions, and the addresses that lead them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Those of one topic in a row.
    pub places: Vec<Place>,
    pub leaders: Vec<SocketAddr>,
}

impl Found {
    /// Asks who leads the topics' partitions; of topics that are new it may take a moment.
    pub fn ask(client: &mut Client, topics: &[TopicName]) -> Result<Found, Problem> {
        let mut leaders: Vec<NodeId> = Vec::new();
        let mut places = Vec::new();
        let give_up = io::now() + Duration::from_secs(LEADER_SECONDS);
        for topic in topics {
            let name: Arc<str> = topic.as_str().into();
            let partitions = loop {
                let partitions = client.topic(topic)?.partitions;
                let leaderless = partitions.iter().find(|found| found.leader.is_none());
                match leaderless {
                    None => break partitions,
                    Some(_) if io::now() < give_up => {
                        blocking::sleep(Duration::from_millis(100));
                    }
                    Some(found) => {
                        return Err(
                            Problem::new(format!("{name}-{} has no leader", found.index))
                                .hint("its broker may be down: corelog topic describe"),
                        );
                    }
                }
            };
            for (partition, leader) in partitions
                .into_iter()
                .filter_map(|partition| Some((partition.index, partition.leader?)))
            {
                let known = leaders.iter().position(|&known| known == leader);
                let leader = known.unwrap_or_else(|| {
                    leaders.push(leader);
                    leaders.len() - 1
                });
                places.push(Place {
                    topic: Arc::clone(&name),
                    index: partition,
                    leader,
                });
            }
        }
        let leaders = leaders
            .into_iter()
            .map(|leader| resolve(&client.address(leader)?))
            .collect::<Result<Vec<_>, Problem>>()?;
        Ok(Found { places, leaders })
    }
}

/// The address of a HOST:PORT, as the load's rings take it.
pub fn resolve(address: &str) -> Result<SocketAddr, Problem> {
    let bad = || Problem::new(format!("{address:?} is no HOST:PORT"));
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(|_| bad())?;
    let found = blocking::resolve(host, port)
        .map_err(|error| Problem::lost(format!("{address}: {error}")))?;
    found.into_iter().next().ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        let check = |text: &str, expected: Option<&str>| {
            let got = resolve(text).ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        };
        check("127.0.0.1:9092", Some("127.0.0.1:9092"));
        check("[::1]:9092", Some("[::1]:9092"));
        check("127.0.0.1", None);
        check("127.0.0.1:70000", None);
    }
}
