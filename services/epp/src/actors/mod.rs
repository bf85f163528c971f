//! The replica's actors and their tasks. `Root` supervises `ViewKeeper`, which follows the aggregators, and
//! `Uplink`, which sends feedback to the pool's owner.

mod owner_connection;
pub(crate) mod request_end_relay;
pub(crate) mod root;
mod uplink;
mod view_keeper;
mod waiting_requests;
