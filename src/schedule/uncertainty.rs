//! What a view may have missed, and what decides where that matters.
//!
//! Must not know peers or lanes; the scheduler says how far its view may be off.

use serde::Serialize;

use crate::request::InferenceRequest;

/// How far the view of one decision may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncertainty {
    /// All that others did is known: the best row is the best.
    #[default]
    None,
    /// Others decide at this moment, on the same view: up to so many of the best rows are as good as each other, for by
    /// now somebody chose the best one.
    Concurrent(usize),
    /// Others decide and nothing is heard of them: only what is the same everywhere can be agreed on, the request itself.
    Isolated,
}

/// What decides among equals where nobody is known to hold anything: how the prompt begins, or all of the content where
/// there is no chain.
pub fn first_key(request: &InferenceRequest) -> u64 {
    request.prompt.chain.anchors().first().map_or(request.content_hash, |anchor| anchor.0)
}

/// What decides among equals: where the prompt becomes its own. `held` are the anchors of its chain that each endpoint
/// holds. What two endpoints hold is common, like the system prompt of all users, and says nothing of whose request it
/// is; the first anchor after that does, and it stays the same while a conversation grows.
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
