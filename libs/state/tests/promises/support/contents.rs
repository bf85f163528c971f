//! All that a picture holds, in a form that can be compared.

use std::collections::BTreeMap;

use signalbox_prefix::Block;
use signalbox_state::{Digest, Entry, Member, Picture, Snapshot};
use signalbox_types::{BlockHash, EndpointKey, Origin};

/// All that a picture holds, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) digest: Digest,
    members: Vec<Member>,
    acknowledged: Vec<(Origin, u64)>,
    blocks: BTreeMap<BlockHash, (BlockHash, Vec<(EndpointKey, u64)>)>,
    evicted_next: Vec<Option<(BlockHash, u32)>>,
}

impl Contents {
    pub(crate) fn of(picture: &Picture) -> Self {
        let members: Vec<_> = picture.members().map(|member| (**member).clone()).collect();
        let by_hash = |Block { hash, parent, mut holders }: Block| {
            holders.sort_unstable();
            (hash, (parent, holders))
        };
        let residents = picture.residents();
        Self {
            digest: picture.digest(),
            acknowledged: picture.acknowledgements().collect(),
            blocks: residents.blocks().into_iter().map(by_hash).collect(),
            evicted_next: members.iter().map(|member| residents.oldest(member.key, usize::MAX)).collect(),
            members,
        }
    }
}

/// A picture built of the parts of `snapshot`. All sums in it are computed anew.
pub(crate) fn rebuilt(snapshot: &Snapshot) -> Picture {
    let (mut members, mut blocks, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &snapshot.entries {
        match &**entry {
            Entry::Endpoint(member) => members.push((**member).clone()),
            Entry::Blocks(more) => blocks.extend(more.iter().cloned()),
            Entry::Origin(origin, number) => origins.push((*origin, *number)),
        }
    }
    Picture::from_parts(members, blocks, origins).expect("the parts hang together")
}
