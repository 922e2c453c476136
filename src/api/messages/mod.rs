//! Single messages and what became of any message.

pub(super) mod http;
mod requests;

pub(super) use http::routes;
pub use requests::{
    AcceptedMessage, HappeningView, MessageBody, MessageError, MessageQuery, MessageStory, MessageView, list, read, store,
};
