//! The reasons why a broken stream is not continued, and their text for logs and errors.

/// The reason why a stream is not continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotResumable {
    Tools,
    Format,
    Several,
    Logprobs,
    Echo,
    Reasoning,
    Stop,
    HalfCharacter,
    Ids,
    WantsIds,
    Engine,
    NoLimit,
    TooLong,
    NotUnderstood,
    UsedUp,
    KillsNodes,
    NotRepeatable,
}

impl NotResumable {
    /// The text for logs and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "not resumed: the request uses tools",
            Self::Format => "not resumed: the request demands an output format",
            Self::Several => "not resumed: the request asks for several answers",
            Self::Logprobs => "not resumed: the request asks for logprobs",
            Self::Echo => "not resumed: the request uses echo, suffix or truncate_prompt_tokens",
            Self::Reasoning => "not resumed: the answer contains reasoning",
            Self::Stop => "not resumed: the text ends in what may be the start of a stop string",
            Self::HalfCharacter => "not resumed: the text ends in the middle of a character",
            Self::Ids => {
                "not resumed: the prompt is given as token ids, and the answer's token ids are unknown"
            }
            Self::WantsIds => {
                "not resumed: the client asked for token ids, and the answer could only be continued as text"
            }
            Self::Engine => "not resumed: `engine: generic` may not be able to continue chats",
            Self::NoLimit => {
                "not resumed: the request sets no max_tokens, and the default of `engine: generic` is unknown"
            }
            Self::TooLong => "not resumed: the text is longer than retry.resume_text_max",
            Self::NotUnderstood => "not resumed: the request or the stream is not in OpenAI's format",
            Self::NotRepeatable => "not resumed: the method may not be retried (retry.methods)",
            Self::KillsNodes => "not resumed: nodes crashed on this request",
            Self::UsedUp => "not resumed: retry.resume_max is used up",
        }
    }
}
