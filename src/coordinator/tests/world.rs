//! A coordinator with the world around it: a clock, a log, and clients that wait for answers.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::config::{GroupConfig, OffsetsConfig};
use crate::coordinator::*;
use crate::model::{Offset, Timestamp};

/// The wall clock when the monotonic one shows 0.
pub(super) const WALL_MS: i64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) coordinator: Coordinator,
    config: CoordinatorConfig,
    pub(super) clock_ms: i64,
    wake_ms: Option<i64>,
    /// How often the coordinator was told the time.
    pub(super) timers_count: usize,
    next_token: u64,
    members_made: u8,
    waiting: BTreeMap<Token, &'static str>,
    replies: BTreeMap<Token, Response>,
    /// The records of the partition from `log_start` on.
    pub(super) log: VecDeque<OffsetsRecord>,
    pub(super) log_start: i64,
    in_flight: VecDeque<(Ticket, i64)>,
    /// Whether appends become durable at once.
    pub(super) durable_at_once: bool,
    /// The largest log that was seen.
    pub(super) log_length_max: usize,
    /// The longest append that was seen, in bytes of keys and values.
    pub(super) append_bytes_max: usize,
}

pub(super) fn config() -> CoordinatorConfig {
    CoordinatorConfig {
        groups: GroupConfig {
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3000,
            max_size: i32::MAX,
        },
        offsets: OffsetsConfig {
            topic_num_partitions: 50,
            topic_replication_factor: 1,
            topic_segment_bytes: 100 << 20,
            retention_minutes: 10_080,
            retention_check_interval_ms: 600_000,
            metadata_max_bytes: 4096,
            commit_timeout_ms: 5000,
        },
    }
}

impl World {
    pub(super) fn new() -> World {
        World::with(config())
    }

    pub(super) fn with(config: CoordinatorConfig) -> World {
        let mut world = World {
            coordinator: Coordinator::new(config.clone()),
            config,
            clock_ms: 0,
            wake_ms: None,
            timers_count: 0,
            next_token: 0,
            members_made: 0,
            waiting: BTreeMap::new(),
            replies: BTreeMap::new(),
            log: VecDeque::new(),
            log_start: 0,
            in_flight: VecDeque::new(),
            durable_at_once: true,
            log_length_max: 0,
            append_bytes_max: 0,
        };
        world.loaded();
        world
    }

    /// A number that no member id has had.
    pub(super) fn next_member(&mut self) -> u8 {
        self.members_made += 1;
        self.members_made
    }

    pub(super) fn now(&self) -> Now {
        Now {
            clock_ms: self.clock_ms,
            wall: Timestamp(WALL_MS + self.clock_ms),
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        let effects = self.coordinator.handle(self.now(), event);
        for effect in effects {
            match effect {
                Effect::Append { ticket, records } => {
                    assert!(!records.is_empty());
                    let of = |one: &OffsetsRecord| {
                        one.key.len() + one.value.as_ref().map_or(0, Bytes::len)
                    };
                    let bytes = records.iter().map(of).sum();
                    self.append_bytes_max = self.append_bytes_max.max(bytes);
                    self.in_flight.push_back((ticket, self.log_end()));
                    self.log.extend(records);
                    self.log_length_max = self.log_length_max.max(self.log.len());
                }
                Effect::Reply { token, response } => {
                    assert!(
                        self.waiting.remove(&token).is_some(),
                        "{token:?} is answered once"
                    );
                    self.replies.insert(token, response);
                }
                Effect::Wake { at_ms } => self.wake_ms = Some(at_ms),
                Effect::AdvanceLogStart { to } => {
                    assert!(to.0 >= self.log_start && to.0 <= self.log_end());
                    self.log.drain(..(to.0 - self.log_start) as usize);
                    self.log_start = to.0;
                }
            }
        }
        if self.durable_at_once {
            self.settle_all();
        }
    }

    pub(super) fn log_end(&self) -> i64 {
        self.log_start + self.log.len() as i64
    }

    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// The append at this place of the queue becomes durable; the news may come out of order.
    pub(super) fn settle(&mut self, place: usize) {
        if let Some((ticket, base)) = self.in_flight.remove(place) {
            let base_offset = Offset(base);
            self.tell(Event::Appended {
                ticket,
                base_offset,
            });
        }
    }

    pub(super) fn settle_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.settle(0);
        }
    }

    /// The oldest append fails: its records never come to the log.
    pub(super) fn fail(&mut self) {
        let (ticket, base) = self.in_flight.pop_front().expect("an append in flight");
        let end = self.in_flight.front().map_or(self.log_end(), |next| next.1);
        let place = |offset: i64| (offset - self.log_start) as usize;
        self.log.drain(place(base)..place(end));
        for (_, later) in &mut self.in_flight {
            *later -= end - base;
        }
        self.tell(Event::AppendFailed { ticket });
    }

    pub(super) fn fail_all(&mut self) {
        while let Some((ticket, _)) = self.in_flight.pop_front() {
            self.tell(Event::AppendFailed { ticket });
        }
    }

    /// Lets time pass, waking the coordinator whenever it asked for it.
    pub(super) fn pass(&mut self, ms: i64) {
        let end = self.clock_ms + ms;
        while let Some(at_ms) = self.wake_ms.filter(|at_ms| *at_ms <= end) {
            self.clock_ms = self.clock_ms.max(at_ms);
            self.wake_ms = None;
            self.timers_count += 1;
            self.tell(Event::Timer);
        }
        self.clock_ms = end;
    }

    pub(super) fn ask(&mut self, request: Request) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        let name = match &request {
            Request::Join(_) => "join",
            Request::Sync(_) => "sync",
            Request::Heartbeat(_) => "heartbeat",
            Request::Leave(_) => "leave",
            Request::Commit(_) => "commit",
            Request::Fetch(_) => "fetch",
            Request::DeleteOffsets(_) => "delete offsets",
            Request::Describe(_) => "describe",
            Request::List(_) => "list",
            Request::DeleteGroup(_) => "delete group",
        };
        self.waiting.insert(token, name);
        self.tell(Event::Request { token, request });
        token
    }

    /// The answer that has come, if one has.
    pub(super) fn answer(&mut self, token: Token) -> Option<Response> {
        self.replies.remove(&token)
    }

    pub(super) fn waiting(&self) -> Vec<&'static str> {
        self.waiting.values().copied().collect()
    }

    /// A crash: what is not durable is lost, and a new coordinator replays the rest. Whoever
    /// waited is disconnected.
    pub(super) fn restart(&mut self) {
        if let Some((_, base)) = self.in_flight.front() {
            self.log.truncate((base - self.log_start) as usize);
        }
        self.in_flight.clear();
        self.waiting.clear();
        self.wake_ms = None;
        self.coordinator = self.replayed();
        self.loaded();
    }

    /// A coordinator that is still loading: the log comes when `replay` is called.
    pub(super) fn begin_loading(&mut self) {
        self.in_flight.clear();
        self.wake_ms = None;
        self.coordinator = Coordinator::new(self.config.clone());
    }

    /// A coordinator that has replayed the log as it is.
    pub(super) fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.config.clone());
        for place in 0..self.log.len() {
            self.replay_one(&mut coordinator, place);
        }
        coordinator
    }

    fn replay_one(&self, coordinator: &mut Coordinator, place: usize) {
        let record = &self.log[place];
        let offset = Offset(self.log_start + place as i64);
        let value = record.value.as_deref();
        coordinator
            .replay(offset, Some(&record.key), value)
            .unwrap();
    }

    /// Replays a part of the log into the coordinator, which is loading.
    pub(super) fn replay(&mut self, places: Range<usize>) {
        let mut coordinator = Coordinator::new(self.config.clone());
        std::mem::swap(&mut coordinator, &mut self.coordinator);
        for place in places {
            self.replay_one(&mut coordinator, place);
        }
        self.coordinator = coordinator;
    }

    pub(super) fn loaded(&mut self) {
        let log_start = Offset(self.log_start);
        let log_end = Offset(self.log_end());
        self.tell(Event::Loaded { log_start, log_end });
    }
}

/// A JoinGroup of a consumer that supports "range", as version 5 sends it.
pub(super) fn join_request(group_id: &str, member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
        group_instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&["t"]))],
        requires_known_member_id: true,
        supports_skip_assignment: false,
        fresh_uuid: [0; 16],
    }
}

/// The metadata of a consumer that reads the topics.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 0];
    out.extend_from_slice(&(topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
    }
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.into()
}

pub(super) fn commit_request(
    group_id: &str,
    member_id: &str,
    generation: i32,
    topic: &str,
    offsets: &[(i32, i64)],
) -> CommitRequest {
    let partitions = offsets.iter().map(|(index, offset)| CommitPartition {
        index: *index,
        offset: *offset,
        leader_epoch: 7,
        metadata: Some("note".to_owned()),
    });
    CommitRequest {
        group_id: group_id.to_owned(),
        generation,
        member_id: member_id.to_owned(),
        group_instance_id: None,
        retention_ms: None,
        reports_unknown_group: false,
        topics: vec![(topic.to_owned(), partitions.collect())],
    }
}
