//! Malote.
fn main() {}
