//! Stories: storms with a name, a fixed seed, and a point of their own beside all promises.

mod all_replicas_lonely;
mod discovery_forgets_everyone_for_a_minute;
mod engine_restarts_with_empty_cache;
mod frozen_replica_wakes;
mod hot_prefix_storm_meets_dead_peer;
mod new_wire_version_joins_old_cluster;
mod replica_dies_mid_stream;
mod rolling_restart_keeps_prefix_warm;
mod told;
mod two_halves_meet_again;
mod zone_goes_dark;
