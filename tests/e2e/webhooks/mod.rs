//! The edge: who is believed at which door, what is kept, and what happens when a server behind it is away.

mod cable;
mod crash;
mod dependencies;
mod edge;
mod edge_host;
mod fixtures;
mod native;
mod relay;
mod scene;
