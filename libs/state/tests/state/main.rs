//! Tests of the pool state through the crate's public interface.
#![allow(clippy::unwrap_used)] // a panic fails the test

mod assessments;
mod assignments;
mod bookings;
mod cache_accuracy;
mod draining;
mod early_takeover;
mod epoch_changes;
mod eviction;
mod feedback;
mod fixtures;
mod following;
mod frame_disorder;
mod frame_table_changes;
mod frame_table_snapshots;
mod history_bounds;
mod history_reading;
mod incremental_views;
mod invented_epochs;
mod journal;
mod large_pool;
mod late_inheritance;
mod load_leaks;
mod model_circuits;
mod origins;
mod overlay_drain;
mod placements;
mod rates;
mod reports;
mod restarts;
mod stalls;
mod token_ratios;
mod unbooked_load;
mod view_matches;
