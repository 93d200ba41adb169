//! `always-disagg-pd-decider` and `always-disagg-multimodal-decider`: a stage apart whenever there is work for it.

use std::sync::Arc;

use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::plugin::verdict::{Decider, Verdict};
use crate::schedule::{Ask, Stage, Target};

/// `always-disagg-pd-decider`: every request gets a prefill endpoint.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysDisaggPdDecider;

/// `always-disagg-multimodal-decider`: a request with images, audio or video gets an encode endpoint.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysDisaggMultimodalDecider;

// === impl AlwaysDisaggPdDecider ===

impl Decider for AlwaysDisaggPdDecider {
    fn decide(&self, _: &Ask<'_>, _: Stage, _: Option<&Target>) -> Verdict {
        Verdict { separate: true, reason: "always".to_owned() }
    }
}

impl Plugin for AlwaysDisaggPdDecider {
    const TYPE: &'static str = "always-disagg-pd-decider";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::decider(self)
    }
}

// === impl AlwaysDisaggMultimodalDecider ===

impl Decider for AlwaysDisaggMultimodalDecider {
    fn decide(&self, ask: &Ask<'_>, _: Stage, _: Option<&Target>) -> Verdict {
        match ask.request.prompt.media {
            0 => Verdict { separate: false, reason: "the prompt has no images, audio or video".to_owned() },
            media => Verdict { separate: true, reason: format!("images, audio and video in the prompt: {media}") },
        }
    }
}

impl Plugin for AlwaysDisaggMultimodalDecider {
    const TYPE: &'static str = "always-disagg-multimodal-decider";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::decider(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::request;

    #[test]
    fn only_prompts_with_media_are_encoded_apart() {
        let mut request = request(1, 4);
        let decide = |request: &_| AlwaysDisaggMultimodalDecider.decide(&Ask::sure(request), Stage::Encode, None);
        assert!(!decide(&request).separate);
        request.prompt.media = 2;
        assert!(decide(&request).separate);
        assert!(AlwaysDisaggPdDecider.decide(&Ask::sure(&request), Stage::Prefill, None).separate);
    }
}
