//! Groups of several members: joining, rebalancing, static members, expiry.

use std::time::Duration;

use kafka_protocol::messages::{
    DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest, leave_group_request::MemberIdentity,
};

use super::commits::commit;
use super::groups::{Member, describe, group};
use crate::session::{Connection, Session, eventually, text};

const REBALANCE_IN_PROGRESS: i16 = 27;

/// By then a broker has taken what another connection has sent to it, also on a busy machine.
const ARRIVED: Duration = Duration::from_millis(300);

/// Versions of join, sync, heartbeat and leave that a client of one age uses together.
fn ages(s: &Session) -> Vec<(i16, i16, i16, i16)> {
    let newest = (
        s.newest::<JoinGroupRequest>(),
        s.newest::<SyncGroupRequest>(),
        s.newest::<HeartbeatRequest>(),
        s.newest::<LeaveGroupRequest>(),
    );
    vec![
        (1, 0, 0, 0),
        (2, 1, 1, 1),
        (5, 3, 3, 3),
        (7, 4, 3, 4),
        newest,
    ]
}

/// Heartbeats until the broker says that the group rebalances.
fn await_rebalance(c: &mut Connection, member: &Member, version: i16, generation: i32) {
    eventually("the group rebalances", || {
        let response = c.exchange(version, &member.beating(version, generation));
        response.error_code == REBALANCE_IN_PROGRESS
    });
}

pub(crate) fn three_members(s: &mut Session) {
    for (join, sync, beat, leave) in ages(s) {
        let name = s.named(&format!("three-{join}"));
        let mut connections = [s.connect(), s.connect(), s.connect()];
        let [c0, c1, c2] = &mut connections;
        let mut members = [0, 1, 2].map(|i| {
            let mut member = Member::of(&name);
            // Two vote for `range` while they are alone; only `sticky` is known to all. A tie would
            // leave the choice to the order of a hash table.
            member.protocols = match i {
                0 => vec![("range", "meta 0 r".into()), ("sticky", "meta 0 s".into())],
                1 => vec![("range", "meta 1 r".into()), ("sticky", "meta 1 s".into())],
                _ => vec![("sticky", "meta 2 s".into())],
            };
            member
        });
        let [m0, m1, m2] = &mut members;

        let alone = m0.join(s, c0, "the first joins", join);
        let shares = [(m0.id.clone(), "0: all")];
        s.call(
            c0,
            "the first syncs",
            sync,
            &m0.syncing(sync, alone.generation_id, &shares),
        );

        // The second waits until the first has joined again.
        identify(c1, m1, join);
        c1.send(join, &m1.joining(join));
        await_rebalance(c0, m0, beat, alone.generation_id);
        s.call(
            c0,
            "heartbeat in a rebalance",
            beat,
            &m0.beating(beat, alone.generation_id),
        );
        let during = commit(m0, alone.generation_id, "oracle-nothing", 0, 1, "");
        s.call(
            c0,
            "commit in a rebalance",
            s.newest::<OffsetCommitRequest>(),
            &during,
        );
        s.call(
            c0,
            "sync in a rebalance",
            sync,
            &m0.syncing(sync, alone.generation_id, &[]),
        );
        let first = s.call(c0, "the first joins again", join, &m0.joining(join));
        let second = s.answer::<JoinGroupRequest>(c1, "the second has joined");
        m1.id = second.member_id.clone();
        s.fact(
            &format!("v{join}: one leader"),
            first.leader == second.leader,
        );
        s.fact(
            &format!("v{join}: one generation"),
            first.generation_id == second.generation_id,
        );
        describe(s, c2, "before the leader syncs", &name);
        let generation = first.generation_id;
        // A follower waits for its share.
        c1.send(sync, &follower(m1, sync, generation, &first.protocol_name));
        std::thread::sleep(ARRIVED);
        s.call(
            c0,
            "heartbeat while the others wait",
            beat,
            &m0.beating(beat, generation),
        );
        let shares = [(m0.id.clone(), "0: half"), (m1.id.clone(), "1: half")];
        s.call(
            c0,
            "the leader syncs",
            sync,
            &leader(m0, sync, generation, &first.protocol_name, &shares),
        );
        s.answer::<SyncGroupRequest>(c1, "the follower has its share");
        describe(s, c2, "two members", &name);
        s.call(
            c1,
            "a follower syncs again",
            sync,
            &follower(m1, sync, generation, &first.protocol_name),
        );
        // A follower that joins again with what it said before changes nothing.
        s.call(c1, "a follower joins again", join, &m1.joining(join));

        // A third member, and a fourth who gives up waiting.
        identify(c2, m2, join);
        c2.send(join, &m2.joining(join));
        await_rebalance(c0, m0, beat, generation);
        c0.send(join, &m0.joining(join));
        c1.send(join, &m1.joining(join));
        let first = s.answer::<JoinGroupRequest>(c0, "the first in a group of three");
        s.answer::<JoinGroupRequest>(c1, "the second in a group of three");
        let third = s.answer::<JoinGroupRequest>(c2, "the third in a group of three");
        m2.id = third.member_id.clone();
        let generation = first.generation_id;
        c1.send(sync, &follower(m1, sync, generation, &first.protocol_name));
        c2.send(sync, &follower(m2, sync, generation, &first.protocol_name));
        std::thread::sleep(ARRIVED);
        // A member that the leader forgets gets nothing.
        let shares = [(m0.id.clone(), "0"), (m1.id.clone(), "1")];
        s.call(
            c0,
            "the leader forgets the third",
            sync,
            &leader(m0, sync, generation, &first.protocol_name, &shares),
        );
        s.answer::<SyncGroupRequest>(c1, "the second's share");
        s.answer::<SyncGroupRequest>(c2, "the third's share");
        describe(s, c2, "three members", &name);

        // The leader leaves; another one leads.
        s.call(c0, "the leader leaves", leave, &m0.leaving(leave));
        await_rebalance(c1, m1, beat, generation);
        c1.send(join, &m1.joining(join));
        std::thread::sleep(ARRIVED);
        let third = c2.exchange(join, &m2.joining(join));
        let (second, _) = c1.receive::<JoinGroupRequest>();
        // Kafka takes any of those who are left for the leader.
        let led = [(&second, &m1.id), (&third, &m2.id)]
            .iter()
            .any(|(r, id)| r.leader == **id);
        s.fact(&format!("v{join}: one of the others leads"), led);
        let one = second.leader == third.leader && second.generation_id == third.generation_id;
        s.fact(&format!("v{join}: they agree"), one);
        let told = (
            third.error_code,
            third.generation_id,
            second.members.len() + third.members.len(),
        );
        s.fact(
            &format!("v{join}: error, generation, members told"),
            format!("{told:?}"),
        );
        if leave >= 3 {
            let both = [m1, m2].map(|m| MemberIdentity::default().with_member_id(m.id.clone()));
            let stranger = MemberIdentity::default().with_member_id(text("stranger"));
            let mut identities = both.to_vec();
            identities.push(stranger);
            let request = m0.leaving(leave).with_members(identities);
            s.call(c0, "two and a stranger leave together", leave, &request);
        } else {
            s.call(c1, "the second leaves", leave, &m1.leaving(leave));
            s.call(c2, "the third leaves", leave, &m2.leaving(leave));
        }
        describe(s, c0, "everyone has left", &name);
    }
}

/// Gets the id that newer versions give before they let a member join.
fn identify(c: &mut Connection, member: &mut Member, version: i16) {
    if version >= 4 {
        member.id = c.exchange(version, &member.joining(version)).member_id;
    }
}

type Name = Option<kafka_protocol::protocol::StrBytes>;

fn follower(member: &Member, version: i16, generation: i32, protocol: &Name) -> SyncGroupRequest {
    leader(member, version, generation, protocol, &[])
}

fn leader(
    member: &Member,
    version: i16,
    generation: i32,
    protocol: &Name,
    shares: &[(kafka_protocol::protocol::StrBytes, &'static str)],
) -> SyncGroupRequest {
    let request = member.syncing(version, generation, shares);
    match version {
        5.. => request.with_protocol_name(protocol.clone()),
        _ => request,
    }
}

pub(crate) fn static_members(s: &mut Session) {
    for (join, sync, beat, leave) in ages(s).into_iter().filter(|(join, ..)| *join >= 5) {
        let name = s.named(&format!("static-{join}"));
        let mut c0 = s.connect();
        let mut c1 = s.connect();
        let mut host = Member::of(&name);
        host.instance = Some("host-0".into());
        let joined = host.join(s, &mut c0, "a static member joins", join);
        let generation = joined.generation_id;
        let shares = [(host.id.clone(), "everything")];
        s.call(
            &mut c0,
            "it syncs",
            sync,
            &host.syncing(sync, generation, &shares),
        );

        // The same host comes back without its id: it is replaced, and nothing rebalances.
        let mut back = Member {
            id: text(""),
            ..host.clone()
        };
        let returned = back.join(s, &mut c1, "it comes back", join);
        s.fact(&format!("v{join}: it has a new id"), back.id != host.id);
        s.fact(
            &format!("v{join}: the generation moved by"),
            returned.generation_id - generation,
        );
        let generation = returned.generation_id;
        s.call(
            &mut c1,
            "it syncs after coming back",
            sync,
            &back.syncing(sync, generation, &[]),
        );
        s.call(
            &mut c0,
            "the old one's heartbeat",
            beat,
            &host.beating(beat, generation),
        );
        s.call(
            &mut c0,
            "the old one's sync",
            sync,
            &host.syncing(sync, generation, &[]),
        );
        s.call(&mut c0, "the old one joins", join, &host.joining(join));
        let v = s.newest::<OffsetCommitRequest>();
        s.call(
            &mut c0,
            "the old one commits",
            v,
            &commit(&host, generation, "oracle-nothing", 0, 1, ""),
        );
        s.call(&mut c0, "the old one leaves", leave, &host.leaving(leave));
        s.call(
            &mut c1,
            "the new one's heartbeat",
            beat,
            &back.beating(beat, generation),
        );
        describe(s, &mut c1, "a static member", &name);
        // Changed metadata makes a rebalance.
        let mut changed = back.clone();
        changed.id = text("");
        changed.protocols = vec![("range", "another subscription".into())];
        let response = changed.join(s, &mut c1, "it comes back changed", join);
        let shares = [(changed.id.clone(), "everything else")];
        let generation = response.generation_id;
        s.call(
            &mut c1,
            "it syncs after the change",
            sync,
            &changed.syncing(sync, generation, &shares),
        );

        let mut unknown = changed.clone();
        unknown.instance = Some("host-9".into());
        s.call(
            &mut c1,
            "a heartbeat of an unknown instance",
            beat,
            &unknown.beating(beat, generation),
        );
        let mut by_instance = changed.clone();
        by_instance.id = text("");
        let mut gone = by_instance.clone();
        gone.instance = Some("host-9".into());
        s.call(
            &mut c1,
            "an unknown instance leaves",
            leave,
            &gone.leaving(leave),
        );
        s.call(
            &mut c1,
            "it leaves by its instance",
            leave,
            &by_instance.leaving(leave),
        );
        describe(s, &mut c1, "it has left", &name);
    }
}

/// A member that says nothing for its session timeout is gone.
pub(crate) fn expiry(s: &mut Session) {
    let name = s.named("expiring");
    let mut c = s.connect();
    let v = s.newest::<JoinGroupRequest>();
    let mut member = Member::of(&name);
    member.session_ms = 6000;
    let joined = member.join(s, &mut c, "join", v);
    let shares = [(member.id.clone(), "all")];
    s.call(
        &mut c,
        "sync",
        5,
        &member.syncing(5, joined.generation_id, &shares),
    );
    // A heartbeat at two thirds keeps it for a whole session more.
    std::thread::sleep(Duration::from_secs(4));
    s.call(
        &mut c,
        "in time",
        4,
        &member.beating(4, joined.generation_id),
    );
    std::thread::sleep(Duration::from_secs(4));
    describe(s, &mut c, "after eight seconds", &name);
    let state = |c: &mut Connection| {
        let request = DescribeGroupsRequest::default().with_groups(vec![group(&name)]);
        c.exchange(5, &request).groups[0].group_state.to_string()
    };
    eventually("the member is gone", || state(&mut c) == "Empty");
    s.call(
        &mut c,
        "too late",
        4,
        &member.beating(4, joined.generation_id),
    );
    describe(s, &mut c, "after it expired", &name);
}
