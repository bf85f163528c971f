//! Claims and releases pools in etcd, and stores the signals of their owners.

use bytes::Bytes;
use etcd_client::{Client, Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use signalbox_types::PoolId;

use super::{EtcdError, with_timeout};
use crate::error::{StoreError, Unavailable};
use crate::ownership::{Claim, ClaimError, ClaimRequest, Owner};
use crate::registry::keys;

/// Attempts of a request that loses races against claims.
const MAX_ATTEMPTS: usize = 5;

/// The entries of a pool's ownership.
#[derive(Debug, Default)]
struct OwnershipEntries {
    owner: Option<KeyValue>,
    epoch: Option<KeyValue>,
}

impl OwnershipEntries {
    /// Returns the owner if the pool is owned under another lease than `lease`.
    fn other_owner(&self, lease: i64) -> Option<Owner> {
        let others = self.owner.as_ref().filter(|entry| entry.lease() != lease);
        others.and_then(|entry| keys::decode_owner(entry.value()))
    }

    fn previous_epoch(&self) -> Option<u64> {
        self.epoch.as_ref().and_then(|entry| keys::decode_epoch(entry.value()))
    }
}

/// Claims `pool` for the holder of `lease`. `owner` returns the entry to write for an epoch.
pub(super) async fn claim(
    client: &mut Client,
    lease: i64,
    pool: &PoolId,
    request: ClaimRequest,
    owner: impl Fn(u64) -> Owner,
) -> Result<Claim, ClaimError> {
    for _ in 0..MAX_ATTEMPTS {
        let entries = read(client, pool).await?;
        if let Some(owner) = entries.other_owner(lease)
            && request.is_refused_by(&owner)
        {
            return Err(ClaimError::Held(owner));
        }
        let claim = Claim::next(entries.previous_epoch(), request.above)?;
        if write(client, lease, pool, &entries, &owner(claim.epoch)).await? == WriteOutcome::Granted {
            return Ok(claim);
        }
    }
    Err(ClaimError::Unavailable("too many concurrent claims".to_owned()))
}

async fn read(client: &mut Client, pool: &PoolId) -> Result<OwnershipEntries, EtcdError> {
    let both = [TxnOp::get(keys::owner_key(pool), None), TxnOp::get(keys::epoch_key(pool), None)];
    let read = with_timeout(client.txn(Txn::new().and_then(both))).await?;
    let mut entries = read.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Get(mut response) => response.take_kvs().pop(),
        _ => None,
    });
    Ok(OwnershipEntries { owner: entries.next().flatten(), epoch: entries.next().flatten() })
}

#[derive(PartialEq, Eq)]
enum WriteOutcome {
    Granted,
    /// The entries changed since they were read.
    Raced,
}

/// Writes the new owner if the pool's entries are still `entries`.
async fn write(
    client: &mut Client,
    lease: i64,
    pool: &PoolId,
    entries: &OwnershipEntries,
    owner: &Owner,
) -> Result<WriteOutcome, EtcdError> {
    let (owner_key, epoch_key) = (keys::owner_key(pool), keys::epoch_key(pool));
    let conditions =
        [unchanged(&owner_key, entries.owner.as_ref()), unchanged(&epoch_key, entries.epoch.as_ref())];
    let bound_to_lease = PutOptions::new().with_lease(lease);
    let puts = [
        TxnOp::put(owner_key, keys::encode_owner(owner), Some(bound_to_lease)),
        TxnOp::put(epoch_key, owner.epoch.to_string(), None),
    ];
    let written = with_timeout(client.txn(Txn::new().when(conditions).and_then(puts))).await?;
    Ok(if written.succeeded() { WriteOutcome::Granted } else { WriteOutcome::Raced })
}

/// Returns the condition that a key still has the entry that was read.
fn unchanged(key: &str, entry: Option<&KeyValue>) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, entry.map_or(0, KeyValue::mod_revision))
}

/// Stores `signal` as the owner of `epoch`, unless `pool` had an owner of a later one.
pub(super) async fn store_signal(
    client: &mut Client,
    pool: &PoolId,
    epoch: u64,
    signal: &Bytes,
) -> Result<(), StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        let entries = read(client, pool).await?;
        StoreError::check_rank(epoch, entries.previous_epoch())?;
        let put = TxnOp::put(keys::signal_key(pool), signal.clone(), None);
        let store =
            Txn::new().when([unchanged(&keys::epoch_key(pool), entries.epoch.as_ref())]).and_then([put]);
        if with_timeout(client.txn(store)).await?.succeeded() {
            return Ok(());
        }
    }
    Err(Unavailable("too many concurrent claims".to_owned()).into())
}

/// Releases `pool` if it is owned under `lease`.
pub(super) async fn release(client: &mut Client, lease: i64, pool: &PoolId) -> Result<(), EtcdError> {
    let key = keys::owner_key(pool);
    let is_own = Compare::lease(key.as_str(), CompareOp::Equal, lease);
    let release = Txn::new().when([is_own]).and_then([TxnOp::delete(key, None)]);
    with_timeout(client.txn(release)).await?;
    Ok(())
}
