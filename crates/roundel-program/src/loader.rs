//! Loads the same configuration again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use roundel_config::{Given, LoadError, Settings};

use crate::cli::ServeArgs;

/// Remembers how the program was called, so that a reload means the same flags.
#[derive(Clone)]
pub(crate) struct Loader {
    args: ServeArgs,
    given: Given,
    adjust: Arc<Adjust>,
}

/// What changes the settings after each load.
type Adjust = dyn Fn(&mut Settings) + Send + Sync;

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loader");
        shown.field("args", &self.args).finish_non_exhaustive()
    }
}

impl Loader {
    pub(crate) fn new(args: ServeArgs, given: Given) -> Self {
        Self {
            args,
            given,
            adjust: Arc::new(|_| {}),
        }
    }

    /// Has `adjust` change the settings after each load; `demo` has defaults of its own.
    pub(crate) fn adjusted(self, adjust: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        let adjust = Arc::new(adjust);
        Self { adjust, ..self }
    }

    /// Reads and resolves the configuration.
    ///
    /// Errors: as [`roundel_config::load`]; standard input can be read only once.
    pub(crate) fn load(&self) -> Result<Settings, LoadError> {
        let mut settings = roundel_config::load(&self.args.flags, &self.given)?;
        (self.adjust)(&mut settings);
        Ok(settings)
    }

    /// Whether another process can load the same; standard input can be read only once.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.args.flags.config.is_none() || self.file().is_some()
    }

    /// The file to watch for changes.
    pub(crate) fn file(&self) -> Option<&Path> {
        let path = self.args.flags.config.as_deref()?;
        (path.as_os_str() != "-").then_some(path)
    }
}
