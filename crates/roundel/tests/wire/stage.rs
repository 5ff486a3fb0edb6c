//! A Roundel of its own for each group of cases.

use std::process::Command;
use std::time::Duration;

use roundel_testkit::wire::{Pairing, Shown, Slot, Stage, Topology};
use roundel_testkit::{Process, free_address, wait_for};

/// A running Roundel and the stage around it.
pub(crate) struct Proxy {
    pub(crate) stage: Stage,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topology = Topology::with_all(3, &Shown::make(folder.path()));
        let file = folder.path().join("roundel.toml");
        std::fs::write(&file, topology.roundel(free_address())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
        let mut process = Process::spawn(command.args(["serve", "-c"]).arg(&file));
        let stage = Stage::new(topology);
        wait_for("every lane", Duration::from_secs(30), || {
            assert!(process.try_exit().is_none(), "{process}");
            stage.serves().then_some(())
        });
        Self {
            stage,
            _process: process,
            _folder: folder,
        }
    }

    /// The slots in which HTTP/1 is spoken on both sides, in clear or over TLS.
    pub(crate) fn http1(&self) -> impl Iterator<Item = &Slot> {
        let http1 = |slot: &&Slot| matches!(slot.pairing, Pairing::Http1 | Pairing::Tls);
        self.stage.slots().iter().filter(http1)
    }

    /// A slot in clear, and one over TLS.
    pub(crate) fn both(&self) -> [&Slot; 2] {
        let first = |tls: bool| self.http1().find(|slot| slot.pairing.is_tls() == tls);
        [false, true].map(|tls| first(tls).unwrap())
    }
}
