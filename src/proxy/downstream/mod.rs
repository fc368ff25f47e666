//! The client's side: its connection, the requests that come on it, and the answers that go back.

pub(super) mod body;
pub(super) mod client;
pub(super) mod gate;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod inlet;
pub(super) mod keepalive;
pub(super) mod lent;
pub(super) mod linger;
pub(super) mod own_answer;
pub(super) mod own_error;
pub(super) mod preface;
pub(super) mod tail;
pub(super) mod wire;
