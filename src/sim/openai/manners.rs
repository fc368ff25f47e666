//! What the engines put into their events beside what they say, as far as a client can see a difference.

use crate::config::Engine;

/// The parts of an event that are an engine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manners {
    /// The delta of a chat's first event.
    pub first_delta: &'static str,
    /// The delta of its last.
    pub last_delta: &'static str,
    /// After the fields that each choice has.
    pub choice: &'static str,
    /// After the choices of each event.
    pub event: &'static str,
    /// After the usage.
    pub usage: &'static str,
    /// The last event of a completion always has the usage, and none follows.
    pub completion_has_usage: bool,
    /// Before the number in an id.
    pub id: Option<&'static str>,
}

impl Manners {
    pub(super) fn of(engine: Engine) -> Self {
        match engine {
            Engine::Generic | Engine::Vllm => Self {
                first_delta: r#"{"role":"assistant","content":""}"#,
                last_delta: "{}",
                choice: "",
                event: "",
                usage: "",
                completion_has_usage: false,
                id: None,
            },
            Engine::Sglang => Self {
                first_delta: r#"{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null}"#,
                last_delta: r#"{"role":null,"content":null,"reasoning_content":null,"tool_calls":null}"#,
                choice: r#","matched_stop":null"#,
                event: r#","usage":null"#,
                usage: "",
                completion_has_usage: false,
                id: Some("7f3c9a0e5b1d"),
            },
            Engine::Llamacpp => Self {
                first_delta: r#"{"role":"assistant","content":null}"#,
                last_delta: "{}",
                choice: "",
                event: r#","system_fingerprint":"b6000-sim""#,
                usage: r#","system_fingerprint":"b6000-sim","timings":{"predicted_per_second":50.25}"#,
                completion_has_usage: true,
                // for completions too
                id: Some("chatcmpl"),
            },
        }
    }
}
