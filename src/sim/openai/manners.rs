//! The differences between engines in the events that they send, as far as a client can see them.

use crate::config::Engine;

/// The engine-specific parts of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manners {
    /// The delta of a chat's first event.
    pub first_delta: &'static str,
    /// The delta of a chat's last event.
    pub last_delta: &'static str,
    /// Text after the common fields of each choice.
    pub choice: &'static str,
    /// Text after the choices of each event.
    pub event: &'static str,
    /// Text after the usage.
    pub usage: &'static str,
    /// The last event of a completion always contains the usage; no separate usage event follows.
    pub completion_has_usage: bool,
    /// The prefix of ids, before the number.
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
