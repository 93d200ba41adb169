//! Restores the client's model name in an answer, where a rewrite sent the engine another one.
//!
//! One pass over the answer's bytes tracks just enough JSON to find `"model"` at the top, or in the `response` or
//! `message` that an event carries. User text that looks like it stays unchanged, and a name that is split over chunks
//! is still found. At most the longest possible spelling of the engine's name is held back, until it is known to be
//! that name or not.
//!
//! Must not know ext-proc.

/// How an answer wraps its JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The body is one JSON document.
    Json,
    /// Server-sent events; each event's data is a document of its own.
    Sse,
}

/// The pass over one answer.
#[derive(Clone, Debug)]
pub struct ModelEcho {
    from: String,
    to: Vec<u8>,
    line: Line,
    framing: Framing,
    json: Json,
    held: Vec<u8>,
}

/// The position in a line of an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// This many bytes of `data:` were seen since the line's start.
    Start(usize),
    /// Inside the data.
    Data,
    /// Inside anything else.
    Other,
}

/// The part of a JSON document's state that finding the name needs.
#[derive(Clone, Copy, Debug, Default)]
struct Json {
    depth: u32,
    state: State,
    key: bool,
    /// The value that comes next belongs to a key of [`PARENTS`].
    parent: bool,
    /// The object at depth two is such a value.
    inside: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between tokens, or inside one that is no string.
    #[default]
    Plain,
    /// Inside a string.
    Text { escaped: bool, key: KeyBytes },
    /// After the key `model`, before its value.
    Due,
    /// Inside the value, which is held back.
    Held { escaped: bool },
}

/// The first bytes of a string that may be a relevant key. Any other string has an invalid length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    length: u8,
}

const DATA: &[u8] = b"data:";
const KEY: &[u8] = b"model";
/// Keys whose objects name the model too: events of the responses and messages APIs.
const PARENTS: [&[u8]; 2] = [b"response", b"message"];
const KEY_BYTES_MAX: usize = 8;

// === impl ModelEcho ===

impl ModelEcho {
    /// Replaces the engine's name `from` by `to`.
    pub fn new(framing: Framing, from: &str, to: &str) -> Self {
        let line = if framing == Framing::Json { Line::Data } else { Line::Start(0) };
        let to = serde_json::Value::from(to).to_string().into_bytes();
        Self { from: from.to_owned(), to, line, framing, json: Json::default(), held: Vec::new() }
    }

    /// The next chunk as the client receives it; bytes may be held back for the next one.
    pub fn pass(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len() + self.held.len());
        for byte in chunk {
            self.step(byte, &mut out);
        }
        out
    }

    /// The bytes that are still held back at the answer's end.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.framing == Framing::Sse {
            if byte == b'\n' || byte == b'\r' {
                out.append(&mut self.held);
                out.push(byte);
                // A carriage return only accompanies the line feed that ends the line.
                if byte == b'\n' {
                    self.end_of_line();
                }
                return;
            }
            if let Line::Start(seen) = self.line {
                self.line = match DATA.get(seen) {
                    Some(&due) if due == byte && seen + 1 == DATA.len() => Line::Data,
                    Some(&due) if due == byte => Line::Start(seen + 1),
                    _ => Line::Other,
                };
                out.push(byte);
                return;
            }
        }
        match self.line {
            Line::Data => self.json(byte, out),
            Line::Start(_) | Line::Other => out.push(byte),
        }
    }

    /// An empty line ends an event, and with it a document. Engines do not split a string over several `data:` lines,
    /// so a value that is cut by a line's end is passed on as it is.
    fn end_of_line(&mut self) {
        if self.line == Line::Start(0) {
            self.json = Json::default();
        } else if self.json.state != State::Due {
            self.json.state = State::Plain;
        }
        self.line = Line::Start(0);
    }

    fn json(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let State::Held { escaped } = self.json.state {
            self.held.push(byte);
            if byte == b'"' && !escaped {
                self.json.state = State::Plain;
                self.settle(out);
            } else if self.held.len() > self.longest() {
                self.json.state = State::Text { escaped: byte == b'\\' && !escaped, key: KeyBytes::NONE };
                out.append(&mut self.held);
            } else {
                self.json.state = State::Held { escaped: byte == b'\\' && !escaped };
            }
            return;
        }
        if self.json.state == State::Due && byte == b'"' {
            self.json.state = State::Held { escaped: false };
            self.held.push(byte);
            return;
        }
        self.json.step(byte);
        out.push(byte);
    }

    /// The value is whole: the engine's name is replaced, any other stays.
    fn settle(&mut self, out: &mut Vec<u8>) {
        let is_from = serde_json::from_slice::<String>(&self.held).is_ok_and(|name| name == self.from);
        if is_from {
            self.held.clear();
            out.extend_from_slice(&self.to);
        } else {
            out.append(&mut self.held);
        }
    }

    /// Bytes of the engine's name when each of its UTF-16 units is spelled `\uXXXX`, with its quotes.
    fn longest(&self) -> usize {
        self.from.len() * 6 + 2
    }
}

// === impl Json ===

impl Json {
    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Text { escaped: true, .. }, _) => State::Text { escaped: false, key: KeyBytes::NONE },
            (State::Text { .. }, b'\\') => State::Text { escaped: true, key: KeyBytes::NONE },
            (State::Text { key, .. }, b'"') => {
                self.parent = self.depth == 1 && PARENTS.contains(&key.get());
                if key.get() == KEY { State::Due } else { State::Plain }
            }
            (State::Text { key, .. }, byte) => State::Text { escaped: false, key: key.with(byte) },
            (State::Due, b':' | b' ' | b'\t' | b'\n' | b'\r') => State::Due,
            (_, b'"') => {
                let matters = self.key && (self.depth == 1 || self.depth == 2 && self.inside);
                State::Text { escaped: false, key: if matters { KeyBytes::EMPTY } else { KeyBytes::NONE } }
            }
            (_, byte) => {
                self.structure(byte);
                State::Plain
            }
        };
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                self.inside |= self.depth == 1 && self.parent && byte == b'{';
                self.parent = false;
                self.depth = self.depth.saturating_add(1);
                self.key = byte == b'{';
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.inside &= self.depth >= 2;
                self.key = false;
            }
            b',' => self.key = true,
            b':' => self.key = false,
            _ => {}
        }
    }
}

// === impl KeyBytes ===

impl KeyBytes {
    const EMPTY: Self = Self { bytes: [0; KEY_BYTES_MAX], length: 0 };
    const NONE: Self = Self { bytes: [0; KEY_BYTES_MAX], length: u8::MAX };

    fn with(mut self, byte: u8) -> Self {
        let Some(place) = self.bytes.get_mut(usize::from(self.length)) else { return Self::NONE };
        *place = byte;
        self.length += 1;
        self
    }

    /// The key; empty for one that is not relevant.
    fn get(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(framing: Framing, chunks: &[&[u8]]) -> String {
        let mut echo = ModelEcho::new(framing, "base-v2", "my \"model\"");
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| echo.pass(chunk.to_vec())).collect();
        out.extend(echo.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    const ANSWER: &str = concat!(
        r#"{"id":"x","n":{"model":"base-v2"},"t":"\"model\":\"base-v2\"","#,
        r#""a":[1,"model","base-v2"],"model" : "base-v2","z":1}"#
    );
    const EXPECTED: &str = concat!(
        r#"{"id":"x","n":{"model":"base-v2"},"t":"\"model\":\"base-v2\"","#,
        r#""a":[1,"model","base-v2"],"model" : "my \"model\"","z":1}"#
    );

    #[test]
    fn only_the_top_level_name_changes() {
        assert_eq!(passed(Framing::Json, &[ANSWER.as_bytes()]), EXPECTED);
    }

    #[test]
    fn events_that_carry_a_response_or_a_message_name_the_model_in_it() {
        for parent in ["response", "message"] {
            let event = |name: &str| {
                format!(
                    r#"{{"type":"x","{parent}":{{"id":"1","z":{{"model":"base-v2"}},"model":{name},"usage":{{}}}},"model":{name}}}"#
                )
            };
            assert_eq!(passed(Framing::Json, &[event(r#""base-v2""#).as_bytes()]), event(r#""my \"model\"""#));
        }
        for same in [r#"{"response":[{"model":"base-v2"}]}"#, r#"{"message":"x","y":{"model":"base-v2"}}"#] {
            assert_eq!(passed(Framing::Json, &[same.as_bytes()]), same);
        }
    }

    #[test]
    fn another_name_stays_and_so_does_one_that_is_no_string() {
        for same in [
            r#"{"model":"base-v2-lora"}"#,
            r#"{"model":null,"x":"base-v2"}"#,
            r#"{"model":"base-v"#,
            r#"["model","base-v2"]"#,
        ] {
            assert_eq!(passed(Framing::Json, &[same.as_bytes()]), same);
        }
        let long = format!(r#"{{"model":"{}","model":"base-v2"}}"#, "x\\\\".repeat(100));
        assert!(passed(Framing::Json, &[long.as_bytes()]).ends_with(r#""model":"my \"model\""}"#));
    }

    #[test]
    fn a_name_spelled_with_escapes_is_the_same_name() {
        assert_eq!(passed(Framing::Json, &[br#"{"model":"base\u002dv2"}"#]), r#"{"model":"my \"model\""}"#);
    }

    #[test]
    fn each_event_of_a_stream_is_a_document_of_its_own() {
        let mut stream = format!(": model\r\nevent: x\ndata: {ANSWER}\n\ndata:{ANSWER}\r\n\r\n");
        stream += &format!("data: {{\"model\":\"base\n\ndata: {ANSWER}\n\ndata: [DONE]\n\n");
        assert_eq!(passed(Framing::Sse, &[stream.as_bytes()]), stream.replace(ANSWER, EXPECTED));
    }

    proptest! {
        #[test]
        fn where_chunks_are_cut_does_not_matter(cuts in prop::collection::vec(0usize..400, 0..12)) {
            let stream = format!("data: {ANSWER}\n\ndata: {ANSWER}\n\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(passed(Framing::Sse, &chunks), stream.replace(ANSWER, EXPECTED));
        }

        #[test]
        fn bytes_without_the_name_pass_unchanged_and_little_is_held(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut echo = ModelEcho::new(Framing::Sse, "\u{1}unlikely", "x");
            let mut out = echo.pass(bytes.clone());
            prop_assert!(echo.held.len() <= echo.longest());
            out.extend(echo.finish());
            prop_assert_eq!(out, bytes);
        }
    }
}
