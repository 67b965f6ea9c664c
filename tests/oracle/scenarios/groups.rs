//! Groups of one member in every version, their refusals, and their administration.

use bytes::Bytes;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};
use kafka_protocol::protocol::StrBytes;

use super::commits::subscription;
use crate::session::{Connection, Session, eventually, text};

pub(crate) const MEMBER_ID_REQUIRED: i16 = 79;

/// Group, topic id and partition.
const SHARE_KEY: &str = "g:AAAAAAAAAAAAAAAAAAAAAQ:0";

pub(crate) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// What one member says of itself.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) id: StrBytes,
    pub(crate) instance: Option<String>,
    pub(crate) session_ms: i32,
    pub(crate) protocol_type: &'static str,
    pub(crate) protocols: Vec<(&'static str, Bytes)>,
}

impl Member {
    pub(crate) fn of(group: &str) -> Member {
        Member {
            group: group.to_string(),
            id: text(""),
            instance: None,
            session_ms: 10_000,
            // Not "consumer", whose metadata Kafka takes apart.
            protocol_type: "oracle",
            protocols: vec![("range", Bytes::from_static(b"subscription"))],
        }
    }

    pub(crate) fn joining(&self, v: i16) -> JoinGroupRequest {
        let protocols = self.protocols.iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(*name))
                .with_metadata(metadata.clone())
        });
        let mut request = JoinGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_session_timeout_ms(self.session_ms)
            .with_member_id(self.id.clone())
            .with_protocol_type(text(self.protocol_type))
            .with_protocols(protocols.collect());
        if v >= 1 {
            request = request.with_rebalance_timeout_ms(15_000);
        }
        if v >= 5 {
            request = request.with_group_instance_id(self.instance.as_ref().map(text));
        }
        if v >= 8 {
            request = request.with_reason(Some(text("because")));
        }
        request
    }

    /// Joins, and once more with the id that newer versions give first.
    pub(crate) fn join(
        &mut self,
        s: &mut Session,
        c: &mut Connection,
        label: &str,
        v: i16,
    ) -> JoinGroupResponse {
        let response = s.call(c, label, v, &self.joining(v));
        self.id = response.member_id.clone();
        if response.error_code != MEMBER_ID_REQUIRED {
            return response;
        }
        s.call(c, &format!("{label}, with its id"), v, &self.joining(v))
    }

    /// What a leader sends for everyone, and a follower for nobody.
    pub(crate) fn syncing(
        &self,
        v: i16,
        generation: i32,
        shares: &[(StrBytes, &'static str)],
    ) -> SyncGroupRequest {
        let assignments = shares.iter().map(|(member, share)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.clone())
                .with_assignment(Bytes::from_static(share.as_bytes()))
        });
        let mut request = SyncGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments.collect());
        if v >= 3 {
            request = request.with_group_instance_id(self.instance.as_ref().map(text));
        }
        if v >= 5 {
            request = request
                .with_protocol_type(Some(text(self.protocol_type)))
                .with_protocol_name(Some(text(self.protocols[0].0)));
        }
        request
    }

    pub(crate) fn beating(&self, v: i16, generation: i32) -> HeartbeatRequest {
        let request = HeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(generation)
            .with_member_id(self.id.clone());
        match v {
            3.. => request.with_group_instance_id(self.instance.as_ref().map(text)),
            _ => request,
        }
    }

    pub(crate) fn leaving(&self, v: i16) -> LeaveGroupRequest {
        let request = LeaveGroupRequest::default().with_group_id(group(&self.group));
        if v < 3 {
            return request.with_member_id(self.id.clone());
        }
        let mut identity = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.as_ref().map(text));
        if v >= 5 {
            identity = identity.with_reason(Some(text("done")));
        }
        request.with_members(vec![identity])
    }
}

pub(crate) fn describe(s: &mut Session, c: &mut Connection, label: &str, name: &str) {
    let request = DescribeGroupsRequest::default().with_groups(vec![group(name)]);
    s.call(c, label, 5, &request);
}

/// Makes the topic of the offsets and waits until each of its partitions coordinates: that takes a
/// different time on each broker, and they say so until then.
pub(crate) fn warm_up(s: &Session) {
    const UNKNOWN_MEMBER_ID: i16 = 25;
    const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    let mut c = s.connect();
    let ready = FindCoordinatorRequest::default().with_key(text("any"));
    eventually("a coordinator", || c.exchange(1, &ready).error_code == 0);
    // Transactions and share groups have topics of their own; a broker without them says so at
    // once.
    for (kind, key) in [(1, "someone"), (2, SHARE_KEY)] {
        let version = s.newest::<FindCoordinatorRequest>();
        let ready = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(vec![text(key)]);
        eventually("a coordinator of each kind", || {
            let response = c.exchange(version, &ready);
            response.coordinators[0].error_code != COORDINATOR_NOT_AVAILABLE
        });
    }
    // So many names fall into every one of 50 partitions.
    for i in 0..400 {
        let mut member = Member::of(&format!("warm-up-{i}"));
        member.id = text("nobody");
        eventually("every group has a coordinator", || {
            c.exchange(0, &member.beating(0, 1)).error_code == UNKNOWN_MEMBER_ID
        });
    }
}

pub(crate) fn find_coordinator(s: &mut Session) {
    let mut c = s.connect();
    let name = s.named("group");
    for v in s.versions::<FindCoordinatorRequest>() {
        let ask = |keys: &[&str], kind: i8| {
            let request = FindCoordinatorRequest::default();
            let request = match v {
                4.. => request.with_coordinator_keys(keys.iter().map(|k| text(*k)).collect()),
                _ => request.with_key(text(keys[0])),
            };
            match v {
                1.. => request.with_key_type(kind),
                _ => request,
            }
        };
        s.call(&mut c, "of a group", v, &ask(&[&name], 0));
        s.call(&mut c, "of an empty name", v, &ask(&[""], 0));
        if v >= 1 {
            s.call(&mut c, "of a transaction", v, &ask(&["someone"], 1));
            s.call(&mut c, "of a share group", v, &ask(&[SHARE_KEY], 2));
            for kind in [3, -1, 9] {
                s.call(&mut c, &format!("of type {kind}"), v, &ask(&[&name], kind));
            }
        }
        if v >= 4 {
            s.call(&mut c, "of three groups", v, &ask(&["a", "b", "c"], 0));
            s.call(&mut c, "of one twice", v, &ask(&["a", "a"], 0));
            let none = FindCoordinatorRequest::default().with_coordinator_keys(vec![]);
            s.call(&mut c, "of none", v, &none);
        }
    }
}

pub(crate) fn versions(s: &mut Session) {
    for v in s.versions::<JoinGroupRequest>() {
        let mut c = s.connect();
        let mut member = Member::of(&s.named(&format!("g{v}")));
        let joined = member.join(s, &mut c, "join", v);
        let generation = joined.generation_id;
        let sync = v.min(s.newest::<SyncGroupRequest>());
        let beat = v.min(s.newest::<HeartbeatRequest>());
        let leave = v.min(s.newest::<LeaveGroupRequest>());
        s.call(
            &mut c,
            "heartbeat before sync",
            beat,
            &member.beating(beat, generation),
        );
        let shares = [(member.id.clone(), "all of it")];
        s.call(
            &mut c,
            "sync",
            sync,
            &member.syncing(sync, generation, &shares),
        );
        s.call(
            &mut c,
            "sync again",
            sync,
            &member.syncing(sync, generation, &[]),
        );
        s.call(&mut c, "heartbeat", beat, &member.beating(beat, generation));
        let stranger = Member {
            id: text("stranger"),
            ..member.clone()
        };
        for (label, who, generation) in [
            ("an old generation", &member, generation - 1),
            ("a later generation", &member, generation + 1),
            ("a stranger", &stranger, generation),
        ] {
            s.call(
                &mut c,
                &format!("heartbeat of {label}"),
                beat,
                &who.beating(beat, generation),
            );
            s.call(
                &mut c,
                &format!("sync of {label}"),
                sync,
                &who.syncing(sync, generation, &[]),
            );
        }
        s.call(&mut c, "a stranger leaves", leave, &stranger.leaving(leave));
        s.call(&mut c, "a stranger joins", v, &stranger.joining(v));
        describe(s, &mut c, "described", &member.group);
        let again = member.join(s, &mut c, "join again", v);
        s.fact(
            &format!("v{v}: the generation moved by"),
            again.generation_id - generation,
        );
        let shares = [(member.id.clone(), "all again")];
        s.call(
            &mut c,
            "sync after joining again",
            sync,
            &member.syncing(sync, again.generation_id, &shares),
        );
        s.call(&mut c, "leave", leave, &member.leaving(leave));
        s.call(&mut c, "leave again", leave, &member.leaving(leave));
        s.call(
            &mut c,
            "heartbeat after leaving",
            beat,
            &member.beating(beat, generation),
        );
        describe(s, &mut c, "described after leaving", &member.group);
    }
}

pub(crate) fn refusals(s: &mut Session) {
    let mut c = s.connect();
    let name = s.named("refused");
    for v in s.versions::<JoinGroupRequest>() {
        let member = Member::of(&name);
        let mut short = member.clone();
        short.session_ms = 100;
        let mut long = member.clone();
        long.session_ms = 10_000_000;
        let mut nowhere = member.clone();
        nowhere.group = String::new();
        let mut typeless = member.clone();
        typeless.protocol_type = "";
        let mut speechless = member.clone();
        speechless.protocols = vec![];
        for (label, member) in [
            ("short session", short),
            ("long session", long),
            ("empty group", nowhere.clone()),
            ("no protocol type", typeless),
            ("no protocols", speechless),
        ] {
            s.call(&mut c, label, v, &member.joining(v));
        }
        let v = v.min(s.newest::<SyncGroupRequest>());
        s.call(
            &mut c,
            "sync of an unknown group",
            v,
            &member.syncing(v, 1, &[]),
        );
        s.call(
            &mut c,
            "sync of an empty group",
            v,
            &nowhere.syncing(v, 1, &[]),
        );
        let v = v.min(s.newest::<HeartbeatRequest>());
        s.call(
            &mut c,
            "heartbeat of an unknown group",
            v,
            &member.beating(v, 1),
        );
        s.call(
            &mut c,
            "heartbeat of an empty group",
            v,
            &nowhere.beating(v, 1),
        );
        s.call(&mut c, "leave an unknown group", v, &member.leaving(v));
        s.call(&mut c, "leave an empty group", v, &nowhere.leaving(v));
    }
    // What does not fit the members who are there.
    let v = s.newest::<JoinGroupRequest>();
    let mut first = Member::of(&s.named("inconsistent"));
    first.protocols = vec![("range", "r".into()), ("sticky", "s".into())];
    first.join(s, &mut c, "the first", v);
    let mut connect = Member::of(&first.group);
    connect.protocol_type = "connect";
    s.call(&mut c, "another protocol type", v, &connect.joining(v));
    let mut stranger = Member::of(&first.group);
    stranger.protocols = vec![("roundrobin", "x".into())];
    s.call(&mut c, "no common protocol", v, &stranger.joining(v));
    let sync = s.newest::<SyncGroupRequest>();
    for (label, kind, name) in [
        ("wrong protocol type", "connect", "range"),
        ("wrong protocol name", "oracle", "sticky"),
    ] {
        let request = first
            .syncing(sync, 1, &[])
            .with_protocol_type(Some(text(kind)))
            .with_protocol_name(Some(text(name)));
        s.call(&mut c, label, sync, &request);
    }
}

pub(crate) fn administration(s: &mut Session) {
    let mut c = s.connect();
    let v = s.newest::<JoinGroupRequest>();
    let mut member = Member::of(&s.named("administered"));
    member.protocol_type = "consumer";
    member.protocols = vec![("range", subscription("a-topic"))];
    let joined = member.join(s, &mut c, "join", v);
    let shares = [(member.id.clone(), "share")];
    c.exchange(5, &member.syncing(5, joined.generation_id, &shares));
    let (name, unknown) = (member.group.clone(), s.named("unknown"));

    for v in s.versions::<DescribeGroupsRequest>() {
        let ask = |names: &[&str]| {
            DescribeGroupsRequest::default().with_groups(names.iter().map(|n| group(n)).collect())
        };
        s.call(&mut c, "stable", v, &ask(&[&name]));
        s.call(&mut c, "unknown", v, &ask(&[&unknown]));
        s.call(&mut c, "both", v, &ask(&[&name, &unknown]));
        s.call(&mut c, "empty name", v, &ask(&[""]));
        s.call(&mut c, "none", v, &ask(&[]));
        if v >= 3 {
            let request = ask(&[&name]).with_include_authorized_operations(true);
            s.call(&mut c, "with operations", v, &request);
        }
    }
    for v in s.versions::<ListGroupsRequest>() {
        let mut ask = |s: &mut Session, label: &str, states: &[&str], types: &[&str]| {
            let mut request = ListGroupsRequest::default();
            if v >= 4 {
                request = request.with_states_filter(states.iter().map(|n| text(*n)).collect());
            }
            if v >= 5 {
                request = request.with_types_filter(types.iter().map(|n| text(*n)).collect());
            }
            let mut response = c.exchange(v, &request);
            response.groups.retain(|g| g.group_id.as_str() == name);
            s.note::<ListGroupsRequest>(label, v, &response);
        };
        ask(s, "all", &[], &[]);
        if v >= 4 {
            ask(s, "stable ones", &["Stable"], &[]);
            ask(s, "in small letters", &["stable"], &[]);
            ask(s, "empty or dead ones", &["Empty", "Dead"], &[]);
            ask(s, "in an unknown state", &["Sleeping"], &[]);
        }
        if v >= 5 {
            ask(s, "classic ones", &[], &["classic"]);
            ask(s, "in large letters", &[], &["CLASSIC"]);
            ask(s, "consumer ones", &[], &["consumer"]);
            ask(s, "of an unknown type", &[], &["strange"]);
            ask(s, "stable classic ones", &["Stable"], &["classic"]);
        }
    }
    for v in s.versions::<DeleteGroupsRequest>() {
        let ask = |names: &[&str]| {
            DeleteGroupsRequest::default()
                .with_groups_names(names.iter().map(|n| group(n)).collect())
        };
        s.call(&mut c, "one with a member", v, &ask(&[&name]));
        s.call(&mut c, "unknown", v, &ask(&[&unknown]));
        s.call(&mut c, "empty name", v, &ask(&[""]));
        s.call(&mut c, "none", v, &ask(&[]));
        let mut other = Member::of(&s.named(&format!("deleted-{v}")));
        let joined = other.join(s, &mut c, "join to be deleted", 9);
        assert_eq!(joined.error_code, 0, "join");
        c.exchange(3, &other.leaving(3));
        s.call(&mut c, "one that is empty", v, &ask(&[&other.group]));
        s.call(
            &mut c,
            "twice in one request",
            v,
            &ask(&[&other.group, &other.group]),
        );
        describe(s, &mut c, "described after deletion", &other.group);
    }
}
