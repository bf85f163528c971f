//! The rules of the workspace: which crate may import what, and what pure crates must not do.

mod edges;
mod purity;
mod table;
mod versions;
mod workspace;
