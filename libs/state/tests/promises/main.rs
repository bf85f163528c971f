//! What the state of a pool promises to those who build on it, from the outside.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

mod assessments;
mod assignments;
mod bookings;
mod disorder;
mod drain;
mod eviction;
mod feedback;
mod following;
mod foreign;
mod frame_table_changes;
mod frame_table_snapshots;
mod journal;
mod leftovers;
mod origins;
mod placements;
mod reports;
mod sight;
mod support;
mod turns;
