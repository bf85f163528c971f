//! What pools follow from which objects.

mod endpoints;
mod fixtures;
mod models;
mod order;
mod pools;
mod sync;
