//! Random clients, random time, random ends of appends, random crashes; the same for each seed.
//!
//! What must hold whatever happens: every request is answered once (the world asserts it) and
//! none is forgotten; a group's generations only grow; the members of a generation agree on its
//! leader and protocol; an assignment is the one that the leader of that generation gave; and a
//! replay of the log shows what was shown before.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{World, commit_request, config, join_request};
use crate::coordinator::*;

/// Runs; `CORELOG_FUZZ_ROUNDS` sets more.
const SEEDS: u64 = 400;
const STEPS: usize = 400;
const GROUPS: [&str; 2] = ["one", "two"];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

#[derive(Default)]
struct Client {
    group: &'static str,
    instance: Option<String>,
    id: String,
    generation: i32,
    leads: Vec<String>,
    synced: bool,
    /// The request that waits, and what it asked.
    waiting: Option<(Token, &'static str)>,
}

/// What is known of a generation from the answers to its members.
#[derive(Default)]
struct Generation {
    leader: String,
    protocol: Option<String>,
    joined: BTreeSet<String>,
    /// The assignments that its leader has sent, the last one last.
    given: Vec<u64>,
}

struct Run {
    world: World,
    chance: Chance,
    clients: Vec<Client>,
    /// By group, since its last crash or deletion.
    generations: BTreeMap<(&'static str, i32), Generation>,
    newest: BTreeMap<&'static str, i32>,
    assignments_made: u64,
    /// Assignments up to this one are of generations that are not known any more.
    forgotten: u64,
    joins_done: usize,
    syncs_done: usize,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut config = config();
        config.groups.max_size = 5;
        config.offsets.retention_minutes = 10;
        let mut world = World::with(config);
        world.durable_at_once = false;
        let clients = (0..8).map(|index| Client {
            group: GROUPS[index % 2],
            instance: (index % 4 == 3).then(|| format!("instance-{}", index % 3)),
            ..Client::default()
        });
        Run {
            world,
            chance: Chance(seed),
            clients: clients.collect(),
            generations: BTreeMap::new(),
            newest: BTreeMap::new(),
            assignments_made: 0,
            forgotten: 0,
            joins_done: 0,
            syncs_done: 0,
        }
    }

    fn step(&mut self) {
        match self.chance.below(40) {
            0..=27 => {
                let index = self.chance.below(self.clients.len());
                self.act(index);
            }
            28..=32 => {
                let ms = [1, 700, 3000, 9000, 61_000][self.chance.below(5)];
                self.world.pass(ms);
            }
            33..=37 => {
                let count = self.world.in_flight_count();
                if count > 0 {
                    let place = self.chance.below(count);
                    self.world.settle(place);
                }
            }
            38 if self.chance.one_in(4) => self.crash(),
            38 => self.world.settle_all(),
            _ => self.administrate(),
        }
        self.collect();
        self.observe();
    }

    /// Looks at the groups themselves.
    fn observe(&mut self) {
        for name in GROUPS {
            let Some(group) = self.world.coordinator.groups.get(name) else {
                // It has ended, by deletion or retention: a new one starts over.
                self.forget(name);
                continue;
            };
            group.check_invariants();
            let generation = group.generation;
            let before = self.newest.get(name).copied().unwrap_or(0);
            if generation < before {
                let is_new = generation == 0 && group.state() == GroupState::Empty;
                assert!(is_new, "{name}: generation {generation} after {before}");
                self.forget(name);
            }
            self.newest.insert(name, generation);
        }
    }

    fn act(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.waiting.is_some() {
            // A client that lost its connection asks again; the old answer goes nowhere.
            if !self.chance.one_in(12) {
                return;
            }
        }
        let client = &self.clients[index];
        let (group, id) = (client.group, client.id.clone());
        let asked = if client.generation == 0 || self.chance.one_in(6) {
            (self.join(index), "join")
        } else if !client.synced {
            (self.sync(index), "sync")
        } else if self.chance.one_in(12) {
            let member = LeavingMember {
                member_id: id,
                group_instance_id: client.instance.clone(),
            };
            let group_id = group.to_owned();
            let members = vec![member];
            (
                self.world
                    .ask(Request::Leave(LeaveRequest { group_id, members })),
                "leave",
            )
        } else if self.chance.one_in(2) {
            let offset = self.chance.below(1000) as i64;
            let partition = self.chance.below(3) as i32;
            let mut request =
                commit_request(group, &id, client.generation, "t", &[(partition, offset)]);
            request.group_instance_id = client.instance.clone();
            (self.world.ask(Request::Commit(request)), "commit")
        } else {
            let request = HeartbeatRequest {
                group_id: group.to_owned(),
                generation: client.generation,
                member_id: id,
                group_instance_id: client.instance.clone(),
            };
            (self.world.ask(Request::Heartbeat(request)), "heartbeat")
        };
        self.clients[index].waiting = Some(asked);
    }

    fn join(&mut self, index: usize) -> Token {
        let client = &self.clients[index];
        let mut request = join_request(client.group, &client.id);
        request.group_instance_id = client.instance.clone();
        request.fresh_uuid = u128::from(self.chance.next()).to_le_bytes();
        request.requires_known_member_id = !index.is_multiple_of(3);
        request.supports_skip_assignment = index.is_multiple_of(2);
        for name in ["sticky", "range"] {
            if self.chance.one_in(4) {
                let metadata = bytes::Bytes::from(name);
                request.protocols.insert(0, (name.to_owned(), metadata));
            }
        }
        self.world.ask(Request::Join(request))
    }

    fn sync(&mut self, index: usize) -> Token {
        let client = &self.clients[index];
        let mut assignments = Vec::new();
        if !client.leads.is_empty() {
            self.assignments_made += 1;
            let number = self.assignments_made;
            let key = (client.group, client.generation);
            self.generations.entry(key).or_default().given.push(number);
            for member in &client.leads {
                let bytes = format!("{number} {member}");
                assignments.push((member.clone(), bytes::Bytes::from(bytes)));
            }
        }
        self.world.ask(Request::Sync(SyncRequest {
            group_id: client.group.to_owned(),
            generation: client.generation,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: None,
            assignments,
        }))
    }

    fn administrate(&mut self) {
        let group = GROUPS[self.chance.below(2)];
        match self.chance.below(4) {
            0 => {
                let request = commit_request(group, "", -1, "admin", &[(0, 1)]);
                self.world.ask(Request::Commit(request));
            }
            1 => {
                let topics = vec![("t".to_owned(), vec![0, 1])];
                let group_id = group.to_owned();
                let request = DeleteOffsetsRequest { group_id, topics };
                self.world.ask(Request::DeleteOffsets(request));
            }
            2 => {
                let group_id = group.to_owned();
                self.world
                    .ask(Request::DeleteGroup(DeleteGroupRequest { group_id }));
                self.forget(group);
            }
            _ => self.world.tell(Event::TopicDeleted {
                topic: "t".to_owned(),
            }),
        }
    }

    fn crash(&mut self) {
        self.world.restart();
        for group in GROUPS {
            self.forget(group);
        }
        for client in &mut self.clients {
            client.waiting = None;
        }
    }

    /// Generations may start lower again.
    fn forget(&mut self, group: &'static str) {
        self.newest.remove(group);
        self.forgotten = self.assignments_made;
        self.generations.retain(|(known, _), _| *known != group);
    }

    fn collect(&mut self) {
        for index in 0..self.clients.len() {
            let Some((token, asked)) = self.clients[index].waiting else {
                continue;
            };
            let Some(response) = self.world.answer(token) else {
                continue;
            };
            self.clients[index].waiting = None;
            match response {
                Response::Join(response) => self.joined(index, response),
                Response::Sync(response) => self.synced(index, response),
                Response::Heartbeat(result) => self.learn(index, result.err()),
                Response::Leave(result) => {
                    assert!(result.is_ok());
                    let instance = self.clients[index].instance.clone();
                    let group = self.clients[index].group;
                    self.clients[index] = Client {
                        group,
                        instance,
                        ..Client::default()
                    };
                }
                Response::Commit(topics) => self.learn(index, topics[0].1[0].1),
                other => panic!("{asked} is answered by {other:?}"),
            }
        }
    }

    fn joined(&mut self, index: usize, response: JoinResponse) {
        if let Some(error) = response.error {
            if error == GroupError::MemberIdRequired {
                self.clients[index].id = response.member_id;
            } else {
                self.learn(index, Some(error));
            }
            return;
        }
        self.joins_done += 1;
        let client = &mut self.clients[index];
        let group = client.group;
        let key = (group, response.generation);
        let known = self.generations.entry(key).or_default();
        let is_leader = response.leader == response.member_id;
        if known.joined.is_empty() {
            known.protocol = response.protocol_name.clone();
        }
        assert_eq!(
            known.protocol, response.protocol_name,
            "one protocol a generation"
        );
        if is_leader {
            assert!(!response.members.is_empty(), "a leader is told the members");
            if known.leader.is_empty() {
                known.leader = response.leader.clone();
            }
            let is_instance = client.instance.is_some();
            assert!(
                is_instance || known.leader == response.leader,
                "one leader a generation"
            );
            let ids: BTreeSet<&String> = response
                .members
                .iter()
                .map(|member| &member.member_id)
                .collect();
            assert_eq!(ids.len(), response.members.len(), "each member once");
            assert!(ids.contains(&response.member_id));
        } else {
            assert!(response.members.is_empty(), "the leader alone is told");
        }
        known.joined.insert(response.member_id.clone());
        client.leads = if is_leader && !response.skip_assignment {
            response
                .members
                .into_iter()
                .map(|member| member.member_id)
                .collect()
        } else {
            Vec::new()
        };
        client.id = response.member_id;
        client.generation = response.generation;
        client.synced = false;
    }

    fn synced(&mut self, index: usize, response: SyncResponse) {
        if response.error.is_some() {
            self.learn(index, response.error);
            return;
        }
        self.syncs_done += 1;
        let client = &mut self.clients[index];
        client.synced = true;
        let Ok(text) = std::str::from_utf8(&response.assignment) else {
            panic!("an assignment of ours");
        };
        // Empty where the leader did not know the member, as a static one's new id.
        if let Some((number, member)) = text.split_once(' ') {
            let number: u64 = number.parse().expect("an assignment of ours");
            assert!(number <= self.assignments_made);
            assert!(
                client.instance.is_some() || member == client.id,
                "its own assignment"
            );
            let key = (client.group, client.generation);
            // What was given before a crash may be stored, and is given again after it.
            let given = self
                .generations
                .get(&key)
                .is_some_and(|one| one.given.contains(&number));
            assert!(
                given || number <= self.forgotten,
                "given by the generation's leader"
            );
        }
    }

    fn learn(&mut self, index: usize, error: Option<GroupError>) {
        let client = &mut self.clients[index];
        match error {
            None => {}
            Some(
                GroupError::UnknownMember
                | GroupError::FencedInstance
                | GroupError::GroupMaxSize
                | GroupError::InconsistentProtocol,
            ) => {
                client.id.clear();
                client.generation = 0;
            }
            Some(GroupError::IllegalGeneration | GroupError::RebalanceInProgress) => {
                client.generation = 0;
            }
            Some(other) => panic!("{other:?} is no answer here"),
        }
    }

    /// What tools and consumers are shown.
    fn shown(&mut self) -> Vec<(Vec<String>, Option<DescribedGroup>)> {
        let each = GROUPS.map(|group| {
            let offsets = self.world.offsets(group);
            let described = self.world.describe(group).ok();
            let settled = described.filter(|group| group.state == GroupState::Stable);
            (offsets, settled)
        });
        each.into()
    }

    fn finish(mut self) -> (usize, usize) {
        self.world.settle_all();
        let before = self.shown();
        self.world.restart();
        let after = self.shown();
        for ((offsets, group), (offsets_after, group_after)) in before.iter().zip(&after) {
            assert_eq!(offsets, offsets_after);
            if group.is_some() {
                assert_eq!(group, group_after);
            }
        }
        for index in 0..self.clients.len() {
            let token = self.join(index);
            self.clients[index].waiting = Some((token, "join"));
        }
        self.world.tell(Event::Unload);
        assert_eq!(self.world.waiting(), [""; 0], "nobody is forgotten");
        (self.joins_done, self.syncs_done)
    }
}

#[test]
fn whatever_the_order_everyone_is_answered_and_generations_agree() {
    let (mut joins, mut syncs) = (0, 0);
    let seeds = std::env::var("CORELOG_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds: u64 = seeds.unwrap_or(SEEDS);
    for seed in 0..seeds {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        let (joined, synced) = run.finish();
        joins += joined;
        syncs += synced;
    }
    // The test would be worth little if its clients rarely got into a group.
    assert!(joins > seeds as usize * 10, "{joins} joins");
    assert!(syncs > seeds as usize * 5, "{syncs} syncs");
}
