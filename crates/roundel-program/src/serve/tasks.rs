//! The tasks that the process cannot do without, each with a name to tell of its end by.

use std::collections::HashMap;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::{Id, JoinSet};

/// Tasks by name. Dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts one on the runtime of whoever calls.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_on(name, task, &Handle::current());
    }

    /// Starts one on another runtime.
    pub(super) fn spawn_on(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
        runtime: &Handle,
    ) {
        let task = self.set.spawn_on(task, runtime);
        self.names.insert(task.id(), name);
    }

    /// Waits until one panics and says which; one that ends by itself has done its work.
    ///
    /// Nothing is lost when the future is dropped before its end.
    pub(super) async fn broken(&mut self) -> &'static str {
        loop {
            match self.set.join_next_with_id().await {
                Some(Err(error)) if error.is_panic() => {
                    return self.names.get(&error.id()).copied().unwrap_or_default();
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&mut self) {
        while self.set.join_next().await.is_some() {}
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.set.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("short", async {});
        tasks.spawn("long", std::future::pending());
        tasks.spawn("broken", async { panic!("a panic that was asked for") });
        assert_eq!(tasks.broken().await, "broken");
        tasks.shutdown().await;
        tasks.ended().await;
    }
}
