//! The replica's actors: Root, and under it `ViewKeeper` with its downlink, and `Uplink`.

mod downlink;
mod root;
mod uplink;
mod view_keeper;

pub(crate) use root::{Root, RootMessage, RootSetup};
