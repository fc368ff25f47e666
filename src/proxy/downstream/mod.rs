//! The client's side: its connection, the requests that come on it, and the answers that go back.

pub mod body;
pub mod client;
pub mod http1;
pub mod http2;
pub mod lent;
pub mod linger;
pub mod own_error;
pub mod preface;
pub mod wire;
