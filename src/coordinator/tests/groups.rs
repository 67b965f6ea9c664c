//! Scenarios of the classic group protocol.

use bytes::Bytes;

use super::world::{World, commit_request, config, join_request, subscription};
use crate::coordinator::*;

#[test]
fn a_first_member_waits_for_company_and_leads() {
    let mut world = World::new();
    let first = world.member_id("g");
    assert!(first.starts_with("client-"));
    let token = world.join(join_request("g", &first));
    world.pass(2999);
    assert_eq!(world.answer(token), None, "the initial delay holds it");
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
    world.pass(1);
    let joined = world.joined(token);
    assert_eq!((joined.generation, joined.error), (1, None));
    assert_eq!(joined.leader, first);
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.members[0].metadata, subscription(&["t"]));
    assert_eq!(world.state("g"), GroupState::CompletingRebalance);
    world.sync_all("g", std::slice::from_ref(&first), &first, 1);
    let shown = world.describe("g").unwrap();
    assert_eq!(shown.protocol_name, "range");
    assert_eq!(shown.members[0].assignment, first.as_bytes());
    assert_eq!(shown.members[0].client_host, "/127.0.0.1");
}

#[test]
fn members_that_arrive_extend_the_first_delay() {
    let mut world = World::new();
    let (first, second) = (world.member_id("g"), world.member_id("g"));
    let early = world.join(join_request("g", &first));
    world.pass(2000);
    let late = world.join(join_request("g", &second));
    world.pass(3999);
    assert_eq!(world.answer(early), None);
    world.pass(1);
    let (early, late) = (world.joined(early), world.joined(late));
    assert_eq!((early.generation, late.generation), (1, 1));
    assert_eq!(
        early.members.len() + late.members.len(),
        2,
        "the leader alone is told"
    );
}

#[test]
fn the_first_delay_ends_with_the_rebalance_timeout() {
    let mut world = World::new();
    let mut tokens = Vec::new();
    for _ in 0..5 {
        let id = world.member_id("g");
        let mut request = join_request("g", &id);
        request.rebalance_timeout_ms = 7000;
        tokens.push(world.join(request));
        world.pass(2000);
    }
    // 3000, then 3000 more, then the 1000 that are left of 7000; the fifth came at 8000.
    let answered: Vec<bool> = tokens
        .iter()
        .map(|token| world.answer(*token).is_some())
        .collect();
    assert_eq!(answered, [true, true, true, true, false]);
}

#[test]
fn an_old_client_gets_its_id_with_the_join() {
    let mut world = World::new();
    let mut request = join_request("g", "");
    request.requires_known_member_id = false;
    let token = world.join(request);
    world.pass(3000);
    let joined = world.joined(token);
    assert_eq!(joined.error, None);
    assert_eq!(joined.leader, joined.member_id);
}

#[test]
fn joins_are_refused_as_kafka_refuses_them() {
    let mut world = World::new();
    let with = |change: fn(&mut JoinRequest)| {
        let mut request = join_request("g", "");
        change(&mut request);
        request
    };
    let refused = |world: &mut World, request, error| world.join_refused(request, error);
    refused(
        &mut world,
        with(|r| r.group_id.clear()),
        GroupError::InvalidGroupId,
    );
    let long = |r: &mut JoinRequest| r.group_id = "x".repeat(40_000);
    refused(&mut world, with(long), GroupError::InvalidGroupId);
    refused(
        &mut world,
        with(|r| r.session_timeout_ms = 5999),
        GroupError::InvalidSessionTimeout,
    );
    let session = |r: &mut JoinRequest| r.session_timeout_ms = 1_800_001;
    refused(&mut world, with(session), GroupError::InvalidSessionTimeout);
    refused(
        &mut world,
        join_request("g", "stranger"),
        GroupError::UnknownMember,
    );
    refused(
        &mut world,
        with(|r| r.protocols.clear()),
        GroupError::InconsistentProtocol,
    );
    refused(
        &mut world,
        with(|r| r.protocol_type.clear()),
        GroupError::InconsistentProtocol,
    );
    assert_eq!(
        world.describe("g"),
        Err(GroupError::GroupIdNotFound),
        "nothing is left behind"
    );

    world.stable("g", 1);
    refused(
        &mut world,
        join_request("g", "stranger"),
        GroupError::UnknownMember,
    );
    let connect = |r: &mut JoinRequest| r.protocol_type = "connect".to_owned();
    refused(&mut world, with(connect), GroupError::InconsistentProtocol);
    let roundrobin = |r: &mut JoinRequest| r.protocols[0].0 = "roundrobin".to_owned();
    refused(
        &mut world,
        with(roundrobin),
        GroupError::InconsistentProtocol,
    );
}

#[test]
fn a_second_member_starts_a_rebalance_that_the_first_learns_by_heartbeat() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    let first = ids[0].clone();
    let second = world.member_id("g");
    assert_eq!(
        world.heartbeat("g", &first, generation),
        Ok(()),
        "a given id is no member yet"
    );
    let waits = world.join(join_request("g", &second));
    let rebalancing = Err(GroupError::RebalanceInProgress);
    assert_eq!(world.heartbeat("g", &first, generation), rebalancing);
    let stale = world.sync("g", &first, generation, &[]);
    assert_eq!(
        world.synced(stale).error,
        Some(GroupError::RebalanceInProgress)
    );
    let again = world.join(join_request("g", &first));
    let (second_joined, first_joined) = (world.joined(waits), world.joined(again));
    assert_eq!(first_joined.generation, generation + 1);
    assert_eq!(second_joined.generation, generation + 1);
    assert_eq!(first_joined.leader, first, "the leader stays");
    assert_eq!(first_joined.members.len(), 2);
    world.sync_all("g", &[first.clone(), second], &first, generation + 1);
    assert_eq!(
        world.heartbeat("g", &first, generation),
        Err(GroupError::IllegalGeneration)
    );
}

#[test]
fn a_member_that_does_not_come_back_is_out_after_the_rebalance_timeout() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 2);
    let second = world.member_id("g");
    let waits = world.join(join_request("g", &second));
    let follower = world.join(join_request("g", &ids[1]));
    for _ in 0..12 {
        let _ = world.heartbeat("g", &ids[0], generation);
        world.pass(5000);
    }
    let (joined, kept) = (world.joined(waits), world.joined(follower));
    assert_eq!(joined.generation, generation + 1);
    assert_eq!(joined.leader, kept.leader);
    assert_ne!(joined.leader, ids[0], "the absent leader is replaced");
    assert_eq!(
        world.heartbeat("g", &ids[0], generation),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn a_silent_member_is_removed_and_the_group_moves_on() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 2);
    for _ in 0..3 {
        world.pass(4000);
        let _ = world.heartbeat("g", &ids[0], generation);
    }
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
    let token = world.join(join_request("g", &ids[0]));
    assert_eq!(world.joined(token).generation, generation + 1);
    world.sync_all("g", &ids[..1], &ids[0], generation + 1);
    world.pass(10_000);
    assert_eq!(world.state("g"), GroupState::Empty);
    let token = world.sync("g", &ids[0], generation + 1, &[]);
    assert_eq!(world.synced(token).error, Some(GroupError::UnknownMember));
}

#[test]
fn a_given_id_that_is_not_used_expires() {
    let mut world = World::new();
    let id = world.member_id("g");
    assert_eq!(world.state("g"), GroupState::Empty);
    world.pass(10_000);
    assert_eq!(world.state("g"), GroupState::Dead);
    world.join_refused(join_request("g", &id), GroupError::UnknownMember);
}

#[test]
fn a_given_id_holds_a_rebalance_until_it_joins_or_expires() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    let (one, two) = (world.member_id("g"), world.member_id("g"));
    let first = world.join(join_request("g", &one));
    let again = world.join(join_request("g", &ids[0]));
    assert_eq!(world.answer(first), None, "the other id may still come");
    world.pass(10_000);
    assert_eq!(world.joined(first).generation, generation + 1);
    assert_eq!(world.joined(again).members.len(), 2);
    world.join_refused(join_request("g", &two), GroupError::UnknownMember);
}

#[test]
fn the_leaders_assignment_is_stored_before_it_is_handed_out() {
    let mut world = World::new();
    world.durable_at_once = false;
    let ids = [world.member_id("g"), world.member_id("g")];
    let tokens = ids.clone().map(|id| world.join(join_request("g", &id)));
    world.pass(6000);
    let joins = tokens.map(|token| world.joined(token));
    let leader = joins[0].leader.clone();
    let follower = ids.iter().find(|id| **id != leader).unwrap();
    let waits = world.sync("g", follower, 1, &[]);
    assert_eq!(world.in_flight_count(), 0);
    let leads = world.sync("g", &leader, 1, &[(follower, "work"), ("nobody", "lost")]);
    assert_eq!((world.answer(waits), world.answer(leads)), (None, None));
    assert_eq!(world.state("g"), GroupState::CompletingRebalance);
    world.settle_all();
    let (leads, waits) = (world.synced(leads), world.synced(waits));
    assert_eq!(waits.assignment, Bytes::from("work"));
    assert_eq!(waits.protocol_name.as_deref(), Some("range"));
    assert_eq!(
        leads.assignment,
        Bytes::new(),
        "the leader gave itself nothing"
    );
    assert_eq!(world.state("g"), GroupState::Stable);
}

#[test]
fn a_log_that_fails_sends_the_members_to_find_their_coordinator() {
    let mut world = World::new();
    world.durable_at_once = false;
    let id = world.member_id("g");
    let token = world.join(join_request("g", &id));
    world.pass(3000);
    assert_eq!(world.joined(token).error, None);
    let sync = world.sync("g", &id, 1, &[(&id, "work")]);
    world.fail_all();
    assert_eq!(world.synced(sync).error, Some(GroupError::NotCoordinator));
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
    let commit = world.ask(Request::Commit(commit_request(
        "simple",
        "",
        -1,
        "t",
        &[(0, 1)],
    )));
    world.fail_all();
    assert_eq!(world.committed(commit), [Some(GroupError::NotCoordinator)]);
    assert_eq!(
        world.state("simple"),
        GroupState::Dead,
        "what was never stored is not there"
    );
}

#[test]
fn syncs_are_refused_as_kafka_refuses_them() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    let id = ids[0].as_str();
    let mut refused = |member: &str, generation, change: fn(&mut SyncRequest), error| {
        let mut request = SyncRequest {
            group_id: "g".to_owned(),
            generation,
            member_id: member.to_owned(),
            group_instance_id: None,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: Vec::new(),
        };
        change(&mut request);
        let token = world.ask(Request::Sync(request));
        assert_eq!(world.synced(token).error, error);
    };
    refused(id, generation, |_| {}, None);
    refused(
        id,
        generation + 1,
        |_| {},
        Some(GroupError::IllegalGeneration),
    );
    refused(
        "stranger",
        generation,
        |_| {},
        Some(GroupError::UnknownMember),
    );
    let other = |r: &mut SyncRequest| r.protocol_name = Some("sticky".to_owned());
    refused(
        id,
        generation,
        other,
        Some(GroupError::InconsistentProtocol),
    );
    let other = |r: &mut SyncRequest| r.protocol_type = Some("connect".to_owned());
    refused(
        id,
        generation,
        other,
        Some(GroupError::InconsistentProtocol),
    );
    let other = |r: &mut SyncRequest| r.group_id = "nowhere".to_owned();
    refused(id, generation, other, Some(GroupError::UnknownMember));
    refused(
        id,
        generation,
        |r| r.group_id.clear(),
        Some(GroupError::InvalidGroupId),
    );
    let other = |r: &mut SyncRequest| r.group_instance_id = Some("i".to_owned());
    refused(id, generation, other, Some(GroupError::UnknownMember));
}

#[test]
fn members_that_never_sync_are_removed() {
    let mut world = World::new();
    let ids = [world.member_id("g"), world.member_id("g")];
    let tokens = ids.clone().map(|id| world.join(join_request("g", &id)));
    world.pass(6000);
    let joins = tokens.map(|token| world.joined(token));
    let leader = joins[0].leader.clone();
    let follower = ids.iter().find(|id| **id != leader).unwrap().clone();
    let waits = world.sync("g", &follower, 1, &[]);
    for _ in 0..12 {
        let _ = world.heartbeat("g", &leader, 1);
        world.pass(5000);
    }
    assert_eq!(
        world.synced(waits).error,
        Some(GroupError::RebalanceInProgress)
    );
    assert_eq!(
        world.heartbeat("g", &leader, 1),
        Err(GroupError::UnknownMember)
    );
    let token = world.join(join_request("g", &follower));
    assert_eq!(world.joined(token).leader, follower);
}

#[test]
fn a_join_repeated_during_the_rebalance_gets_the_same_generation() {
    let mut world = World::new();
    let id = world.member_id("g");
    let token = world.join(join_request("g", &id));
    let repeated = world.join(join_request("g", &id));
    assert_eq!(
        world.joined(token).error,
        Some(GroupError::RebalanceInProgress)
    );
    world.pass(3000);
    let first = world.joined(repeated);
    let again = world.join(join_request("g", &id));
    assert_eq!(world.joined(again), first, "its answer may have been lost");
    let mut changed = join_request("g", &id);
    changed.protocols[0].1 = subscription(&["other"]);
    let again = world.join(changed);
    assert_eq!(
        world.joined(again).generation,
        2,
        "new metadata, new generation"
    );
}

#[test]
fn a_stable_leader_rebalances_by_joining_and_a_follower_does_not() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 2);
    let token = world.join(join_request("g", &ids[1]));
    let told = world.joined(token);
    assert_eq!((told.generation, told.members.len()), (generation, 0));
    assert_eq!(told.leader, ids[0]);
    let token = world.join(join_request("g", &ids[0]));
    assert_eq!(world.answer(token), None);
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
}

#[test]
fn the_protocol_that_most_prefer_wins_among_those_all_support() {
    let mut world = World::new();
    let lists = [["a", "b"], ["b", "a"], ["b", "a"]];
    let ids = lists.map(|_| world.member_id("g"));
    let mut tokens = Vec::new();
    for (names, id) in lists.iter().zip(&ids) {
        let mut request = join_request("g", id);
        request.protocols = names
            .iter()
            .map(|name| (name.to_string(), Bytes::from(name.to_string())))
            .collect();
        tokens.push(world.join(request));
    }
    world.pass(9000);
    for token in tokens {
        let joined = world.joined(token);
        assert_eq!(joined.protocol_name.as_deref(), Some("b"));
        assert!(joined.members.iter().all(|member| member.metadata == "b"));
    }
}

#[test]
fn leaving_is_answered_for_each_member() {
    let mut world = World::new();
    let unknown = Some(GroupError::UnknownMember);
    assert_eq!(world.leave("g", &[("m", None)]), [unknown]);
    let (ids, _) = world.stable("g", 2);
    let pending = world.member_id("g");
    let left = world.leave(
        "g",
        &[(&ids[1], None), ("stranger", None), (&pending, None)],
    );
    assert_eq!(left, [None, unknown, None]);
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
    assert_eq!(world.leave("g", &[(&ids[0], None)]), [None]);
    assert_eq!(world.state("g"), GroupState::Empty);
}

#[test]
fn whoever_leaves_while_waiting_is_answered() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 2);
    let join = world.join(join_request("g", &ids[0]));
    world.leave("g", &[(&ids[0], None)]);
    assert_eq!(world.joined(join).error, Some(GroupError::UnknownMember));
    let join = world.join(join_request("g", &ids[1]));
    let joined = world.joined(join);
    assert_eq!((joined.generation, joined.error), (generation + 1, None));
    let other = world.member_id("g");
    let wait = world.join(join_request("g", &other));
    let again = world.join(join_request("g", &ids[1]));
    assert_eq!(world.joined(wait).error, None);
    assert_eq!(world.joined(again).error, None);
    let follower = world.sync("g", &other, generation + 2, &[]);
    world.leave("g", &[(&other, None)]);
    assert_eq!(
        world.synced(follower).error,
        Some(GroupError::UnknownMember)
    );
    assert!(world.waiting().is_empty());
}

#[test]
fn a_group_is_no_larger_than_it_may_be() {
    let mut config = config();
    config.groups.max_size = 2;
    let mut world = World::with(config);
    let (ids, generation) = world.stable("g", 2);
    world.join_refused(join_request("g", ""), GroupError::GroupMaxSize);
    let token = world.join(join_request("g", &ids[0]));
    let second = world.join(join_request("g", &ids[1]));
    assert_eq!(world.joined(token).generation, generation + 1);
    assert_eq!(world.joined(second).generation, generation + 1);
}

#[test]
fn given_ids_are_bounded() {
    let mut world = World::new();
    world.member_id("g");
    let mut request = join_request("g", "");
    for index in 1..crate::limits::GROUP_PENDING_JOINS_MAX as u32 {
        request.fresh_uuid[..4].copy_from_slice(&index.to_be_bytes());
        world.join_refused(request.clone(), GroupError::MemberIdRequired);
    }
    world.join_refused(request, GroupError::GroupMaxSize);
}

#[test]
fn protocol_types_are_opaque() {
    let mut world = World::new();
    for kind in ["connect", "sr", "anything"] {
        let mut request = join_request(kind, "");
        request.requires_known_member_id = false;
        request.protocol_type = kind.to_owned();
        request.protocols = vec![("v0".to_owned(), Bytes::from_static(b"\xff\xfe"))];
        let token = world.join(request);
        world.pass(3000);
        let joined = world.joined(token);
        assert_eq!(joined.protocol_type.as_deref(), Some(kind));
        let sync = world.sync(kind, &joined.member_id, 1, &[(&joined.member_id, "x")]);
        assert_eq!(world.synced(sync).assignment, Bytes::from_static(b"x"));
        let shown = world.describe(kind).unwrap();
        assert_eq!(
            (shown.protocol_type.as_str(), shown.protocol_name.as_str()),
            (kind, "v0")
        );
    }
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut world = World::new();
    world.stable("stable", 1);
    world.commit_simply("simple", "t", &[(0, 1)]);
    let mut check = |states: &[&str], types: &[&str], expected: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let states = owned(states);
        let types = owned(types);
        let token = world.ask(Request::List(ListRequest { states, types }));
        let Some(Response::List(Ok(groups))) = world.answer(token) else {
            panic!("a list");
        };
        let ids: Vec<&str> = groups.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!(ids, expected);
    };
    check(&[], &[], &["simple", "stable"]);
    check(&["sTaBle"], &[], &["stable"]);
    check(&["Empty", "Dead"], &["Classic"], &["simple"]);
    check(&["Nonsense"], &[], &[]);
    check(&[], &["consumer"], &[]);
}

#[test]
fn closing_answers_everyone_who_waits() {
    let mut world = World::new();
    let (ids, _) = world.stable("g", 2);
    let join = world.join(join_request("g", &ids[0]));
    world.durable_at_once = false;
    let commit = world.ask(Request::Commit(commit_request("s", "", -1, "t", &[(0, 1)])));
    world.tell(Event::Unload);
    assert_eq!(world.joined(join).error, Some(GroupError::NotCoordinator));
    assert_eq!(world.committed(commit), [Some(GroupError::NotCoordinator)]);
    assert_eq!(
        world.heartbeat("g", &ids[1], 1),
        Err(GroupError::NotCoordinator)
    );
    world.settle_all();
    assert!(world.waiting().is_empty());
}

#[test]
fn while_loading_requests_are_told_to_wait_and_heartbeats_are_welcome() {
    let mut coordinator = Coordinator::new(config());
    let mut ask = |request| {
        let token = Token(1);
        let now = World::new().now();
        let effects = coordinator.handle(now, Event::Request { token, request });
        match effects.into_iter().next() {
            Some(Effect::Reply { response, .. }) => response,
            other => panic!("a refusal, not {other:?}"),
        }
    };
    let group_id = "g".to_owned();
    let heartbeat = HeartbeatRequest {
        group_id: group_id.clone(),
        generation: 1,
        member_id: "m".to_owned(),
        group_instance_id: None,
    };
    assert_eq!(
        ask(Request::Heartbeat(heartbeat)),
        Response::Heartbeat(Ok(()))
    );
    let loading = GroupError::LoadInProgress;
    let describe = Request::Describe(DescribeRequest { group_id });
    assert_eq!(ask(describe), Response::Describe(Err(loading)));
    let Response::Join(refused) = ask(Request::Join(join_request("g", ""))) else {
        panic!("a join's answer");
    };
    assert_eq!(refused.error, Some(loading));
}

#[test]
fn groups_live_where_java_puts_them() {
    let check = |group: &str, expected| assert_eq!(partition_for(group, 50), expected, "{group}");
    // hashCode: "" is 0, "a" is 97, "group" is 98629247.
    check("", 0);
    check("a", 47);
    check("group", 47);
    // The string whose hash is the least integer.
    check("polygenelubricants", 0);
}
