//! Incremental fetch sessions (KIP-227): what a client fetches is remembered, so that requests
//! and responses carry changes only.
//!
//! Pure. One cache a core; a client that reconnects to another core is told that its session is
//! unknown and starts a new one, which the protocol provides for. A crash loses all sessions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::{LeaderEpoch, Offset, TopicId};

/// How a request names a topic: by name before version 13, by id since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicKey {
    Name(String),
    Id(TopicId),
}

/// A partition as a session knows it.
pub(super) type PartitionKey = (TopicKey, i32);

/// What a client wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) fetch_offset: Offset,
    pub(super) max_bytes: i32,
    pub(super) current_leader_epoch: Option<LeaderEpoch>,
    pub(super) last_fetched_epoch: Option<LeaderEpoch>,
}

/// What the client was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) high_watermark: Offset,
    pub(super) log_start_offset: Offset,
}

#[derive(Debug)]
struct Member {
    wanted: Wanted,
    told: Option<Told>,
}

/// One client's session.
#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    partitions: HashMap<PartitionKey, Member>,
    /// The order in which partitions are read; those that gave data go to the end, so that none
    /// starves.
    order: Vec<PartitionKey>,
    last_used: u64,
}

/// What a request asks of the cache.
#[derive(Debug)]
pub(super) struct SessionRequest {
    pub(super) session_id: i32,
    pub(super) epoch: i32,
    pub(super) uses_topic_ids: bool,
    pub(super) partitions: Vec<(PartitionKey, Wanted)>,
    pub(super) forgotten: Vec<PartitionKey>,
}

/// What to read, and how to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: PlanKind,
    pub(super) partitions: Vec<(PartitionKey, Wanted)>,
}

/// How the answer relates to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlanKind {
    /// No session: everything is answered, session id 0.
    Sessionless,
    /// A full fetch that starts a session if there is room.
    Full,
    /// Only changes are answered, under this id.
    Incremental(i32),
}

/// Why a request does not fit its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND.
    UnknownId,
    /// INVALID_FETCH_SESSION_EPOCH.
    WrongEpoch,
    /// FETCH_SESSION_TOPIC_ID_ERROR: the session was made with names and the request has ids, or
    /// the other way round.
    TopicIdMix,
}

/// The epoch of a full fetch that wants a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a fetch that wants none, and closes the one that it names.
const FINAL_EPOCH: i32 = -1;

/// The sessions of one core.
#[derive(Debug)]
pub(super) struct SessionCache {
    sessions: HashMap<i32, Session>,
    sessions_max: usize,
    uses: u64,
}

impl SessionCache {
    pub(super) fn new(sessions_max: usize) -> SessionCache {
        SessionCache {
            sessions: HashMap::new(),
            sessions_max,
            uses: 0,
        }
    }

    /// Decides what a request reads.
    pub(super) fn plan(&mut self, request: SessionRequest) -> Result<Plan, SessionError> {
        let SessionRequest {
            session_id,
            epoch,
            uses_topic_ids,
            partitions,
            forgotten,
        } = request;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if session_id != 0 {
                self.sessions.remove(&session_id);
            }
            let kind = match epoch {
                INITIAL_EPOCH => PlanKind::Full,
                _ => PlanKind::Sessionless,
            };
            return Ok(Plan { kind, partitions });
        }
        self.uses += 1;
        let session = self
            .sessions
            .get_mut(&session_id)
            .ok_or(SessionError::UnknownId)?;
        if session.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIdMix);
        }
        if session.epoch != epoch {
            return Err(SessionError::WrongEpoch);
        }
        session.epoch = next_epoch(epoch);
        session.last_used = self.uses;
        for (key, wanted) in partitions {
            match session.partitions.entry(key) {
                Entry::Occupied(mut member) => member.get_mut().wanted = wanted,
                Entry::Vacant(vacant) => {
                    session.order.push(vacant.key().clone());
                    vacant.insert(Member { wanted, told: None });
                }
            }
        }
        for key in &forgotten {
            if session.partitions.remove(key).is_some() {
                session.order.retain(|other| other != key);
            }
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&session_id);
            return Ok(Plan {
                kind: PlanKind::Sessionless,
                partitions: Vec::new(),
            });
        }
        let members = &session.partitions;
        let partitions = session
            .order
            .iter()
            .map(|key| (key.clone(), members[key].wanted))
            .collect();
        Ok(Plan {
            kind: PlanKind::Incremental(session_id),
            partitions,
        })
    }

    /// Starts a session for a full fetch that was just answered. `candidate` gives random ids.
    /// Returns 0 when there is no room, which tells the client to go on without.
    pub(super) fn start(
        &mut self,
        uses_topic_ids: bool,
        answered: Vec<(PartitionKey, Wanted, Option<Told>)>,
        mut candidate: impl FnMut() -> i32,
    ) -> i32 {
        if self.sessions_max == 0 {
            return 0;
        }
        if self.sessions.len() >= self.sessions_max {
            let oldest = self
                .sessions
                .iter()
                .min_by_key(|(_, session)| session.last_used);
            let oldest = *oldest.expect("a full cache has a session").0;
            self.sessions.remove(&oldest);
        }
        let id = loop {
            let id = candidate() & i32::MAX;
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.uses += 1;
        let order = answered.iter().map(|(key, _, _)| key.clone()).collect();
        let partitions = answered
            .into_iter()
            .map(|(key, wanted, told)| (key, Member { wanted, told }))
            .collect();
        let session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            partitions,
            order,
            last_used: self.uses,
        };
        self.sessions.insert(id, session);
        id
    }

    /// Whether a partition belongs into an incremental answer; remembers that it was told.
    /// `told` is `None` for an error, which is always told.
    pub(super) fn must_tell(
        &mut self,
        session_id: i32,
        key: &PartitionKey,
        told: Option<Told>,
        has_data: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return true;
        };
        let Some(member) = session.partitions.get_mut(key) else {
            return true;
        };
        let changed = has_data || told.is_none() || member.told != told;
        member.told = told;
        if has_data && let Some(at) = session.order.iter().position(|other| other == key) {
            let key = session.order.remove(at);
            session.order.push(key);
        }
        changed
    }
}

/// The epoch of a session's next request; after the largest comes 1.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PartitionKey {
        (TopicKey::Name(name.into()), 0)
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            fetch_offset: Offset(offset),
            max_bytes: 1000,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        }
    }

    fn told(high_watermark: i64) -> Option<Told> {
        Some(Told {
            high_watermark: Offset(high_watermark),
            log_start_offset: Offset(0),
        })
    }

    fn request(session_id: i32, epoch: i32, partitions: &[(&str, i64)]) -> SessionRequest {
        SessionRequest {
            session_id,
            epoch,
            uses_topic_ids: false,
            partitions: partitions
                .iter()
                .map(|(name, at)| (key(name), wanted(*at)))
                .collect(),
            forgotten: Vec::new(),
        }
    }

    /// A cache with one session, id 7, of the partitions a and b, both told a watermark of 5.
    fn started() -> SessionCache {
        let mut cache = SessionCache::new(2);
        let answered = vec![
            (key("a"), wanted(0), told(5)),
            (key("b"), wanted(0), told(5)),
        ];
        assert_eq!(cache.start(false, answered, || 7), 7);
        cache
    }

    fn names(plan: &Plan) -> Vec<String> {
        let name = |(key, _): &(PartitionKey, Wanted)| match &key.0 {
            TopicKey::Name(name) => name.clone(),
            TopicKey::Id(id) => id.to_string(),
        };
        plan.partitions.iter().map(name).collect()
    }

    #[test]
    fn an_incremental_fetch_reads_what_the_session_holds() {
        let mut cache = started();
        let plan = cache.plan(request(7, 1, &[("c", 0), ("a", 3)])).unwrap();
        assert_eq!(plan.kind, PlanKind::Incremental(7));
        assert_eq!(names(&plan), ["a", "b", "c"]);
        assert_eq!(plan.partitions[0].1.fetch_offset, Offset(3));
        let forget = SessionRequest {
            forgotten: vec![key("b")],
            ..request(7, 2, &[])
        };
        assert_eq!(names(&cache.plan(forget).unwrap()), ["a", "c"]);
    }

    #[test]
    fn epochs_and_ids_must_fit() {
        let mut cache = started();
        assert_eq!(cache.plan(request(8, 1, &[])), Err(SessionError::UnknownId));
        assert_eq!(
            cache.plan(request(7, 2, &[])),
            Err(SessionError::WrongEpoch)
        );
        let mixed = SessionRequest {
            uses_topic_ids: true,
            ..request(7, 1, &[])
        };
        assert_eq!(cache.plan(mixed), Err(SessionError::TopicIdMix));
        assert!(cache.plan(request(7, 1, &[])).is_ok());
        let closed = cache.plan(request(7, FINAL_EPOCH, &[("a", 0)])).unwrap();
        assert_eq!(closed.kind, PlanKind::Sessionless);
        assert_eq!(cache.plan(request(7, 2, &[])), Err(SessionError::UnknownId));
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn only_changes_are_told_and_data_goes_to_the_end() {
        let mut cache = started();
        assert!(!cache.must_tell(7, &key("a"), told(5), false));
        assert!(cache.must_tell(7, &key("a"), told(6), false));
        assert!(!cache.must_tell(7, &key("a"), told(6), false));
        assert!(cache.must_tell(7, &key("a"), told(6), true));
        assert!(cache.must_tell(7, &key("a"), None, false));
        let plan = cache.plan(request(7, 1, &[])).unwrap();
        assert_eq!(names(&plan), ["b", "a"]);
    }

    #[test]
    fn the_session_longest_unused_gives_way() {
        let mut cache = started();
        cache.start(false, Vec::new(), || 8);
        cache.plan(request(7, 1, &[])).unwrap();
        cache.start(false, Vec::new(), || 9);
        assert_eq!(cache.plan(request(8, 1, &[])), Err(SessionError::UnknownId));
        assert!(cache.plan(request(7, 2, &[])).is_ok());
        assert_eq!(SessionCache::new(0).start(false, Vec::new(), || 1), 0);
    }
}
