//! roundel-http1.
