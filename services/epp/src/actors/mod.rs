//! The replica's actors: Root, and under it `ViewKeeper`, which hears the aggregators, and `Uplink`.

mod root;
mod uplink;
mod view_keeper;

pub(crate) use root::{Root, RootMessage, RootSetup};
pub(crate) use view_keeper::Owner;
