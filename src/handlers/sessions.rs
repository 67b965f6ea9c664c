//! Incremental fetch sessions (KIP-227): what a client fetches is remembered, so that requests
//! and responses carry changes only.
//!
//! Pure. One cache a core; a client that reconnects to another core is told that its session is
//! unknown and starts a new one, which the protocol provides for. A crash loses all sessions.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::io::Instant;
use crate::limits::{
    FETCH_SESSION_IDLE_MS, FETCH_SESSION_PARTITIONS_MAX, FETCH_SESSIONS_PER_CORE_MIN,
};
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
    /// Its place in the order.
    turn: u64,
}

/// One client's session.
#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    partitions: HashMap<PartitionKey, Member>,
    /// The order in which partitions are read, by turn; those that gave data go to the end, so
    /// that none starves.
    order: BTreeMap<u64, PartitionKey>,
    /// The turn of the next partition that goes to the end.
    next_turn: u64,
    /// Its place in the cache's order of use.
    use_count: u64,
    last_used: Instant,
}

impl Session {
    /// Adds a partition at the end, or takes what is now wanted of one that is there.
    fn want(&mut self, key: PartitionKey, wanted: Wanted, told: Option<Told>) {
        match self.partitions.entry(key) {
            Entry::Occupied(mut member) => member.get_mut().wanted = wanted,
            Entry::Vacant(vacant) => {
                let turn = self.next_turn;
                self.next_turn += 1;
                self.order.insert(turn, vacant.key().clone());
                vacant.insert(Member { wanted, told, turn });
            }
        }
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(member) = self.partitions.remove(key) {
            self.order.remove(&member.turn);
        }
    }
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
    /// The ids in the order of their sessions' last use.
    by_use: BTreeMap<u64, i32>,
    next_use: u64,
}

impl SessionCache {
    pub(super) fn new(sessions_max: usize) -> SessionCache {
        SessionCache {
            sessions: HashMap::new(),
            sessions_max,
            by_use: BTreeMap::new(),
            next_use: 0,
        }
    }

    fn remove(&mut self, session_id: i32) {
        if let Some(session) = self.sessions.remove(&session_id) {
            self.by_use.remove(&session.use_count);
        }
    }

    /// Whether there is room for one more session. Only one that nobody used for a while gives
    /// way, as in Kafka: among more clients than there are slots, those that come too late go on
    /// without, where taking turns would make every fetch of all of them a full one.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() < self.sessions_max {
            return true;
        }
        let Some((_, id)) = self.by_use.first_key_value() else {
            return false;
        };
        let id = *id;
        let idle = now - self.sessions[&id].last_used;
        let is_stale = idle > Duration::from_millis(FETCH_SESSION_IDLE_MS);
        if is_stale {
            self.remove(id);
        }
        is_stale
    }

    /// Decides what a request reads.
    pub(super) fn plan(
        &mut self,
        now: Instant,
        request: SessionRequest,
    ) -> Result<Plan, SessionError> {
        let SessionRequest {
            session_id,
            epoch,
            uses_topic_ids,
            partitions,
            forgotten,
        } = request;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if session_id != 0 {
                self.remove(session_id);
            }
            let kind = match epoch {
                INITIAL_EPOCH => PlanKind::Full,
                _ => PlanKind::Sessionless,
            };
            return Ok(Plan { kind, partitions });
        }
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
        session.last_used = now;
        self.by_use.remove(&session.use_count);
        session.use_count = self.next_use;
        self.by_use.insert(self.next_use, session_id);
        self.next_use += 1;
        for (key, wanted) in partitions {
            session.want(key, wanted, None);
        }
        for key in &forgotten {
            session.forget(key);
        }
        if session.partitions.len() > FETCH_SESSION_PARTITIONS_MAX {
            // The client begins again with a full fetch, which starts no session if it is as large.
            self.remove(session_id);
            return Err(SessionError::UnknownId);
        }
        if session.partitions.is_empty() {
            self.remove(session_id);
            return Ok(Plan {
                kind: PlanKind::Sessionless,
                partitions: Vec::new(),
            });
        }
        let members = &session.partitions;
        let partitions = session
            .order
            .values()
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
        now: Instant,
        uses_topic_ids: bool,
        answered: Vec<(PartitionKey, Wanted, Option<Told>)>,
        mut candidate: impl FnMut() -> i32,
    ) -> i32 {
        if answered.len() > FETCH_SESSION_PARTITIONS_MAX || !self.make_room(now) {
            return 0;
        }
        let id = loop {
            let id = candidate() & i32::MAX;
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            partitions: HashMap::with_capacity(answered.len()),
            order: BTreeMap::new(),
            next_turn: 0,
            use_count: self.next_use,
            last_used: now,
        };
        for (key, wanted, told) in answered {
            session.want(key, wanted, told);
        }
        self.by_use.insert(self.next_use, id);
        self.next_use += 1;
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
        if has_data && let Some(key) = session.order.remove(&member.turn) {
            member.turn = session.next_turn;
            session.next_turn += 1;
            session.order.insert(member.turn, key);
        }
        changed
    }
}

/// The sessions that one of `cores_count` cores keeps of the node's. A client stays on the core of
/// its connection, and cores do not know of each other's sessions; so that one where many clients
/// meet does not go without while others have room, none has less than Kafka gives to a shard of
/// its cache.
pub(super) fn sessions_max(slots_max: i32, cores_count: usize) -> usize {
    let slots_max = usize::try_from(slots_max).unwrap_or(0);
    let share = slots_max.div_ceil(cores_count);
    share.max(FETCH_SESSIONS_PER_CORE_MIN).min(slots_max)
}

/// The epoch of a session's next request; after the largest comes 1.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

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
        assert_eq!(cache.start(at(0), false, answered, || 7), 7);
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
        let plan = cache
            .plan(at(0), request(7, 1, &[("c", 0), ("a", 3)]))
            .unwrap();
        assert_eq!(plan.kind, PlanKind::Incremental(7));
        assert_eq!(names(&plan), ["a", "b", "c"]);
        assert_eq!(plan.partitions[0].1.fetch_offset, Offset(3));
        let forget = SessionRequest {
            forgotten: vec![key("b")],
            ..request(7, 2, &[])
        };
        assert_eq!(names(&cache.plan(at(0), forget).unwrap()), ["a", "c"]);
    }

    #[test]
    fn a_session_does_not_grow_without_end() {
        let mut cache = started();
        let mut large = request(7, 1, &[]);
        let name = TopicKey::Name("many".into());
        let many = 0..FETCH_SESSION_PARTITIONS_MAX as i32;
        large.partitions = many.map(|n| ((name.clone(), n), wanted(0))).collect();
        assert_eq!(cache.plan(at(0), large), Err(SessionError::UnknownId));
        let again = cache.plan(at(0), request(7, 2, &[]));
        assert_eq!(again, Err(SessionError::UnknownId));
    }

    #[test]
    fn epochs_and_ids_must_fit() {
        let mut cache = started();
        assert_eq!(
            cache.plan(at(0), request(8, 1, &[])),
            Err(SessionError::UnknownId)
        );
        assert_eq!(
            cache.plan(at(0), request(7, 2, &[])),
            Err(SessionError::WrongEpoch)
        );
        let mixed = SessionRequest {
            uses_topic_ids: true,
            ..request(7, 1, &[])
        };
        assert_eq!(cache.plan(at(0), mixed), Err(SessionError::TopicIdMix));
        assert!(cache.plan(at(0), request(7, 1, &[])).is_ok());
        let closed = cache
            .plan(at(0), request(7, FINAL_EPOCH, &[("a", 0)]))
            .unwrap();
        assert_eq!(closed.kind, PlanKind::Sessionless);
        assert_eq!(
            cache.plan(at(0), request(7, 2, &[])),
            Err(SessionError::UnknownId)
        );
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
        let plan = cache.plan(at(0), request(7, 1, &[])).unwrap();
        assert_eq!(names(&plan), ["b", "a"]);
    }

    #[test]
    fn only_an_idle_session_gives_way() {
        let mut cache = started();
        assert_eq!(cache.start(at(10), false, one(), || 8), 8);
        cache.plan(at(100), request(7, 1, &[])).unwrap();
        // Both are in use: whoever comes now goes on without a session.
        assert_eq!(cache.start(at(130), false, one(), || 9), 0);
        assert!(cache.plan(at(130), request(8, 1, &[])).is_ok());
        assert_eq!(cache.start(at(220), false, one(), || 9), 0);
        // The one that was not used for two minutes is the first, whichever is older.
        assert_eq!(cache.start(at(221), false, one(), || 9), 9);
        let gone = cache.plan(at(221), request(7, 2, &[]));
        assert_eq!(gone, Err(SessionError::UnknownId));
        assert!(cache.plan(at(221), request(8, 2, &[])).is_ok());
        // One that was closed leaves its place.
        cache.plan(at(222), request(8, FINAL_EPOCH, &[])).unwrap();
        assert_eq!(cache.start(at(222), false, one(), || 10), 10);
        assert_eq!(cache.by_use.len(), cache.sessions.len());
        let mut none = SessionCache::new(0);
        assert_eq!(none.start(at(0), false, one(), || 1), 0);
    }

    #[test]
    fn a_core_keeps_its_share_of_the_slots_or_enough() {
        let check = |slots: i32, cores: usize, expected: usize| {
            assert_eq!(sessions_max(slots, cores), expected, "{slots} {cores}");
        };
        check(1000, 1, 1000);
        check(1000, 4, 250);
        check(1000, 64, 128);
        check(10_000, 64, 157);
        check(5, 4, 5);
        check(0, 4, 0);
    }

    #[test]
    fn many_partitions_are_no_quadratic_work() {
        let many = |count: i32| (0..count).map(|index| (TopicKey::Name("t".into()), index));
        let mut cache = SessionCache::new(1);
        let answered = many(50_000).map(|key| (key, wanted(0), told(0))).collect();
        assert_eq!(cache.start(at(0), false, answered, || 7), 7);
        for key in many(49_999) {
            assert!(cache.must_tell(7, &key, told(1), true));
        }
        let plan = cache.plan(at(0), request(7, 1, &[])).unwrap();
        let first: Vec<i32> = plan.partitions.iter().map(|one| one.0.1).take(3).collect();
        assert_eq!(first, [49_999, 0, 1]);
        let forget = SessionRequest {
            forgotten: many(49_999).collect(),
            ..request(7, 2, &[])
        };
        let left = cache.plan(at(0), forget).unwrap().partitions;
        assert_eq!(left.len(), 1);
    }

    fn one() -> Vec<(PartitionKey, Wanted, Option<Told>)> {
        vec![(key("a"), wanted(0), told(5))]
    }
}
