//! How incomplete a view may be, and the key that breaks ties.
//!
//! Must not know peers or lanes; the scheduler says how incomplete its view may be.

use serde::Serialize;

use crate::request::InferenceRequest;

/// How incomplete the view of one decision may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncertainty {
    /// All that other replicas did is known: the best row wins.
    #[default]
    None,
    /// Other replicas decide at the same time on the same view. Up to this many of the best rows are equally good,
    /// because others may have chosen the best one by now.
    Concurrent(usize),
    /// Other replicas decide, but no facts of theirs arrive. Only the request is the same everywhere, so only it can
    /// serve to agree on an endpoint.
    Isolated,
}

/// The tie-break key where no endpoint is known to hold any of the prompt: its first anchor, or the hash of the content
/// where there is no chain.
pub fn first_key(request: &InferenceRequest) -> u64 {
    request.prompt.chain.anchors().first().map_or(request.content_hash, |anchor| anchor.0)
}

/// The tie-break key: the first anchor that is not common. `held` is how many anchors of the chain each endpoint holds.
/// Anchors that two endpoints hold are common, like the system prompt of all users, and do not identify a conversation.
/// The first anchor after them does, and it stays the same while the conversation grows.
pub fn own_key(request: &InferenceRequest, held: &[u32]) -> u64 {
    let (mut most, mut second) = (0, 0);
    for &held in held {
        if held > most {
            (most, second) = (held, most);
        } else {
            second = second.max(held);
        }
    }
    let anchors = request.prompt.chain.anchors();
    anchors.get(second as usize).or(anchors.last()).map_or(request.content_hash, |anchor| anchor.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::request;

    #[test]
    fn the_key_is_the_first_anchor_that_is_not_common() {
        let request = request(7, 40);
        let anchors = request.prompt.chain.anchors();
        assert_eq!(own_key(&request, &[]), first_key(&request));
        assert_eq!(own_key(&request, &[0, 9, 0]), anchors[0].0, "one holder does not make it common");
        assert_eq!(own_key(&request, &[3, 9, 0]), anchors[3].0);
        assert_eq!(own_key(&request, &[3, 5, 5]), anchors[5].0);
        let all = anchors.len() as u32;
        assert_eq!(own_key(&request, &[all, all]), anchors[anchors.len() - 1].0);
    }

    #[test]
    fn without_a_chain_the_content_is_the_key() {
        let mut request = request(7, 0);
        request.content_hash = 99;
        assert_eq!((own_key(&request, &[0, 0]), first_key(&request)), (99, 99));
    }
}
