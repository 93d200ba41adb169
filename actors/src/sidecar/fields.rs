//! The top-level fields of a JSON object, each with its text as it was sent.
//!
//! A request is edited without being written anew: keys keep their order and values their bytes, because chat templates
//! render parts of a body verbatim. Must not know what any field means.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most fields of one object. Each takes more memory than its text, and is compared with each name that is sought.
pub(crate) const FIELDS_MAX: usize = 1_024;

/// The fields of one object, in order.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'b>(Vec<(Cow<'b, str>, Cow<'b, str>)>);

/// A key, which is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'b>(#[serde(borrow)] Cow<'b, str>);

// === impl Fields ===

impl<'b> Fields<'b> {
    /// The fields of the object that `body` is.
    ///
    /// # Errors
    /// One sentence without a word of the body, when it is no JSON object in UTF-8 or has too many fields. Stricter than
    /// some engines: what is refused here could hide a field from the sidecar that an engine reads.
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, String> {
        let fields: Self = serde_json::from_slice(body).map_err(|error| {
            format!("the body is no JSON object in UTF-8; look at line {}, column {}", error.line(), error.column())
        })?;
        if fields.0.len() > FIELDS_MAX {
            return Err(format!("an object of the body has more than {FIELDS_MAX} fields; send fewer"));
        }
        Ok(fields)
    }

    /// The text of a value; the last one where a key stands twice, as engines take it.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Whether a field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value != "null")
    }

    /// A value of a type that can be read, if it is one.
    pub(crate) fn read_as<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// Sets a field to the JSON text `value`, at its former place or at the end.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Cow<'b, str>>) {
        let at = self.0.iter().position(|(key, _)| key == name);
        self.0.retain({
            let mut seen = false;
            move |(key, _)| key != name || !std::mem::replace(&mut seen, true)
        });
        match at {
            Some(at) => self.0[at].1 = value.into(),
            None => self.0.push((Cow::Borrowed(name), value.into())),
        }
    }

    /// Removes every field of this name; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| key != name);
        self.0.len() < before
    }

    /// The object as text.
    pub(crate) fn text(&self) -> String {
        let length: usize = self.0.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(length + 2);
        text.push('{');
        for (nth, (key, value)) in self.0.iter().enumerate() {
            if nth > 0 {
                text.push(',');
            }
            text.push_str(&quoted(key));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<'de: 'b, 'b> Deserialize<'de> for Fields<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields = Vec::new();
                // One too many is kept, by which it shows.
                while fields.len() <= FIELDS_MAX {
                    let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? else { break };
                    fields.push((key, Cow::Borrowed(value.get())));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_edited_keeps_its_bytes_and_its_place() {
        let body = r#"{ "b" : { "z":1, "a" : [ 1.0, 2e3 ] }, "é\n":"\u0041", "a":null}"#;
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        assert_eq!(fields.text(), r#"{"b":{ "z":1, "a" : [ 1.0, 2e3 ] },"é\n":"\u0041","a":null}"#);
        fields.set("a", "1");
        fields.set("new", "2");
        assert!(fields.remove("é\n") && !fields.remove("nothing"));
        assert_eq!(fields.text(), r#"{"b":{ "z":1, "a" : [ 1.0, 2e3 ] },"a":1,"new":2}"#);
    }

    #[test]
    fn a_key_that_is_written_twice_or_with_escapes_does_not_hide() {
        let body = r#"{"k":1,"x":0,"\u006b":2}"#;
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        assert_eq!(fields.raw("k"), Some("2"));
        fields.set("k", "3");
        assert_eq!(fields.text(), r#"{"k":3,"x":0}"#);
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        assert!(fields.remove("k"));
        assert_eq!(fields.text(), r#"{"x":0}"#);
    }

    proptest! {
        #[test]
        fn an_edited_object_is_the_object_with_the_edit(
            keys in prop::collection::vec("[a-cé\\\\\"]{0,2}", 0..8),
            numbers in prop::collection::vec(any::<i32>(), 8),
        ) {
            let pairs: Vec<(String, i32)> = keys.into_iter().zip(numbers).collect();
            let members: Vec<String> = pairs.iter().map(|(key, number)| format!("{}: {number}", quoted(key))).collect();
            let body = format!("{{ {} }}", members.join(" , "));
            let mut fields = Fields::read(body.as_bytes()).unwrap();
            let mut expected: BTreeMap<String, i32> = pairs.into_iter().collect();
            let read = |fields: &Fields<'_>| serde_json::from_str::<BTreeMap<String, i32>>(&fields.text()).unwrap();
            prop_assert_eq!(read(&fields), expected.clone());
            fields.set("a", "7");
            expected.insert("a".to_owned(), 7);
            prop_assert_eq!(read(&fields), expected.clone());
            prop_assert_eq!(fields.remove("b"), expected.remove("b").is_some());
            prop_assert_eq!(read(&fields), expected);
        }
    }

    #[test]
    fn what_only_a_lenient_reader_takes_is_refused() {
        for body in
            [&b"[1]"[..], b"", b"{\"a\":NaN}", b"{\"a\":1} x", b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"{\"a\":1,}"]
        {
            let why = Fields::read(body).unwrap_err();
            assert!(why.starts_with("the body is no JSON object"), "{why}");
        }
    }

    #[test]
    fn an_error_says_where_and_quotes_nothing() {
        for body in [&b"\"a secret\""[..], b"{\"a\":1,\n\"b\":secret}", b"{\"secret\":1,}"] {
            let why = Fields::read(body).unwrap_err();
            assert!(why.contains("line ") && why.contains("column ") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn an_object_has_at_most_so_many_fields() {
        let body = |count: usize| format!("{{{}}}", vec![r#""a":1"#; count].join(","));
        assert!(Fields::read(body(FIELDS_MAX).as_bytes()).is_ok());
        for count in [FIELDS_MAX + 1, FIELDS_MAX * 3] {
            let why = Fields::read(body(count).as_bytes()).unwrap_err();
            assert_eq!(why, "an object of the body has more than 1024 fields; send fewer");
        }
    }
}
