//! The one certificate that all peers show.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::load::NAME;

/// Where it lies.
pub(super) struct Certificate {
    /// It alone, which clients trust.
    pub(super) alone: PathBuf,
    /// With its key behind it.
    pub(super) with_key: PathBuf,
}

impl Certificate {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            alone: folder.join("certificate.pem"),
            with_key: folder.join("with-key.pem"),
        }
    }

    /// Makes it: self-signed, with an ECDSA key on P-256.
    pub(super) fn make(folder: &Path) -> Result<()> {
        let paths = Self::in_folder(folder);
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(paths.alone, &certificate)?;
        std::fs::write(paths.with_key, certificate + &key)?;
        Ok(())
    }
}
