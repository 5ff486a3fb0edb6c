//! Panics on order, for the tests of what follows one. Debug builds only.

use std::fs;

use crate::control::Parts;

/// Names the file that holds the order: `control`, `collector`, `aggregator`, `gossip` or
/// `worker N`. It is read once a second and removed before it is obeyed.
const VARIABLE: &str = "ROUNDEL_PANIC_FILE";

/// Obeys the order, if there is one. The collector works in the control task.
pub(crate) async fn panic_if_told(parts: &Parts) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let Ok(order) = fs::read_to_string(&path) else {
        return;
    };
    let _ = fs::remove_file(&path);
    let (part, number) = order.trim().split_once(' ').unwrap_or((order.trim(), ""));
    match (part, number.parse()) {
        ("worker", Ok(number)) => parts.proxy.panic_worker(number),
        ("control", _) => panic!("a panic that was asked for"),
        ("collector", _) => parts.collector.panic(),
        ("aggregator", _) => parts.sources.panic(),
        ("gossip", _) => {
            if let Some(gossip) = &parts.gossip {
                gossip.handle().panic().await;
            }
        }
        _ => tracing::warn!("{VARIABLE}: {order:?} is no part of this process"),
    }
}
