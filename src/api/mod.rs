//! The API's routes.

pub mod upload;
