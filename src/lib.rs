//! Malote.
