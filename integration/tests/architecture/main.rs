//! The rules of the workspace: which crate may import which, which module may import which, what pure crates must
//! not use, and that the documentation refers only to what exists.

mod crates;
mod documentation;
mod modules;
mod modules_table;
mod purity;
mod source;
mod table;
mod versions;
mod workspace;
