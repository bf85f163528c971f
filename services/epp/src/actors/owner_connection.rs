//! The connection to the pool's owner, which `ViewKeeper` shares with the tasks that send to the owner.

use tonic::transport::Channel;

/// Number of the stream to the owning aggregator and the channel to it; `None` while no owner is known.
pub(crate) type OwnerConnection = Option<(u64, Channel)>;
