//! A sidecar from outside: real sockets, and engines that answer as the test says.
//!
//! | complaint (llm-d, vLLM, SGLang, AIBrix, Dynamo issues) | test |
//! |---|---|
//! | decode blocks leak when the prefill never reports (vllm#46283) | `concurrent::a_prefill_that_fails_cancels_the_decode_leg_that_waits_for_it` |
//! | the prefill engine frees blocks that are still read: wrong text (vllm#21570) | `nixl::a_hand_off_that_is_too_late_is_given_up`, `process::a_sidecar_that_stood_still_does_not_hand_over_what_came_meanwhile`, `nixl::a_request_for_several_sequences_is_not_handed_over` |
//! | abort and retry storms exhaust the KV cache (vllm#29906) | `attempts::tests::a_storm_of_retries_is_bounded`, `nixl::a_client_that_leaves_cancels_the_leg_that_runs` |
//! | a restarted prefill engine leaves a stale agent (vllm#49238) | `nixl::a_restarted_prefill_engine_is_noticed`, `concurrent::a_restarted_prefill_engine_is_asked_under_its_new_id` |
//! | versions of prefill and decode engines that do not match are paired (llm-d#499) | `nixl::blocks_of_another_version_are_not_handed_over` |
//! | a decode leg fails, its prefill hangs for 1,800 s (sglang#29482) | `concurrent::a_decode_leg_that_fails_cancels_its_prefill_leg` |
//! | a prefill fails in silence, the decode leg waits (aibrix#2289) | `concurrent::a_prefill_that_fails_cancels_the_decode_leg_that_waits_for_it` |
//! | decode's deadline pays for prefill's queue (llm-d-router#2438) | `nixl::the_decode_leg_has_a_deadline_of_its_own` |
//! | SSRF by `x-prefiller-host-port`, allowed by address and not by port (llm-d-router#242, #979) | `targets::*` |
//! | `cached_tokens` wrong in streams (vllm router#193) | `nixl::cached_tokens_are_the_prefill_engines` |
//! | the decode engine prefills again, unseen (vllm#26896) | `nixl::parameters_that_are_not_complete_are_never_handed_over` (counted) |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

mod bounds;
mod concurrent;
mod encoders;
mod harness;
mod nixl;
mod other_connectors;
mod pass_through;
mod pool;
mod process;
mod ranks;
mod statuses;
mod targets;
