//! Status webhooks: planned as events, kept in one heap, sent by a bounded number of requests.

mod dispatch;
mod envelope;
mod event;
mod post;
mod queue;

pub(crate) use dispatch::run;
pub(crate) use event::Event;
pub(crate) use post::{Poster, check_callback};
pub(crate) use queue::Queue;
