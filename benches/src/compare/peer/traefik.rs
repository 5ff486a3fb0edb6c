//! Traefik: one thread of Go, no logs, routes from a file.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{ORIGINS, Peer, Place, version};

pub(super) fn peer(binary: &Path, place: &Place<'_>) -> Result<Peer> {
    let router =
        |name: &str| json!({ "entryPoints": [name], "rule": "PathPrefix(`/`)", "service": name });
    // JSON is YAML.
    let routes = json!({ "http": {
        "routers": { "plain": router("plain"), "sticky": router("sticky") },
        "services": {
            "plain": service(json!({})),
            "sticky": service(json!({ "sticky": { "cookie": { "name": "SERVERID" } } })),
        },
    }});
    let file = place.write("traefik.yml", &routes.to_string())?;
    let entry = |name: &str, address| format!("--entryPoints.{name}.address={address}");
    let arguments = [
        &entry("plain", place.plain()),
        &entry("sticky", place.sticky()),
        &format!("--providers.file.filename={}", file.display()),
        "--providers.file.watch=false",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=ERROR",
    ];
    Ok(Peer {
        version: version(binary, &["version"]),
        more: "X-Forwarded-* and X-Real-Ip",
        environment: vec![("GOMAXPROCS", "1".to_owned())],
        ..place.peer("traefik", binary, &arguments)
    })
}

fn service(extra: Value) -> Value {
    let servers = ORIGINS.map(|origin| json!({ "url": format!("http://{origin}") }));
    let mut balancer = json!({ "servers": servers, "passHostHeader": true });
    if let (Some(all), Some(more)) = (balancer.as_object_mut(), extra.as_object()) {
        all.extend(more.clone());
    }
    json!({ "loadBalancer": balancer })
}
