//! The shape of a tier whose engines have roles: `--pd 2x2`, `--epd 1x2x2`.
//!
//! Must not know processes.

use murmuration_engine_sim::hand_off::Role;

/// Most engines of one role: each is a process, and so is each sidecar.
const ENGINES_MAX: u16 = 16;

/// How many engines of each role there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Engines that encode images.
    pub encode: u16,
    /// Engines that prefill.
    pub prefill: u16,
    /// Engines that decode, each behind a sidecar.
    pub decode: u16,
}

// === impl Shape ===

impl Shape {
    /// Reads `PxD`: engines that prefill, and engines that decode.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn prefill_decode(text: &str) -> Result<Self, String> {
        let [prefill, decode] = numbers(text, "2x2: 2 engines that prefill, 2 that decode")?;
        Ok(Self { encode: 0, prefill, decode })
    }

    /// Reads `ExPxD`: engines that encode, that prefill, and that decode.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn encode_prefill_decode(text: &str) -> Result<Self, String> {
        let form = "1x2x2: 1 engine that encodes images, 2 that prefill, 2 that decode";
        let [encode, prefill, decode] = numbers(text, form)?;
        Ok(Self { encode, prefill, decode })
    }

    /// The names and roles of its engines.
    pub fn engines(self) -> Vec<(String, Role)> {
        let roles = [(Role::Encode, self.encode), (Role::Prefill, self.prefill), (Role::Decode, self.decode)];
        let named = |(role, count): (Role, u16)| (0..count).map(move |i| (format!("{}-{i}", role.label()), role));
        roles.into_iter().flat_map(named).collect()
    }
}

fn numbers<const N: usize>(text: &str, form: &str) -> Result<[u16; N], String> {
    let number = |part: &str| part.parse().ok().filter(|number| (1..=ENGINES_MAX).contains(number));
    let numbers: Option<Vec<u16>> = text.split('x').map(number).collect();
    let numbers = numbers.and_then(|numbers| <[u16; N]>::try_from(numbers).ok());
    numbers.ok_or_else(|| format!("write {form}; 1 to {ENGINES_MAX} of each"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_names_its_engines_by_their_roles() {
        let shape = Shape::encode_prefill_decode("1x1x2").unwrap();
        let names: Vec<String> = shape.engines().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["encode-0", "prefill-0", "decode-0", "decode-1"]);
        assert_eq!(Shape::prefill_decode("2x3"), Ok(Shape { encode: 0, prefill: 2, decode: 3 }));
    }

    #[test]
    fn other_texts_are_refused_with_an_example() {
        for bad in ["", "2", "2x", "0x2", "2x17", "2x2x2", "axb", "2X2"] {
            assert!(Shape::prefill_decode(bad).unwrap_err().contains("2x2"), "{bad}");
        }
        assert!(Shape::encode_prefill_decode("2x2").is_err());
    }
}
