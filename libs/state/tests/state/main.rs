//! Tests of the pool state through the crate's public interface.
#![allow(clippy::unwrap_used)] // a panic fails the test

mod assessments;
mod assignments;
mod bookings;
mod epoch_changes;
mod eviction;
mod feedback;
mod fixtures;
mod following;
mod frame_disorder;
mod frame_table_changes;
mod frame_table_snapshots;
mod journal;
mod load_leaks;
mod origins;
mod overlay_drain;
mod placements;
mod reports;
mod unbooked_load;
mod view_matches;
