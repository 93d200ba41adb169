//! Scenarios: storms with a name, a fixed seed, and an assertion of their own besides all invariants.

mod a_clock_is_set_back_before_a_restart;
mod a_month_of_pod_churn;
mod a_scheduler_fails_in_the_rush;
mod all_replicas_isolated;
mod datagrams_come_twice;
mod discovery_forgets_everyone_for_a_minute;
mod engine_restarts_with_empty_cache;
mod frozen_replica_wakes;
mod hot_prefix_storm_meets_dead_peer;
mod new_wire_version_joins_old_cluster;
mod pods_are_replaced_one_by_one;
mod replica_dies_mid_stream;
mod rolling_restart_keeps_prefix_warm;
mod told;
mod two_deaths_and_then_quiet;
mod two_halves_meet_again;
mod zone_goes_dark;
