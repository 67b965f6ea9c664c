//! Scenarios of static membership (KIP-345, KIP-814).

use super::world::{World, join_request, subscription};
use crate::coordinator::*;

fn static_join(member_id: &str, instance: &str) -> JoinRequest {
    JoinRequest {
        group_instance_id: Some(instance.to_owned()),
        ..join_request("g", member_id)
    }
}

/// A fresh JoinGroup of an instance, with chance for its id.
fn fresh(world: &mut World, instance: &str) -> JoinRequest {
    let mut request = static_join("", instance);
    request.fresh_uuid[0] = world.next_member();
    request
}

/// A stable group of the instances "a" and "b"; ids of both, "a" leads.
fn pair(world: &mut World) -> (String, String) {
    let first = fresh(world, "a");
    let first = world.join(first);
    let second = fresh(world, "b");
    let second = world.join(second);
    world.pass(6000);
    let (first, second) = (world.joined(first), world.joined(second));
    assert!(
        first.member_id.starts_with("a-"),
        "no extra round for an id"
    );
    let ids = [first.member_id.clone(), second.member_id.clone()];
    world.sync_all("g", &ids, &first.leader, first.generation);
    assert_eq!(first.leader, first.member_id);
    (first.member_id, second.member_id)
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut world = World::new();
    let (_, old) = pair(&mut world);
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    let back = world.joined(back);
    assert_ne!(back.member_id, old);
    assert_eq!((back.generation, back.error), (1, None));
    assert_eq!(world.state("g"), GroupState::Stable);
    let sync = world.sync("g", &back.member_id, 1, &[]);
    assert_eq!(
        world.synced(sync).assignment,
        old.as_bytes(),
        "its assignment is still there"
    );
    world.restart();
    let known = world.describe("g").unwrap().members;
    let known = known
        .iter()
        .find(|member| member.group_instance_id.as_deref() == Some("b"));
    assert_eq!(
        known.unwrap().member_id,
        back.member_id,
        "the new id is stored"
    );
}

#[test]
fn the_old_member_of_a_static_instance_is_fenced() {
    let mut world = World::new();
    let (_, old) = pair(&mut world);
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    let back = world.joined(back);
    let as_old = |generation| HeartbeatRequest {
        group_id: "g".to_owned(),
        generation,
        member_id: old.clone(),
        group_instance_id: Some("b".to_owned()),
    };
    let token = world.ask(Request::Heartbeat(as_old(1)));
    let fenced = Err(GroupError::FencedInstance);
    assert_eq!(world.answer(token), Some(Response::Heartbeat(fenced)));
    world.join_refused(static_join(&old, "b"), GroupError::FencedInstance);
    assert_eq!(
        world.leave("g", &[(&old, Some("b"))]),
        [Some(GroupError::FencedInstance)]
    );
    assert_eq!(
        world.heartbeat("g", &old, 1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(world.heartbeat("g", &back.member_id, 1), Ok(()));
}

#[test]
fn a_leader_that_comes_back_skips_the_assignment_if_it_can() {
    let mut world = World::new();
    let (old, _) = pair(&mut world);
    let mut request = fresh(&mut world, "a");
    let back = world.join(request.clone());
    let back = world.joined(back);
    assert_eq!(
        back.leader, old,
        "an old client must not think that it leads"
    );
    assert!(back.members.is_empty() && !back.skip_assignment);

    request.supports_skip_assignment = true;
    request.fresh_uuid[0] = world.next_member();
    let back = world.join(request);
    let back = world.joined(back);
    assert_eq!(back.leader, back.member_id);
    assert!(back.skip_assignment);
    assert_eq!(back.members.len(), 2);
}

#[test]
fn the_new_id_is_stored_before_it_is_given() {
    let mut world = World::new();
    pair(&mut world);
    world.durable_at_once = false;
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    assert_eq!(world.answer(back), None);
    world.settle_all();
    assert_eq!(world.joined(back).error, None);

    // A rebalance that begins meanwhile takes the join over.
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    let leaver = world.describe("g").unwrap().members;
    let other = leaver
        .iter()
        .find(|member| member.group_instance_id.as_deref() == Some("a"));
    let other = other.unwrap().member_id.clone();
    let again = world.join(static_join(&other, "a"));
    let (back, again) = (world.joined(back), world.joined(again));
    assert_eq!((back.generation, again.generation), (2, 2));
    world.settle_all();
    assert_eq!(world.state("g"), GroupState::CompletingRebalance);

    // And a log that fails sends it away.
    let sync = world.sync("g", &again.member_id, 2, &[]);
    world.settle_all();
    assert_eq!(world.synced(sync).error, None);
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    world.fail_all();
    assert_eq!(world.joined(back).error, Some(GroupError::NotCoordinator));
}

#[test]
fn a_changed_protocol_rebalances_even_a_static_member() {
    let mut world = World::new();
    let (first, _) = pair(&mut world);
    let mut request = fresh(&mut world, "b");
    request
        .protocols
        .insert(0, ("sticky".to_owned(), subscription(&["t"])));
    let back = world.join(request);
    let back = world.joined(back);
    assert_eq!(back.generation, 1, "the chosen protocol is still the same");
    world.leave("g", &[(&first, Some("a"))]);
    let mut request = static_join(&back.member_id, "b");
    request
        .protocols
        .insert(0, ("sticky".to_owned(), subscription(&["t"])));
    let alone = world.join(request.clone());
    assert_eq!(world.joined(alone).protocol_name.as_deref(), Some("sticky"));
    let sync = world.sync("g", &back.member_id, 2, &[]);
    assert_eq!(world.synced(sync).error, None);
    let mut changed = fresh(&mut world, "b");
    changed.protocols = vec![request.protocols[1].clone()];
    let changed = world.join(changed);
    let changed = world.joined(changed);
    assert_eq!(
        changed.generation, 3,
        "it no longer supports what was chosen"
    );
    assert_eq!(changed.protocol_name.as_deref(), Some("range"));
}

#[test]
fn a_static_member_that_comes_back_between_join_and_sync_starts_over() {
    let mut world = World::new();
    pair(&mut world);
    let members = world.describe("g").unwrap().members;
    let ids: Vec<String> = members
        .iter()
        .map(|member| member.member_id.clone())
        .collect();
    let first = world.join(static_join(&ids[0], "a"));
    let second = world.join(static_join(&ids[1], "b"));
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!(first.generation, 2);
    let parked = world.sync("g", &second.member_id, 2, &[]);
    let request = fresh(&mut world, "b");
    let back = world.join(request);
    assert_eq!(world.synced(parked).error, Some(GroupError::FencedInstance));
    assert_eq!(world.answer(back), None);
    assert_eq!(world.state("g"), GroupState::PreparingRebalance);
    let first = world.join(static_join(&ids[0], "a"));
    assert_eq!(world.joined(first).generation, 3);
    assert_eq!(world.joined(back).generation, 3);
}

#[test]
fn a_waiting_join_of_the_same_instance_is_fenced() {
    let mut world = World::new();
    let request = fresh(&mut world, "a");
    let one = world.join(request);
    let request = fresh(&mut world, "a");
    let two = world.join(request);
    assert_eq!(world.joined(one).error, Some(GroupError::FencedInstance));
    world.pass(6000);
    assert_eq!(world.joined(two).members.len(), 1);
}

#[test]
fn static_members_stay_through_a_rebalance_that_they_miss() {
    let mut world = World::new();
    let (first, second) = pair(&mut world);
    let mut request = static_join(&first, "a");
    request.session_timeout_ms = 300_000;
    let token = world.join(request);
    let mut patient = static_join(&second, "b");
    patient.session_timeout_ms = 300_000;
    let other = world.join(patient);
    world.joined(token);
    world.joined(other);
    world.sync_all("g", &[first.clone(), second.clone()], &first, 2);
    let token = world.join(static_join(&first, "a"));
    world.pass(60_000);
    let joined = world.joined(token);
    assert_eq!(
        (joined.generation, joined.members.len()),
        (3, 2),
        "the absent one keeps its place"
    );
}

#[test]
fn members_without_time_to_rejoin_do_not_keep_the_core_busy() {
    for rebalance_timeout_ms in [i32::MIN, 0, 1] {
        let mut world = World::new();
        let first = fresh(&mut world, "a");
        let first = world.join(first);
        world.pass(6000);
        let id = world.joined(first).member_id;
        world.sync_all("g", std::slice::from_ref(&id), &id, 1);
        let again = world.join(JoinRequest {
            rebalance_timeout_ms,
            ..static_join(&id, "a")
        });
        assert_eq!(world.joined(again).generation, 2);
        world.sync_all("g", std::slice::from_ref(&id), &id, 2);
        // A rebalance that only absent static members are left of.
        let dynamic = world.member_id("g");
        world.join(JoinRequest {
            rebalance_timeout_ms,
            ..join_request("g", &dynamic)
        });
        world.leave("g", &[(&dynamic, None)]);
        assert_eq!(world.state("g"), GroupState::PreparingRebalance);
        let before = world.timers_count;
        world.pass(9000);
        assert_eq!(world.state("g"), GroupState::PreparingRebalance);
        let told = world.timers_count - before;
        assert!((1..=20).contains(&told), "{rebalance_timeout_ms}: {told}");
        world.pass(2000);
        assert_eq!(world.state("g"), GroupState::Empty);
    }
}

#[test]
fn an_administrator_removes_an_instance_by_its_name() {
    let mut world = World::new();
    pair(&mut world);
    let unknown = Some(GroupError::UnknownMember);
    assert_eq!(
        world.leave("g", &[("", Some("nobody")), ("", None)]),
        [unknown, unknown]
    );
    assert_eq!(world.state("g"), GroupState::Stable);
    assert_eq!(
        world.leave("g", &[("", Some("a")), ("", Some("b"))]),
        [None, None]
    );
    assert_eq!(world.state("g"), GroupState::Empty);
}
