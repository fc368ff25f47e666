//! The reasons for which a broken stream is not continued, and how they are said.

/// Why a stream is not continued.
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
    Engine,
    NoLimit,
    TooLong,
    NotUnderstood,
    UsedUp,
    KillsNodes,
    NotRepeatable,
}

impl NotResumable {
    /// For people, in logs and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "not resumed: the request uses tools",
            Self::Format => "not resumed: the answer is bound to a format",
            Self::Several => "not resumed: several answers were asked for",
            Self::Logprobs => "not resumed: logprobs were asked for",
            Self::Echo => "not resumed: echo, suffix or truncate_prompt_tokens was asked for",
            Self::Reasoning => "not resumed: the answer has reasoning in it",
            Self::Stop => "not resumed: the text ends in the beginning of a stop string",
            Self::HalfCharacter => "not resumed: the text ends within a character",
            Self::Ids => {
                "not resumed: the prompt is given as token ids, and those of the answer are not known"
            }
            Self::Engine => "not resumed: `engine: generic` is not known to continue chats",
            Self::NoLimit => {
                "not resumed: the request sets no max_tokens, and what `engine: generic` makes of that is not known"
            }
            Self::TooLong => "not resumed: the text is longer than retry.resume_text_max",
            Self::NotUnderstood => "not resumed: the request or the stream is not in OpenAI's form",
            Self::NotRepeatable => "not resumed: the method may not be repeated (retry.methods)",
            Self::KillsNodes => "not resumed: nodes died of this request",
            Self::UsedUp => "not resumed: retry.resume_max is used up",
        }
    }
}
