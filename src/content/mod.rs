//! What a message says: templates with `{{column}}` in them, the values of each recipient, and Meta's request body.
//!
//! Pure: JSON in, JSON out. A template is checked when its campaign is created and each recipient's values when they
//! are uploaded, so that rendering, which runs once for each call to Meta, has nothing left to refuse.

mod body;
mod placeholders;
mod render;
mod template;

pub use body::{BodyRefused, SingleBody, single_body};
pub use render::{RenderError, render};
pub use template::{MissingValue, Template, TemplateRefused};
