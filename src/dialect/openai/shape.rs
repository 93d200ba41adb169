//! The fields of a request body that matter, as raw slices of it; everything else is passed over.
//!
//! Must not know what the fields mean. Of a key that comes twice the last one counts, as in Python's `json`, which is
//! what the engine reads it with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Declares a struct of optional raw fields that is read from a JSON object.
macro_rules! raw_fields {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($field:ident: $($key:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: Option<&'a RawValue>,)*
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key::<Key<'de>>()? {
                            match key.0.as_ref() {
                                $($($key)|+ => read.$field = Some(map.next_value()?),)*
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(read)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}

/// A key, borrowed unless it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

raw_fields! {
    /// The body.
    Shape, "a JSON object with a model" {
        model: "model",
        messages: "messages",
        prompt: "prompt",
        tools: "tools",
        stream: "stream",
        max_tokens: "max_tokens",
        max_completion_tokens: "max_completion_tokens",
        cache_salt: "cache_salt",
    }
}

raw_fields! {
    /// One message of a chat.
    Message, "a message object" {
        role: "role",
        content: "content",
        reasoning: "reasoning" | "reasoning_content",
        tool_calls: "tool_calls",
        tool_call_id: "tool_call_id",
    }
}

raw_fields! {
    /// One part of a message's content.
    Part, "a part object" {
        text: "text",
        other: "image_url" | "input_audio" | "video_url" | "audio_url" | "image_embeds" | "file" | "refusal",
    }
}
