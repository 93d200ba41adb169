//! Text for prompts: lower-case letters and blanks that follow from a number.
//!
//! Must not know requests. Equal numbers give equal text, and a longer text begins with the shorter one.

use murmuration::chance::mix;

/// Appends `bytes` bytes of words that follow from `seed`. None of them has to be escaped in JSON.
pub fn push_words(text: &mut String, seed: u64, bytes: usize) {
    let end = text.len() + bytes;
    let mut number = seed;
    while text.len() < end {
        number = mix(number);
        let letters = (0..7).map(|shift| char::from(b'a' + ((number >> (8 * shift)) % 26) as u8));
        text.extend(letters.chain([' ']).take(end - text.len()));
    }
}

/// The same as a text of its own.
pub fn words(seed: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    push_words(&mut text, seed, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_from_its_number_and_grows_at_its_end() {
        assert_eq!((words(7, 100).len(), words(7, 0).as_str()), (100, ""));
        assert!(words(7, 100).starts_with(&words(7, 60)));
        assert_ne!(words(7, 60), words(8, 60));
    }
}
