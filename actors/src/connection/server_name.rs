//! Reads the server name from the bytes of a TLS ClientHello (RFC 8446, RFC 6066).
//!
//! Must not know TLS beyond that. It is called only when a handshake was refused for the name, to report that name.

/// The name that the client requests; `None` if there is none, or if the bytes are no complete ClientHello.
pub fn server_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let hello = handshake(bytes)?;
    let mut rest = Bytes(&hello);
    // Type, length, version, random.
    if rest.number(1)? != 1 {
        return None;
    }
    rest.take(3 + 2 + 32)?;
    for length in [1, 2, 1] {
        rest.counted(length)?;
    }
    let mut extensions = Bytes(rest.counted(2)?);
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.number(2)?, extensions.counted(2)?);
        if kind == 0 {
            let mut names = Bytes(Bytes(content).counted(2)?);
            return (names.number(1)? == 0).then_some(names.counted(2)?.to_vec());
        }
    }
    None
}

/// The joined content of all handshake records.
fn handshake(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut hello) = (Bytes(bytes), Vec::new());
    while rest.0.first() == Some(&22) {
        rest.take(3)?;
        let Some(record) = rest.counted(2) else { break };
        hello.extend_from_slice(record);
    }
    (!hello.is_empty()).then_some(hello)
}

struct Bytes<'a>(&'a [u8]);

// === impl Bytes ===

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// A field with a length prefix of `length` bytes.
    fn counted(&mut self, length: usize) -> Option<&'a [u8]> {
        let count = self.number(length)?;
        self.take(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(length: usize, content: &[u8]) -> Vec<u8> {
        [&content.len().to_be_bytes()[8 - length..], content].concat()
    }

    /// A TLS 1.3 ClientHello for `name`, in one record.
    pub(crate) fn hello(name: &[u8]) -> Vec<u8> {
        let names = counted(2, &[&[0], &counted(2, name)[..]].concat());
        let x25519 = [&[0, 29], &counted(2, &[9; 32])[..]].concat();
        let extensions: Vec<u8> = [
            (0, counted(2, &names[2..])),
            (43, vec![2, 3, 4]),
            (10, vec![0, 2, 0, 29]),
            (13, vec![0, 4, 4, 3, 8, 4]),
            (51, counted(2, &x25519)),
        ]
        .into_iter()
        .flat_map(|(kind, content)| [&[0, kind], &counted(2, &content)[..]].concat())
        .collect();
        let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0], &counted(2, &extensions)].concat();
        let handshake = [&[1], &counted(3, &body)[..]].concat();
        [&[22, 3, 1], &counted(2, &handshake)[..]].concat()
    }

    #[test]
    fn the_name_is_found_in_one_record_or_several() {
        let name = b"outbound|9002||picker.ns.svc.cluster.local";
        let whole = hello(name);
        assert_eq!(server_name(&whole).unwrap(), name);
        let (first, second) = whole[5..].split_at(40);
        let split = [&[22, 3, 1], &counted(2, first)[..], &[22, 3, 1], &counted(2, second)].concat();
        assert_eq!(server_name(&split).unwrap(), name);
    }

    #[test]
    fn a_truncated_hello_has_no_name() {
        let whole = hello(b"picker");
        for end in 0..whole.len() {
            assert_eq!(server_name(&whole[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            server_name(&bytes);
            server_name(&[&[22, 3, 1], &counted(2, &bytes)[..]].concat());
        }
    }
}
