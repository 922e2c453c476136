//! Campaigns: created, filled, launched, watched and ended.

mod commands;
mod live;
mod preflight;
mod shapes;

pub(in crate::api) use commands::checked_category;
pub use commands::{cancel, create, launch, pause, read, resume, row_reader};
pub use live::LiveProgress;
pub use preflight::preflight;
pub use shapes::{CampaignBody, CampaignView, CostView, CountsView, PreflightView, ProgressView};
