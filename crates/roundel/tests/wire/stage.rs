//! A Roundel of its own for each group of cases.

use std::process::Command;
use std::time::Duration;

use roundel_testkit::wire::{Stage, Topology};
use roundel_testkit::{Process, free_address, wait_for};

/// A running Roundel and the stage around it.
pub(crate) struct Proxy {
    pub(crate) stage: Stage,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let topology = Topology::new(4);
        let folder = tempfile::tempdir().unwrap();
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
}
