//! The contract with Envoy, over real gRPC on loopback: each rule of the endpoint-picker protocol, each key, each row
//! of the message sequence, and each known defect of the Go picker has its own test.
//!
//! | written protocol | test in [`protocol`] |
//! |---|---|
//! | P1 full duplex both ways | `p1_the_service_speaks_full_duplex_both_ways` |
//! | P2 subset | `p2_only_endpoints_of_the_subset_are_chosen`, `p2_an_address_has_one_spelling` |
//! | | `p2_an_empty_subset_is_503` |
//! | | `p2_a_subset_that_matches_no_endpoint_is_503` |
//! | | `p2_without_a_subset_the_whole_pool_is_chosen_from` |
//! | P3 destination | `p3_header_and_metadata_hold_the_same_destination`, `p3_fallbacks_are_listed_in_order` |
//! | P4 scope of the list | `p4_the_list_holds_endpoints_of_this_pool_only` |
//! | P5 refusals | `p5_a_pool_without_endpoints_is_503`, `p5_a_request_that_is_shed_is_429` |
//! | P6 served feedback | `p6_the_endpoint_that_served_is_the_one_that_is_counted` |
//! | P7 health | `tests/replica/health.rs` |
//!
//! | key | test in [`keys`] |
//! |---|---|
//! | destination, its scores | `the_destination_is_set_and_scores_are_not_emitted` |
//! | fairness id, objective, SLO, video, with aliases | `control_headers_do_not_reach_the_engine_in_any_spelling` |
//! | model rewrite and its alias | `the_rewrite_header_sets_the_model_in_both_spellings`, `the_rewrite_header_works_on_every_json_api` |
//! | `content-encoding` | `a_compressed_body_is_routed_unless_its_model_must_be_rewritten` |
//! | which spelling is read | `spellings_that_contradict_each_other_are_400`, `only_the_trusted_spelling_is_read` |
//! | how long a value may be | `a_control_header_of_more_than_256_bytes_is_400` |
//! | `x-request-id` | `a_request_without_an_id_gets_a_uuid`, `a_request_with_an_id_keeps_it` |
//! | dropped reason | `every_refusal_names_its_reason` |
//! | prefiller, encoders, rank, KV source | `sidecar_headers_of_a_client_do_not_reach_the_sidecar` |
//! | prefiller of the decision | `a_long_prompt_names_its_prefill_endpoint_and_goes_to_the_decode_endpoint`, `a_client_s_own_prefill_endpoint_is_overwritten_or_removed` |
//! | `x-went-into-resp-headers` | `an_answer_carries_the_header_of_the_picker` |
//! | whose session is bound | `a_session_is_bound_with_its_first_token_and_not_by_streams_that_are_given_up` |
//! | session headers, other preferences, `EPP-Profile` that no handler reads | `other_headers_of_the_client_are_passed_on` |
//! | `Prefer: if-available` | `a_request_that_wants_a_cached_prefix_is_412_until_there_is_one` |
//! | `EPP-Profile`, rank of the decision | `actors/src/ext_proc/exchange/tests/stages.rs`, `tests/golden_decisions.rs` |
//!
//! | message | test in [`sequence`] |
//! |---|---|
//! | request headers, body to come | `headers_with_a_body_to_come_are_not_answered_yet` |
//! | request headers alone | `headers_alone_are_answered_with_headers_alone` |
//! | request body chunks | `body_chunks_are_gathered_and_not_answered_yet` |
//! | end of the request body | `the_end_of_the_body_is_answered_with_headers_and_then_pieces` |
//! | | `an_empty_body_is_one_empty_piece` |
//! | | `pieces_are_at_most_62_000_bytes_and_only_the_last_one_ends` |
//! | | `content_length_is_that_of_the_body_that_is_sent_on` |
//! | request trailers | `trailers_end_the_request_and_follow_the_body` |
//! | response headers | `response_headers_are_answered_at_once` |
//! | response body, streamed or not | `each_chunk_of_a_streamed_answer_is_passed_on_at_once` |
//! | | `an_answer_in_one_document_is_passed_on_at_once_too` |
//! | response trailers | `response_trailers_end_the_stream_in_order` |
//! | response without a request (local replies) | `a_local_reply_of_the_proxy_is_let_through_in_any_state`, and through a real Envoy `chaos/testbed/tests/local_replies/` |
//! | error before the response | `an_error_is_answered_at_once_and_ends_the_stream` |
//! | parser that skips the response | `leaving_closes_the_stream_in_order_after_the_last_piece` |
//! | what no Envoy sends | `a_sequence_out_of_order_is_an_error_and_leaves_no_ticket` |
//! | | `a_body_over_the_limit_is_413` |
//! | | `a_stream_over_the_limit_is_503` |
//! | | `a_slow_body_is_408`, `slow_streams_do_not_keep_others_out` |
//! | | `a_body_over_the_budget_of_all_streams_is_503` |
//! | | `two_thousand_streams_at_once_leave_nothing_open` |
//!
//! | gateway | test in [`authority`] |
//! |---|---|
//! | Istio, whose Envoy sends its cluster's name as authority | `a_gateway_that_sends_its_clusters_name_is_served` |
//! | the same over TLS | `a_gateway_that_sends_its_clusters_name_is_served_over_tls` |
//! | its health checks | `a_prober_that_sends_its_clusters_name_gets_the_health` |
//!
//! | defect | test in [`defects`] |
//! |---|---|
//! | 1 header-only requests | `d01_headers_alone_obey_the_subset_and_get_503_without_endpoints` |
//! | 2 ports and IPv6 in the subset | `d02_a_subset_counts_ports_and_reads_ipv6` |
//! | 3 hint only with the last chunk | `d03_a_hint_that_came_with_the_headers_is_honoured` |
//! | 4 body that ends by trailers | `d04_a_body_that_ends_by_trailers_is_scheduled` |
//! | 5 control headers leak | `d05_a_spoofed_prefiller_is_removed` |
//! | 6 duplicate headers collapse | `d06_headers_that_came_twice_are_not_written_back` |
//! | 7 usage split over frames | `d07_usage_that_is_split_over_two_frames_is_read` |
//! | 8 model name by byte search | `d08_the_clients_model_name_comes_back_across_a_split_and_user_text_stays` |
//! | 9 rewrite through a map | `d09_a_rewrite_leaves_every_other_byte_alone` |
//! | 10 `:status` never read | `d10_an_engines_error_status_is_counted` |
//! | 11 refusals with the wrong status | `d11_no_endpoint_and_all_endpoints_full_are_two_statuses` |
//! | 12 fallback is not accounted | `d12_a_fallback_that_served_is_counted` |
//! | 13 answers are held back | `d13_the_first_byte_of_an_answer_does_not_wait_for_its_last` |
//! | 14 static health | `tests/replica/health.rs` |
//! | 15 message and body limits | `d15_a_message_of_six_mebibytes_is_accepted_and_a_body_is_bounded` |
//! | 16 state keyed by the client's id | `d16_two_requests_with_one_id_are_two` |
//! | 17 lines for every request | the log's own tests: gRPC does not show it |

mod authority;
mod defects;
mod keys;
mod protocol;
mod sequence;
mod stages;
