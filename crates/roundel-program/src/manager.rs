//! What the service manager is told, if there is one: `sd_notify(3)`.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing here does anything.

use std::sync::Arc;
use std::time::Duration;

use roundel_proxy::Proxy;
use sd_notify::NotifyState;

/// Says that we serve, and which process does: after a renewal it is another one.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// Says that the configuration is being read; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager hears nothing of the reload: {error}"),
    }
}

/// Says that we end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that we live while every worker turns, as often as was asked. Ends at once if it was not.
pub(crate) async fn keep_alive(proxy: Arc<Proxy>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Half of the limit is what sd_watchdog_enabled(3) recommends.
    let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        beat.tick().await;
        let (worker, stalled) = proxy.slowest_worker();
        if stalled < limit {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                "worker {worker} hangs since {stalled:?}; the service manager may end us"
            );
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
