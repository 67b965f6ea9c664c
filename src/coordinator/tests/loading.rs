//! What happens to a coordinator while it replays its partition.

use super::world::World;
use crate::coordinator::*;

/// A coordinator that begins to load a log in which the groups "a" and "b" have offsets.
fn loading() -> World {
    let mut world = World::new();
    world.commit_simply("a", "t", &[(0, 1)]);
    world.commit_simply("a", "u", &[(0, 2)]);
    world.commit_simply("b", "t", &[(0, 3)]);
    world.begin_loading();
    world
}

#[test]
fn a_coordinator_may_close_while_its_log_is_read() {
    let mut world = loading();
    world.replay(0..1);
    world.tell(Event::Unload);
    world.replay(1..3);
    world.loaded();
    assert_eq!(
        world.describe("a"),
        Err(GroupError::NotCoordinator),
        "it stays closed"
    );
    assert_eq!(world.coordinator.groups_count(), 1);
}

#[test]
fn a_topic_deleted_while_the_log_is_replayed_takes_its_offsets_along() {
    for replayed in 0..=3 {
        let mut world = loading();
        world.replay(0..replayed);
        let topic = "t".to_owned();
        world.tell(Event::TopicDeleted { topic });
        world.replay(replayed..3);
        world.loaded();
        assert_eq!(world.offsets("a"), ["u-0@2"], "{replayed}");
        assert_eq!(world.offsets("b"), [""; 0], "{replayed}");
        world.restart();
        assert_eq!(world.offsets("a"), ["u-0@2"], "{replayed}");
    }
}
