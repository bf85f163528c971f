//! Claims on pools, and what undoes them.

use etcd_client::{Client, Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use signalbox_types::PoolId;

use super::{EtcdError, answer};
use crate::{Claim, ClaimError, Owner, keys};

/// How often a claim is tried that others' claims came in between.
const TRIES: usize = 5;

/// What is kept about a pool's ownership.
#[derive(Debug, Default)]
struct Kept {
    owner: Option<KeyValue>,
    epoch: Option<KeyValue>,
}

impl Kept {
    /// Who owns the pool under another lease than `lease`, if anybody does.
    fn holder(&self, lease: i64) -> Option<Owner> {
        let others = self.owner.as_ref().filter(|entry| entry.lease() != lease);
        others.and_then(|entry| keys::owner(entry.value()))
    }

    fn previous(&self) -> Option<u64> {
        self.epoch.as_ref().and_then(|entry| keys::epoch(entry.value()))
    }
}

/// Claims `pool` for whoever holds `lease`; `owner` gives what is written for an epoch.
pub(super) async fn claim(
    client: &mut Client,
    lease: i64,
    pool: &PoolId,
    above: u64,
    owner: impl Fn(u64) -> Owner,
) -> Result<Claim, ClaimError> {
    for _ in 0..TRIES {
        let kept = read(client, pool).await?;
        if let Some(holder) = kept.holder(lease) {
            return Err(ClaimError::Held(holder));
        }
        let claim = Claim::next(kept.previous(), above)?;
        if write(client, lease, pool, &kept, &owner(claim.epoch)).await? == Written::Granted {
            return Ok(claim);
        }
    }
    Err(ClaimError::Unavailable("others claim it, too".to_owned()))
}

async fn read(client: &mut Client, pool: &PoolId) -> Result<Kept, EtcdError> {
    let both = [TxnOp::get(keys::owner_key(pool), None), TxnOp::get(keys::epoch_key(pool), None)];
    let read = answer(client.txn(Txn::new().and_then(both))).await?;
    let mut entries = read.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Get(mut got) => got.take_kvs().pop(),
        _ => None,
    });
    Ok(Kept { owner: entries.next().flatten(), epoch: entries.next().flatten() })
}

#[derive(PartialEq, Eq)]
enum Written {
    Granted,
    /// Somebody changed something meanwhile.
    Raced,
}

/// Takes the pool, if it is still as `kept` says.
async fn write(
    client: &mut Client,
    lease: i64,
    pool: &PoolId,
    kept: &Kept,
    owner: &Owner,
) -> Result<Written, EtcdError> {
    let (owner_key, epoch_key) = (keys::owner_key(pool), keys::epoch_key(pool));
    let unchanged = |key: &str, entry: &Option<KeyValue>| {
        let revision = entry.as_ref().map_or(0, KeyValue::mod_revision);
        Compare::mod_revision(key, CompareOp::Equal, revision)
    };
    let conditions = [unchanged(&owner_key, &kept.owner), unchanged(&epoch_key, &kept.epoch)];
    let bound = PutOptions::new().with_lease(lease);
    let puts = [
        TxnOp::put(owner_key, keys::owner_value(owner), Some(bound)),
        TxnOp::put(epoch_key, owner.epoch.to_string(), None),
    ];
    let written = answer(client.txn(Txn::new().when(conditions).and_then(puts))).await?;
    Ok(if written.succeeded() { Written::Granted } else { Written::Raced })
}

/// Gives `pool` up, if it is `lease`'s.
pub(super) async fn release(client: &mut Client, lease: i64, pool: &PoolId) -> Result<(), EtcdError> {
    let key = keys::owner_key(pool);
    let own = Compare::lease(key.as_str(), CompareOp::Equal, lease);
    let release = Txn::new().when([own]).and_then([TxnOp::delete(key, None)]);
    answer(client.txn(release)).await?;
    Ok(())
}
