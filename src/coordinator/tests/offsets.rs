//! Scenarios of committed offsets: commit, fetch, delete, expiry, and the bounded log.

use super::world::{World, commit_request, config, join_request};
use crate::coordinator::*;
use crate::limits::{
    COORDINATOR_APPENDS_MAX, OFFSETS_APPEND_BYTES_MAX, TRIM_DEAD_RECORDS_MIN, TRIM_RETRY_MS,
};

const DAY_MS: i64 = 24 * 3600 * 1000;

fn only(error: GroupError) -> Vec<Option<GroupError>> {
    vec![Some(error)]
}

#[test]
fn a_consumer_without_a_group_commits_and_reads_back() {
    let mut world = World::new();
    world.commit_simply("g", "t", &[(0, 10), (1, 11)]);
    world.commit_simply("g", "u", &[(3, 33)]);
    world.commit_simply("g", "t", &[(0, 12)]);
    assert_eq!(world.offsets("g"), ["t-0@12", "t-1@11", "u-3@33"]);
    assert_eq!(world.offsets("nowhere"), [""; 0]);
    let topics = Some(vec![
        ("t".to_owned(), vec![1, 7]),
        ("x".to_owned(), vec![0]),
    ]);
    let group_id = "g".to_owned();
    let token = world.ask(Request::Fetch(FetchRequest { group_id, topics }));
    let Some(Response::Fetch(Ok(topics))) = world.answer(token) else {
        panic!("a fetch's answer");
    };
    let expected = CommittedOffset {
        offset: 11,
        leader_epoch: 7,
        metadata: "note".into(),
    };
    assert_eq!(topics[0].partitions, [(1, Some(expected)), (7, None)]);
    assert_eq!(topics[1].partitions, [(0, None)]);
    assert_eq!(world.state("g"), GroupState::Empty);
    world.restart();
    assert_eq!(world.offsets("g"), ["t-0@12", "t-1@11", "u-3@33"]);
}

#[test]
fn commits_are_shown_when_they_are_durable() {
    let mut world = World::new();
    world.durable_at_once = false;
    let one = world.ask(Request::Commit(commit_request("g", "", -1, "t", &[(0, 1)])));
    let two = world.ask(Request::Commit(commit_request("g", "", -1, "t", &[(0, 2)])));
    assert_eq!(world.offsets("g"), [""; 0]);
    // The news of the second comes first: it waits for the first.
    world.settle(1);
    assert_eq!((world.answer(one), world.answer(two)), (None, None));
    world.settle(0);
    assert_eq!(world.committed(one), [None]);
    assert_eq!(world.committed(two), [None]);
    assert_eq!(world.offsets("g"), ["t-0@2"]);
    let lost = world.ask(Request::Commit(commit_request("g", "", -1, "t", &[(0, 3)])));
    world.restart();
    assert_eq!(world.answer(lost), None);
    assert_eq!(world.offsets("g"), ["t-0@2"]);
}

#[test]
fn a_member_commits_for_its_generation_only() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    let id = ids[0].clone();
    let check = |world: &mut World, member: &str, generation, expected: Option<GroupError>| {
        let request = commit_request("g", member, generation, "t", &[(0, 5)]);
        assert_eq!(world.commit(request), [expected], "{member} {generation}");
    };
    check(&mut world, &id, generation, None);
    check(
        &mut world,
        &id,
        generation + 1,
        Some(GroupError::IllegalGeneration),
    );
    check(&mut world, &id, -1, Some(GroupError::IllegalGeneration));
    check(
        &mut world,
        "stranger",
        generation,
        Some(GroupError::UnknownMember),
    );
    check(&mut world, "", -1, Some(GroupError::UnknownMember));
    let second = world.member_id("g");
    let waits = world.join(join_request("g", &second));
    check(&mut world, &id, generation, None);
    let again = world.join(join_request("g", &id));
    let generation = world.joined(again).generation;
    world.joined(waits);
    check(
        &mut world,
        &id,
        generation,
        Some(GroupError::RebalanceInProgress),
    );
    world.leave("g", &[(&id, None), (&second, None)]);
    check(&mut world, "", -1, None);
    check(&mut world, &id, generation, Some(GroupError::UnknownMember));
}

#[test]
fn an_unknown_group_is_named_as_the_version_names_it() {
    let mut world = World::new();
    let mut request = commit_request("g", "m", 1, "t", &[(0, 5)]);
    assert_eq!(
        world.commit(request.clone()),
        only(GroupError::IllegalGeneration)
    );
    request.reports_unknown_group = true;
    assert_eq!(world.commit(request), only(GroupError::GroupIdNotFound));
    assert_eq!(world.state("g"), GroupState::Dead);
    world.commit_simply("", "t", &[(0, 1)]);
    assert_eq!(
        world.offsets(""),
        ["t-0@1"],
        "old clients use the empty group id"
    );
}

#[test]
fn metadata_has_a_bound_in_characters() {
    let mut world = World::new();
    let mut request = commit_request("g", "", -1, "t", &[(0, 1), (1, 2), (2, 3)]);
    request.topics[0].1[0].metadata = Some("é".repeat(4096));
    request.topics[0].1[1].metadata = Some("x".repeat(4097));
    request.topics[0].1[2].metadata = None;
    let results = world.commit(request);
    assert_eq!(results, [None, Some(GroupError::MetadataTooLarge), None]);
    assert_eq!(world.offsets("g"), ["t-0@1", "t-2@3"]);
}

#[test]
fn a_commit_keeps_a_members_session() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    for _ in 0..5 {
        world.pass(9000);
        let request = commit_request("g", &ids[0], generation, "t", &[(0, 5)]);
        assert_eq!(world.commit(request), [None]);
    }
    world.pass(10_000);
    assert_eq!(world.state("g"), GroupState::Empty);
}

fn delete_offsets(world: &mut World, topic: &str, indexes: &[i32]) -> Response {
    let topics = vec![(topic.to_owned(), indexes.to_vec())];
    let group_id = "g".to_owned();
    let token = world.ask(Request::DeleteOffsets(DeleteOffsetsRequest {
        group_id,
        topics,
    }));
    world.answer(token).expect("answered at once")
}

#[test]
fn offsets_are_deleted_unless_somebody_subscribes() {
    let mut world = World::new();
    let not_found = Response::DeleteOffsets(Err(GroupError::GroupIdNotFound));
    assert_eq!(delete_offsets(&mut world, "t", &[0]), not_found);
    world.commit_simply("g", "t", &[(0, 1), (1, 1)]);
    world.commit_simply("g", "u", &[(0, 1)]);
    let done = |topic: &str, index, error| {
        Response::DeleteOffsets(Ok(vec![(topic.to_owned(), vec![(index, error)])]))
    };
    assert_eq!(delete_offsets(&mut world, "t", &[1]), done("t", 1, None));
    assert_eq!(delete_offsets(&mut world, "t", &[9]), done("t", 9, None));
    assert_eq!(world.offsets("g"), ["t-0@1", "u-0@1"]);
    let (ids, _) = world.stable("g", 1);
    let subscribed = Some(GroupError::SubscribedToTopic);
    assert_eq!(
        delete_offsets(&mut world, "t", &[0]),
        done("t", 0, subscribed)
    );
    assert_eq!(delete_offsets(&mut world, "u", &[0]), done("u", 0, None));
    assert_eq!(world.offsets("g"), ["t-0@1"]);
    world.restart();
    assert_eq!(
        delete_offsets(&mut world, "t", &[0]),
        done("t", 0, subscribed),
        "known again"
    );
    world.leave("g", &[(&ids[0], None)]);
    assert_eq!(delete_offsets(&mut world, "t", &[0]), done("t", 0, None));
    assert_eq!(world.offsets("g"), [""; 0]);
}

#[test]
fn an_offset_is_deleted_once_however_often_it_is_named() {
    let mut world = World::new();
    let offsets: Vec<(i32, i64)> = (0..5000).map(|index| (index, 1)).collect();
    world.commit_simply("g", "t", &offsets);
    let before = world.log_end();
    let group_id = "g".to_owned();
    let topics = vec![("t".to_owned(), vec![7, 7, 9999]); 100_000];
    let request = DeleteOffsetsRequest { group_id, topics };
    let token = world.ask(Request::DeleteOffsets(request));
    let Some(Response::DeleteOffsets(Ok(outcomes))) = world.answer(token) else {
        panic!("an answer");
    };
    assert_eq!(outcomes.len(), 100_000);
    assert_eq!(world.log_end() - before, 1);
    assert_eq!(world.offsets("g").len(), 4999);
}

#[test]
fn offsets_of_members_with_foreign_metadata_are_left_alone() {
    let mut world = World::new();
    for (kind, error) in [
        ("consumer", None),
        ("connect", Some(GroupError::NonEmptyGroup)),
    ] {
        world.commit_simply("g", "t", &[(0, 1)]);
        let mut request = join_request("g", "");
        request.requires_known_member_id = false;
        request.protocol_type = kind.to_owned();
        request.protocols[0].1 = bytes::Bytes::from_static(b"?");
        let token = world.join(request);
        world.pass(3000);
        let id = world.joined(token).member_id;
        let expected = match error {
            Some(error) => Err(error),
            None => Ok(vec![(
                "t".to_owned(),
                vec![(0, Some(GroupError::SubscribedToTopic))],
            )]),
        };
        let got = delete_offsets(&mut world, "t", &[0]);
        assert_eq!(got, Response::DeleteOffsets(expected));
        world.leave("g", &[(&id, None)]);
    }
}

#[test]
fn a_group_is_deleted_when_it_is_empty() {
    let mut world = World::new();
    assert_eq!(world.delete_group("g"), Err(GroupError::GroupIdNotFound));
    world.commit_simply("g", "u", &[(0, 1)]);
    let (ids, _) = world.stable("g", 1);
    assert_eq!(world.delete_group("g"), Err(GroupError::NonEmptyGroup));
    world.leave("g", &[(&ids[0], None)]);
    assert_eq!(world.delete_group("g"), Ok(()));
    assert_eq!(world.state("g"), GroupState::Dead);
    assert_eq!(world.offsets("g"), [""; 0]);
    world.restart();
    assert_eq!(world.state("g"), GroupState::Dead);
    assert_eq!(world.log.back().unwrap().value, None, "a tombstone");
}

#[test]
fn a_group_that_comes_back_while_it_is_deleted_stays() {
    let mut world = World::new();
    let (ids, _) = world.stable("g", 1);
    world.leave("g", &[(&ids[0], None)]);
    world.commit_simply("g", "t", &[(0, 1)]);
    world.durable_at_once = false;
    let group_id = "g".to_owned();
    let deletion = world.ask(Request::DeleteGroup(DeleteGroupRequest { group_id }));
    let commit = world.ask(Request::Commit(commit_request("g", "", -1, "t", &[(0, 2)])));
    assert_eq!(world.offsets("g"), ["t-0@1"]);
    world.settle_all();
    assert_eq!(world.answer(deletion), Some(Response::DeleteGroup(Ok(()))));
    assert_eq!(world.committed(commit), [None]);
    assert_eq!(world.offsets("g"), ["t-0@2"]);
    let before = world.describe("g").unwrap();
    assert_eq!(before.protocol_type, "", "its members are history");
    world.restart();
    assert_eq!(world.offsets("g"), ["t-0@2"]);
    assert_eq!(world.describe("g").unwrap(), before);
}

#[test]
fn simple_offsets_expire_after_their_commit() {
    let mut world = World::new();
    world.commit_simply("g", "t", &[(0, 1)]);
    world.pass(6 * DAY_MS);
    world.commit_simply("g", "t", &[(1, 1)]);
    world.pass(DAY_MS + 600_000);
    assert_eq!(world.offsets("g"), ["t-1@1"]);
    world.pass(6 * DAY_MS);
    assert_eq!(world.state("g"), GroupState::Dead);
    world.restart();
    assert_eq!(world.state("g"), GroupState::Dead);
}

#[test]
fn a_commit_may_name_its_own_retention() {
    let mut world = World::new();
    let mut request = commit_request("g", "", -1, "t", &[(0, 1)]);
    request.retention_ms = Some(3_600_000);
    assert_eq!(world.commit(request), [None]);
    world.restart();
    world.pass(3_599_999);
    assert_eq!(world.offsets("g"), ["t-0@1"]);
    world.pass(600_001);
    assert_eq!(world.offsets("g"), [""; 0]);
}

#[test]
fn offsets_of_a_group_expire_after_it_became_empty() {
    let mut world = World::new();
    let (ids, generation) = world.stable("g", 1);
    let commit = commit_request("g", &ids[0], generation, "t", &[(0, 1)]);
    assert_eq!(world.commit(commit), [None]);
    let beat = |world: &mut World, ms: i64| {
        let end = world.clock_ms + ms;
        while world.clock_ms < end {
            world.pass(9000);
            assert_eq!(world.heartbeat("g", &ids[0], generation), Ok(()));
        }
    };
    beat(&mut world, 8 * DAY_MS);
    assert_eq!(world.offsets("g"), ["t-0@1"], "a member subscribes to it");
    world.leave("g", &[(&ids[0], None)]);
    world.pass(6 * DAY_MS);
    world.restart();
    assert_eq!(
        world.offsets("g"),
        ["t-0@1"],
        "the time of becoming empty is stored"
    );
    world.pass(DAY_MS + 600_000);
    assert_eq!(world.offsets("g"), [""; 0]);
    assert_eq!(world.state("g"), GroupState::Dead);
}

#[test]
fn a_topic_that_no_member_reads_any_more_expires_under_a_stable_group() {
    let mut config = config();
    config.offsets.retention_minutes = 60;
    let mut world = World::with(config);
    world.commit_simply("g", "t", &[(0, 1)]);
    world.commit_simply("g", "old", &[(0, 1)]);
    let (ids, generation) = world.stable("g", 1);
    while world.clock_ms < 3_600_000 + 700_000 {
        world.pass(9000);
        assert_eq!(world.heartbeat("g", &ids[0], generation), Ok(()));
    }
    assert_eq!(world.offsets("g"), ["t-0@1"]);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut world = World::new();
    world.commit_simply("g", "t", &[(0, 1)]);
    world.commit_simply("g", "u", &[(0, 1)]);
    world.commit_simply("h", "t", &[(5, 1)]);
    let topic = "t".to_owned();
    world.tell(Event::TopicDeleted { topic });
    assert_eq!(world.offsets("g"), ["u-0@1"]);
    assert_eq!(world.offsets("h"), [""; 0]);
    world.restart();
    assert_eq!(world.offsets("g"), ["u-0@1"]);
}

#[test]
fn a_large_commit_is_appended_in_pieces_and_answered_once() {
    let mut world = World::new();
    world.durable_at_once = false;
    let offsets: Vec<(i32, i64)> = (0..20_000).map(|index| (index, 1)).collect();
    let token = world.ask(Request::Commit(commit_request("g", "", -1, "t", &offsets)));
    assert!(world.in_flight_count() > 1);
    while world.in_flight_count() > 1 {
        world.settle(0);
        assert_eq!(world.answer(token), None);
    }
    world.settle(0);
    assert_eq!(world.committed(token).len(), 20_000);
    assert_eq!(world.offsets("g").len(), 20_000);
}

#[test]
fn an_answer_is_for_all_appends_of_its_step() {
    let offsets: Vec<(i32, i64)> = (0..20_000).map(|index| (index, 1)).collect();
    let commit = || Request::Commit(commit_request("g", "", -1, "t", &offsets));
    let delete_offsets = Request::DeleteOffsets(DeleteOffsetsRequest {
        group_id: "g".to_owned(),
        topics: vec![("t".to_owned(), (0..20_000).collect())],
    });
    let delete_group = Request::DeleteGroup(DeleteGroupRequest {
        group_id: "g".to_owned(),
    });
    let refused = GroupError::NotCoordinator;
    let is_refused = |response: Option<Response>| match response {
        Some(Response::Commit(topics)) => {
            let mut results = topics.into_iter().flat_map(|(_, partitions)| partitions);
            results.all(|(_, error)| error == Some(refused))
        }
        Some(Response::DeleteOffsets(result)) => result == Err(refused),
        Some(Response::DeleteGroup(result)) => result == Err(refused),
        other => panic!("an answer, not {other:?}"),
    };
    for (request, failed_first) in [
        (commit(), true),
        (commit(), false),
        (delete_offsets, true),
        (delete_group, true),
    ] {
        let mut world = World::new();
        if !matches!(request, Request::Commit(_)) {
            world.commit_simply("g", "t", &offsets);
        }
        world.durable_at_once = false;
        let token = world.ask(request);
        assert!(world.in_flight_count() > 1);
        if !failed_first {
            world.settle(0);
        }
        world.fail();
        world.settle_all();
        assert!(is_refused(world.answer(token)));
        let shown = world.offsets("g");
        world.restart();
        assert_eq!(world.offsets("g"), shown, "what is shown is what is stored");
        world.durable_at_once = true;
        let token = world.ask(commit());
        assert_eq!(world.committed(token), vec![None; 20_000]);
    }
}

#[test]
fn commits_that_the_log_cannot_take_up_are_refused() {
    let mut world = World::new();
    world.durable_at_once = false;
    let request = commit_request("g", "", -1, "t", &[(0, 1)]);
    for _ in 0..COORDINATOR_APPENDS_MAX {
        world.ask(Request::Commit(request.clone()));
    }
    assert_eq!(
        world.commit(request.clone()),
        only(GroupError::NotAvailable)
    );
    world.settle_all();
    world.durable_at_once = true;
    assert_eq!(world.commit(request), [None]);
}

#[test]
fn the_log_stays_within_a_bound_and_loses_nothing() {
    let mut world = World::new();
    let (ids, generation) = world.stable("stable", 2);
    let still: Vec<(i32, i64)> = (0..500).map(|index| (index, 7)).collect();
    world.commit_simply("still", "t", &still);
    for round in 0..30_000_i64 {
        world.commit_simply("busy", "t", &[((round % 50) as i32, round)]);
        if round % 9_000 == 0 {
            world.commit_simply("rare", "t", &[(0, round)]);
        }
    }
    assert!(world.log_start > 0);
    let bound = 2 * (TRIM_DEAD_RECORDS_MIN + 600);
    assert!(
        world.log_length_max <= bound,
        "{} records",
        world.log_length_max
    );
    let _ = world.heartbeat("stable", &ids[0], generation);
    world.restart();
    assert_eq!(world.offsets("still").len(), 500);
    assert_eq!(world.offsets("busy").len(), 50);
    assert!(world.offsets("busy").contains(&"t-49@29999".to_owned()));
    assert_eq!(world.offsets("rare"), ["t-0@27000"]);
    assert_eq!(world.describe("stable").unwrap().members.len(), 2);
}

#[test]
fn a_value_that_changes_while_the_log_is_trimmed_keeps_its_order() {
    let mut world = World::new();
    world.commit_simply("g", "t", &[(0, 1)]);
    world.durable_at_once = false;
    for round in 0..3 * TRIM_DEAD_RECORDS_MIN as i64 {
        world.ask(Request::Commit(commit_request(
            "busy",
            "",
            -1,
            "t",
            &[(0, round)],
        )));
        if round % 7 == 0 {
            world.ask(Request::Commit(commit_request(
                "g",
                "",
                -1,
                "t",
                &[(0, round)],
            )));
        }
        if round % 5 != 0 {
            world.settle(0);
        }
    }
    world.settle_all();
    assert!(world.log_start > 0);
    let (busy, g) = (world.offsets("busy"), world.offsets("g"));
    world.restart();
    assert_eq!((world.offsets("busy"), world.offsets("g")), (busy, g));
}

/// A group with offsets that stay, and as many dead records behind them as call for trimming; the
/// last commit is in flight.
fn about_to_trim(still: &[(i32, i64)]) -> World {
    let mut world = World::new();
    world.commit_simply("still", "t", still);
    while world.log.len() <= still.len() + TRIM_DEAD_RECORDS_MIN.max(still.len() + 1) {
        world.commit_simply("busy", "t", &[(0, 1)]);
    }
    assert_eq!(world.log_start, 0);
    world.durable_at_once = false;
    let request = commit_request("busy", "", -1, "t", &[(0, 2)]);
    world.ask(Request::Commit(request));
    world
}

#[test]
fn a_step_of_trimming_that_fails_waits() {
    let mut world = about_to_trim(&[(0, 1)]);
    world.settle(0);
    assert_eq!(world.in_flight_count(), 1, "the live records, once more");
    for _ in 0..3 {
        world.fail();
        assert_eq!(world.in_flight_count(), 0, "not again at once");
        let request = commit_request("busy", "", -1, "t", &[(0, 3)]);
        world.ask(Request::Commit(request));
        world.settle(0);
        assert_eq!(world.in_flight_count(), 0, "nor with the next commit");
        world.pass(TRIM_RETRY_MS);
        assert_eq!(world.in_flight_count(), 1);
    }
    world.settle_all();
    assert!(world.log_start > 0);
    world.restart();
    assert_eq!(world.offsets("still"), ["t-0@1"]);
}

#[test]
fn a_step_of_trimming_is_bounded_in_bytes() {
    let mut world = World::new();
    let mut request = commit_request("still", "", -1, "t", &[]);
    let of = |index| CommitPartition {
        index,
        offset: 1,
        leader_epoch: 7,
        metadata: Some("x".repeat(4096)),
    };
    request.topics[0].1 = (0..1000).map(of).collect();
    world.commit(request);
    for round in 0..2 * TRIM_DEAD_RECORDS_MIN as i64 {
        world.commit_simply("busy", "t", &[(0, round)]);
    }
    assert!(world.log_start >= 1000, "all of them were written again");
    let largest = world.append_bytes_max;
    assert!(largest <= 2 * OFFSETS_APPEND_BYTES_MAX, "{largest} bytes");
    world.restart();
    assert_eq!(world.offsets("still").len(), 1000);
}

#[test]
fn a_record_whose_deletion_may_fail_is_not_trimmed_away() {
    let mut world = about_to_trim(&[(0, 1)]);
    let token = world.ask(Request::DeleteGroup(DeleteGroupRequest {
        group_id: "still".to_owned(),
    }));
    world.settle(0);
    world.fail();
    let refused = Err(GroupError::NotCoordinator);
    assert_eq!(world.answer(token), Some(Response::DeleteGroup(refused)));
    world.settle_all();
    assert_eq!(world.offsets("still"), ["t-0@1"]);
    world.restart();
    assert_eq!(world.offsets("still"), ["t-0@1"]);
}
