//! The top-level fields of a body: one pass checks the whole text and notes where each known field is.
//!
//! Must not know what the fields mean. Of a repeated key the last one counts, as in Python's `json`.

use std::ops::Range;

use crate::dialect::cursor::{Cursor, Kind, Misread};
use crate::dialect::json_text::plain;

/// Where a value is in the body.
pub(super) type Span = Range<usize>;

/// Declares an enum of keys, with each key's name, and how to find one by name.
macro_rules! keys {
    ($($variant:ident = $name:literal,)*) => {
        /// A known key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key {
            $($variant,)*
        }

        impl Key {
            const COUNT: usize = [$(Self::$variant,)*].len();

            fn of(name: &[u8]) -> Option<Self> {
                match std::str::from_utf8(name).ok()? {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name as it is written in a body.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

keys! {
    Model = "model",
    Stream = "stream",
    MaxTokens = "max_tokens",
    MaxCompletionTokens = "max_completion_tokens",
    MaxOutputTokens = "max_output_tokens",
    CacheSalt = "cache_salt",
    ChatTemplate = "chat_template",
    ChatTemplateKwargs = "chat_template_kwargs",
    ReasoningEffort = "reasoning_effort",
    Reasoning = "reasoning",
    Thinking = "thinking",
    OutputConfig = "output_config",
    MmProcessorKwargs = "mm_processor_kwargs",
    MediaIoKwargs = "media_io_kwargs",
    AddSpecialTokens = "add_special_tokens",
    TruncatePromptTokens = "truncate_prompt_tokens",
    TruncationSide = "truncation_side",
    PreviousResponseId = "previous_response_id",
    PreviousInputMessages = "previous_input_messages",
    Instructions = "instructions",
    System = "system",
    ToolChoice = "tool_choice",
    Tools = "tools",
    Functions = "functions",
    Query = "query",
    Queries = "queries",
    Text1 = "text_1",
    Data1 = "data_1",
    State = "state",
    Documents = "documents",
    Messages = "messages",
    Prompt = "prompt",
    PromptEmbeds = "prompt_embeds",
    Input = "input",
    InputIds = "input_ids",
    TokenIds = "token_ids",
    Tokens = "tokens",
    Text = "text",
    Text2 = "text_2",
    Data2 = "data_2",
    Items = "items",
    Questions = "questions",
    Images = "images",
    Audio = "audio",
    Videos = "videos",
    Features = "features",
    MultiModalData = "multi_modal_data",
    ImageData = "image_data",
}

/// Where the value of each known key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    spans: [Option<Span>; Key::COUNT],
    /// The offset behind the object's opening bracket.
    pub(super) inside: usize,
    /// Whether the object has no key.
    pub(super) empty: bool,
}

/// Why the fields of a body can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not JSON.
    Json(Misread),
    /// It is JSON, but no object.
    NoObject(Kind),
}

// === impl Fields ===

impl Fields {
    /// Reads all of `body`, from `from` on.
    pub(super) fn read(body: &[u8], from: usize) -> Result<Self, Unreadable> {
        let mut cursor = Cursor::at_offset(body, from);
        let kind = cursor.kind().map_err(Unreadable::Json)?;
        if kind != Kind::Object {
            cursor.skip().map_err(Unreadable::Json)?;
            return Err(Unreadable::NoObject(kind));
        }
        Self::object(&mut cursor).map_err(Unreadable::Json)
    }

    fn object(cursor: &mut Cursor<'_>) -> Result<Self, Misread> {
        cursor.open(b'{')?;
        let mut read = Self { spans: [const { None }; Key::COUNT], inside: cursor.at(), empty: true };
        let mut first = true;
        while let Some(raw) = cursor.key(&mut first)? {
            read.empty = false;
            let key = Key::of(raw).or_else(|| raw.contains(&b'\\').then(|| Key::of(&plain(raw))).flatten());
            let span = cursor.skip()?;
            if let Some(key) = key {
                read.spans[key as usize] = Some(span);
            }
        }
        cursor.end()?;
        Ok(read)
    }

    /// Where the value of `key` is.
    pub(super) fn get(&self, key: Key) -> Option<&Span> {
        self.spans[key as usize].as_ref()
    }
}
