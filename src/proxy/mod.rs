//! The gateway as Pingora's `ProxyHttp`, and the bytes between its two sides: clients downstream, nodes upstream.
//!
//! Requests are served by an attempt loop of our own (`relay`), to which `request_filter` hands them. Those that ask for a switch of
//! protocols, such as WebSocket, go Pingora's own way (`stock`).
//! Both run the same [`Journey`](crate::journey::Journey) and seek their node in the same place. Over HTTP/1 a request
//! that has been read outlives its session: `edge` goes on with what was left in the connection's slot.

mod caller;
mod context;
mod downstream;
mod edge;
mod finish;
mod gateway;
mod hooks;
mod intake;
mod keyed;
mod limit;
mod refuse;
mod relay;
pub mod selection;
mod served_by;
mod stock;
mod upload;
mod upstream;

pub use edge::Edge;
pub use gateway::Gateway;
pub use upstream::connections::{Connections, IdleReaper};
