//! Credits: the limits of nodes and keys, divided among several gateways that share one ledger.
//!
//! A *resource* is something that has units: a node's `max_in_flight`, a key's limit. Each gateway, a *member* here, holds some of the
//! units and admits by those alone; together they never hold more than there are. Three rules make that true whatever happens between
//! a member and the ledger:
//!
//! - A member gives up a unit first, and tells the ledger then; it uses a unit only once the ledger's answer has come. So the row that
//!   the ledger has of a member is never below its holding, whatever gets lost.
//! - A call carries a number, and the ledger takes no older one. So a call that arrives late undoes nothing.
//! - A ledger that has lost something is no ledger: the next one begins with an *epoch* of its own. All members tell it their holdings,
//!   and until all that anybody knew have done so, or are dead, nobody gets a unit.
//!
//! Here are the decisions: the fair holding ([`aim`]), a [`Member`]'s part, whom it believes dead ([`Watch`]), and the [`Ledger`]'s own,
//! which in the field is a script that Redis runs (`src/cluster/ledger.lua`): tests hold one against the other.

mod call;
mod ledger;
mod member;
mod share;
#[cfg(test)]
mod tests;
mod watch;

pub use call::{
    Answer, Ask, Call, Done, Epoch, Fellow, Heard, MemberId, Name, Op, Reply, Row, Total, Verdict,
};
pub use ledger::{Ledger, Terms};
pub use member::{Allowance, Member, Need, Settings, Standing};
pub use share::{Aim, aim};
pub use watch::{Found, Question, Seen, Watch};
