//! The one source of cryptography.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// AWS-LC with the hybrid exchange X25519MLKEM768 first.
pub(crate) fn shared() -> Arc<CryptoProvider> {
    static SHARED: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}
