//! Single messages and what became of any message.

mod requests;
pub(super) mod routes;
pub(super) mod unknown;

pub use requests::{
    AcceptedMessage, HappeningView, MessageBody, MessageError, MessageQuery, MessageStory, MessageView, list,
    read, store,
};
pub(super) use routes::{follow, routes};
