//! roundel.

fn main() {}
