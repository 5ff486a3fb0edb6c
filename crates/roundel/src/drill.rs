//! Panics on order, for the tests of what follows one. Debug builds only.

use std::fs;

use roundel_proxy::Proxy;

/// Names the file that holds the order: `control`, or `worker N`. It is read once a second and
/// removed before it is obeyed.
const VARIABLE: &str = "ROUNDEL_PANIC_FILE";

/// Obeys the order, if there is one.
pub(crate) fn panic_if_told(proxy: &Proxy) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let Ok(order) = fs::read_to_string(&path) else {
        return;
    };
    let _ = fs::remove_file(&path);
    match order.trim().split_once(' ') {
        Some(("worker", number)) => number
            .parse()
            .into_iter()
            .for_each(|n| proxy.panic_worker(n)),
        _ if order.trim() == "control" => panic!("a panic that was asked for"),
        _ => tracing::warn!("{VARIABLE}: {order:?} is neither `control` nor `worker N`"),
    }
}
