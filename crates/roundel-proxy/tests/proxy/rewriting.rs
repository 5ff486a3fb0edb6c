//! rewriting
