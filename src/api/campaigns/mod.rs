//! Campaigns: created, filled, launched, watched and ended.

mod commands;
pub(super) mod http;
mod live;
mod preflight;
mod shapes;
pub(super) mod streams;

pub(in crate::api) use commands::checked_category;
pub use commands::{cancel, create, launch, list, pause, read, resume, row_reader};
pub(super) use http::routes;
pub use live::LiveProgress;
pub use preflight::preflight;
pub use shapes::{CampaignBody, CampaignView, CostView, CountsView, PreflightView, ProgressView};
