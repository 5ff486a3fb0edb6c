//! Envoy: one worker, no admin port, no request ids, a cookie that names the server.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{ORIGINS, Peer, Place, version};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

pub(super) fn peer(binary: &Path, place: &Place<'_>) -> Result<Peer> {
    let config = json!({ "static_resources": {
        "listeners": [
            listener("plain", place.plain(), None),
            listener("sticky", place.sticky(), None),
            listener("tls", place.tls(), Some(&place.certificate().with_key)),
        ],
        "clusters": [cluster()],
    }});
    let file = place.write("envoy.json", &serde_json::to_string_pretty(&config)?)?;
    let arguments = [
        "-c",
        &file.to_string_lossy(),
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--disable-hot-restart",
    ];
    Ok(Peer {
        version: version(binary, &["--version"]),
        tls: Some(place.tls()),
        more: "x-forwarded-proto, x-envoy-* fields and its statistics",
        ..place.peer("envoy", binary, &arguments)
    })
}

fn listener(name: &str, address: SocketAddr, certificate: Option<&Path>) -> Value {
    let mut filters = vec![json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
    })];
    if name == "sticky" {
        filters.insert(0, stateful_session());
    }
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "generate_request_id": false,
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{
                    "match": { "prefix": "/" },
                    "route": { "cluster": "origins", "timeout": "60s" },
                }],
            }]},
        },
    }]});
    if let Some(certificate) = certificate {
        chain["transport_socket"] = transport_socket(certificate);
    }
    json!({
        "name": name,
        "address": socket_address(address),
        "filter_chains": [chain],
    })
}

fn transport_socket(certificate: &Path) -> Value {
    let file = json!({ "filename": certificate });
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": { "ecdh_curves": ["X25519MLKEM768", "X25519"] },
                "tls_certificates": [{ "certificate_chain": file, "private_key": file }],
            },
        },
    })
}

fn stateful_session() -> Value {
    json!({
        "name": "envoy.filters.http.stateful_session",
        "typed_config": {
            "@type": format!("{TYPES}.filters.http.stateful_session.v3.StatefulSession"),
            "session_state": {
                "name": "envoy.http.stateful_session.cookie",
                "typed_config": {
                    "@type": format!("{TYPES}.http.stateful_session.cookie.v3.CookieBasedSessionState"),
                    "cookie": { "name": "SERVERID", "path": "/" },
                },
            },
        },
    })
}

fn cluster() -> Value {
    let endpoints = ORIGINS.map(|origin| {
        let address = origin.parse().expect("an origin is an address");
        json!({ "endpoint": { "address": socket_address(address) } })
    });
    json!({
        "name": "origins",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": { "thresholds": [{
            "max_connections": 16_384,
            "max_pending_requests": 16_384,
            "max_requests": 16_384,
        }]},
        "load_assignment": {
            "cluster_name": "origins",
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    }})
}
