//! Any value of each message type.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use roundel_gossip::wire::{
    Accusation, Ack, BufferedEvent, EventGroup, Filter, IndirectPing, JoinIntent, KeyRequest,
    KeyResponse, LeaveIntent, MemberRecord, NodeRecord, NodeState, Ping, PushPullState, Query,
    QueryResponse, RecordState, Relay, SerfMessage, Source, UserEvent, Versions,
};

/// Names of a node, long enough to reach each way to write a length.
pub(super) fn short_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z][a-z0-9-]{0,15}",
        1 => "\\PC{1,20}",
        1 => "[a-z]{31,33}",
        1 => "[a-z]{255}",
    ]
}

fn payload() -> impl Strategy<Value = Option<Vec<u8>>> {
    let long = vec(any::<u8>(), 255..300);
    option::of(prop_oneof![4 => vec(any::<u8>(), 0..60), 1 => long])
}

/// Addresses that a node can have, IPv4 in both forms.
fn address() -> impl Strategy<Value = SocketAddr> {
    let usable = |ip: &IpAddr| {
        let ip = ip.to_canonical();
        !ip.is_unspecified() && !ip.is_multicast() && ip.to_string() != "255.255.255.255"
    };
    let mapped = any::<Ipv4Addr>().prop_map(|v4| IpAddr::V6(v4.to_ipv6_mapped()));
    let ip = prop_oneof![2 => any::<IpAddr>(), 1 => mapped].prop_filter("usable", usable);
    (ip, 1_u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn source() -> impl Strategy<Value = Source> {
    let node = prop_oneof![Just(String::new()), short_name()];
    (option::of(address()), node).prop_map(|(address, node)| Source { address, node })
}

pub(super) fn ping() -> impl Strategy<Value = Ping> {
    let node = prop_oneof![Just(String::new()), short_name()];
    (node, any::<u32>(), source()).prop_map(|(node, seq, source)| Ping { node, seq, source })
}

pub(super) fn indirect_ping() -> impl Strategy<Value = IndirectPing> {
    (ping(), address(), any::<bool>()).prop_map(|(ping, target, nack)| IndirectPing {
        node: ping.node,
        target,
        seq: ping.seq,
        nack,
        source: ping.source,
    })
}

pub(super) fn ack() -> impl Strategy<Value = Ack> {
    (any::<u32>(), payload()).prop_map(|(seq, payload)| Ack { seq, payload })
}

pub(super) fn accusation() -> impl Strategy<Value = Accusation> {
    (short_name(), any::<u32>(), short_name()).prop_map(|(node, incarnation, from)| Accusation {
        node,
        incarnation,
        from,
    })
}

pub(super) fn node() -> impl Strategy<Value = NodeRecord> {
    let meta = prop_oneof![4 => vec(any::<u8>(), 0..80), 1 => vec(any::<u8>(), 512)];
    let versions = prop_oneof![
        Just(Versions::SERF),
        Just(Versions::from_wire(&[1, 5, 2, 2, 5, 4]).unwrap()),
        Just(Versions::from_wire(&[1, 3, 3, 0, 9, 5]).unwrap()),
    ];
    (short_name(), address(), meta, any::<u32>(), versions).prop_map(
        |(name, address, meta, incarnation, versions)| {
            NodeRecord::new(name, address, meta, incarnation, versions).unwrap()
        },
    )
}

pub(super) fn node_state() -> impl Strategy<Value = NodeState> {
    let state = prop_oneof![
        Just(RecordState::Alive),
        Just(RecordState::Suspect),
        Just(RecordState::Dead),
        Just(RecordState::Left),
    ];
    (node(), state).prop_map(|(record, state)| NodeState { record, state })
}

pub(super) fn serf_message() -> impl Strategy<Value = SerfMessage> {
    prop_oneof![
        (any::<u64>(), short_name(), any::<bool>()).prop_map(|(ltime, node, prune)| {
            SerfMessage::Leave(LeaveIntent { ltime, node, prune })
        }),
        (any::<u64>(), short_name())
            .prop_map(|(ltime, node)| SerfMessage::Join(JoinIntent { ltime, node })),
        serf_state().prop_map(SerfMessage::PushPull),
        user_event().prop_map(SerfMessage::UserEvent),
        query().prop_map(SerfMessage::Query),
        response().prop_map(SerfMessage::QueryResponse),
        option::of(member()).prop_map(SerfMessage::ConflictResponse),
        vec(any::<u8>(), 0..40).prop_map(|key| SerfMessage::KeyRequest(KeyRequest { key })),
        key_response().prop_map(SerfMessage::KeyResponse),
        (address(), short_name(), vec(any::<u8>(), 0..60))
            .prop_map(|(to, node, message)| { SerfMessage::Relay(Relay { to, node, message }) }),
    ]
}

fn user_event() -> impl Strategy<Value = UserEvent> {
    let name = "\\PC{0,40}";
    (any::<u64>(), name, payload(), any::<bool>()).prop_map(|(ltime, name, payload, coalesce)| {
        UserEvent {
            ltime,
            name,
            payload,
            coalesce,
        }
    })
}

fn query() -> impl Strategy<Value = Query> {
    let filter = prop_oneof![
        vec(short_name(), 0..3).prop_map(|nodes| Filter::Nodes(nodes).encode()),
        ("[a-z]{1,5}", "\\PC{0,20}").prop_map(|(tag, expr)| Filter::Tag { tag, expr }.encode()),
        vec(any::<u8>(), 0..10),
    ];
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u8>());
    let timeout = 0..=i64::MAX as u64;
    (numbers, address(), vec(filter, 0..3), timeout, user_event()).prop_map(
        |((ltime, id, flags, relay_factor), from, filters, timeout, event)| Query {
            ltime,
            id,
            from,
            source_node: String::new(),
            filters,
            flags,
            relay_factor,
            timeout: Duration::from_nanos(timeout),
            name: event.name,
            payload: event.payload,
        },
    )
}

fn response() -> impl Strategy<Value = QueryResponse> {
    (
        any::<u64>(),
        any::<u32>(),
        short_name(),
        any::<u32>(),
        payload(),
    )
        .prop_map(|(ltime, id, from, flags, payload)| QueryResponse {
            ltime,
            id,
            from,
            flags,
            payload,
        })
}

fn key_response() -> impl Strategy<Value = KeyResponse> {
    let text = "\\PC{0,50}";
    let keys = option::of(vec("[A-Za-z0-9+/]{43}=", 0..20));
    (any::<bool>(), text, keys, text).prop_map(|(result, message, keys, primary_key)| KeyResponse {
        result,
        message,
        keys,
        primary_key,
    })
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[a-z]{1,8}", "\\PC{0,40}", 0..20)
}

fn member() -> impl Strategy<Value = MemberRecord> {
    (
        short_name(),
        address(),
        tags(),
        0_u8..5,
        any::<[u8; 3]>(),
        any::<[u8; 3]>(),
    )
        .prop_map(
            |(name, address, tags, status, protocol, delegate)| MemberRecord {
                name,
                address,
                tags,
                status,
                protocol,
                delegate,
            },
        )
}

fn serf_state() -> impl Strategy<Value = PushPullState> {
    let event =
        ("\\PC{0,20}", payload()).prop_map(|(name, payload)| BufferedEvent { name, payload });
    let group =
        (any::<u64>(), vec(event, 0..3)).prop_map(|(ltime, events)| EventGroup { ltime, events });
    (
        any::<[u64; 3]>(),
        vec((short_name(), any::<u64>()), 0..20),
        vec(short_name(), 0..20),
        option::of(vec(option::of(group), 0..20)),
    )
        .prop_map(
            |(clocks, status_ltimes, left_members, events)| PushPullState {
                ltime: clocks[0],
                event_ltime: clocks[1],
                query_ltime: clocks[2],
                status_ltimes,
                left_members,
                events,
            },
        )
}
