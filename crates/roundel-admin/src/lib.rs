//! roundel-admin.
