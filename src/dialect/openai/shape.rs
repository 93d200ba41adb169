//! The fields of a request body that matter, as raw slices of it; everything else is passed over, all in one pass.
//!
//! Must not know what the fields mean. Of a key that comes twice the last one counts, as in Python's `json`, which is
//! what the engine reads it with.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value as it stands in the body.
pub(super) type Raw<'a> = &'a RawValue;
/// The messages of a chat.
pub(super) type Messages<'a> = List<Message<'a>>;
/// The parts of a message's content.
pub(super) type Parts<'a> = List<Part<'a>>;

/// A list of objects, read where it stands: a body is long because of its messages, and skipping them first to read
/// them later would be a second pass.
#[derive(Debug)]
pub(super) enum List<T> {
    /// It is a list.
    Items(Vec<Item<T>>),
    /// It is of another kind, for people.
    Other(&'static str),
}

/// One item of a list of objects.
#[derive(Debug)]
pub(super) enum Item<T> {
    /// It is an object.
    Object(T),
    /// It is of another kind, for people.
    Other(&'static str),
}

/// Declares a struct of optional fields, raw or read, that is read from a JSON object.
macro_rules! fields {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($field:ident: $kind:ident = $($key:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: Option<$kind<'a>>,)*
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

/// The arms of a visitor for everything that is no list and no object: its kind.
macro_rules! scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::Other("null"))
        }

        scalars! {
            visit_bool(bool) => "a boolean",
            visit_u64(u64) => "a number",
            visit_i64(i64) => "a number",
            visit_f64(f64) => "a number",
            visit_str(&str) => "a string",
        }
    };
    ($($visit:ident($type:ty) => $kind:literal,)*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(Self::Value::Other($kind))
        })*
    };
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = List<T>;

            scalars!();

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(List::Items(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<List<T>, A::Error> {
                skip_map(map).map(|()| List::Other("an object"))
            }
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = Item<T>;

            scalars!();

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item<T>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item::Other("an array"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Item::Object)
            }
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
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

fields! {
    /// The body.
    Shape, "a JSON object with a model" {
        model: Raw = "model",
        messages: Messages = "messages",
        prompt: Raw = "prompt",
        tools: Raw = "tools",
        stream: Raw = "stream",
        max_tokens: Raw = "max_tokens",
        max_completion_tokens: Raw = "max_completion_tokens",
        cache_salt: Raw = "cache_salt",
    }
}

fields! {
    /// One message of a chat.
    Message, "a message object" {
        role: Raw = "role",
        content: Raw = "content",
        reasoning: Raw = "reasoning" | "reasoning_content",
        tool_calls: Raw = "tool_calls",
        tool_call_id: Raw = "tool_call_id",
    }
}

fields! {
    /// One part of a message's content.
    Part, "a part object" {
        text: Raw = "text",
        other: Raw = "image_url" | "input_audio" | "video_url" | "audio_url" | "image_embeds" | "file" | "refusal",
    }
}
