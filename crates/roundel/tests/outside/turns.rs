//! Who may use the machine at the same time.
//!
//! Tests that measure a time or fill the machine run alone, and those of Chromium's sockets, which it aborts when a
//! network interface comes or goes; all others run side by side.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// Waits until nothing else runs, and keeps it so for as long as the guard lives.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Runs beside others that do not ask to be alone.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}
