//! The API's routes.

pub mod campaigns;
pub mod dead_letters;
pub mod messages;
pub mod refused;
pub mod suppressions;
pub mod upload;
