//! Campaigns: created, filled, launched, watched and ended.

mod commands;
mod launch;
mod life;
mod live;
mod preflight;
mod progress;
mod report;
pub(super) mod routes;
mod shapes;
mod streams;
mod trial;

pub(in crate::api) use commands::checked_category;
pub use commands::{cancel, create, launch, list, pause, read, resume, row_reader};
pub use launch::{CanaryBody, CanaryView, LaunchBody, WindowBody};
pub use life::HistoryView;
pub use live::LiveProgress;
pub use preflight::preflight;
pub use progress::PaceView;
pub(super) use routes::routes;
pub use shapes::{
    CampaignBody, CampaignView, CostView, CountsView, PreflightView, ProgressEvent, ProgressView,
};
