//! The loads of a pool as decisions read them: without a lock, while the one writer changes them.
//!
//! A reader may see one part of a change and not yet another: the count of requests without their tokens, or a sum
//! without the load of one origin that is part of it. Each part is a whole value from before or after that change, so a
//! decision is off by one change at one endpoint, as if the change had come a moment earlier or later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signalbox_prefix::EndpointMap;
use signalbox_types::{EndpointKey, Load, Origin};

/// Number of slots in a page.
const PAGE: usize = 16;

/// A load that can be read while it is changed.
#[derive(Debug, Default)]
struct LiveLoad {
    /// The requests, and in the lower half the prefills.
    counts: AtomicU64,
    prefill_tokens: AtomicU64,
}

impl LiveLoad {
    fn get(&self) -> Load {
        let counts = self.counts.load(Ordering::Relaxed);
        Load {
            requests: (counts >> u32::BITS) as u32,
            prefills: counts as u32,
            prefill_tokens: self.prefill_tokens.load(Ordering::Relaxed),
        }
    }

    fn set(&self, load: Load) {
        let counts = u64::from(load.requests) << u32::BITS | u64::from(load.prefills);
        self.counts.store(counts, Ordering::Relaxed);
        self.prefill_tokens.store(load.prefill_tokens, Ordering::Relaxed);
    }
}

/// The sum of the loads at one endpoint, in one cache line.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(super) struct Total {
    load: LiveLoad,
    prefill_began_ms: AtomicU64,
}

impl Total {
    pub(super) fn set_load(&self, load: Load) {
        self.load.set(load);
    }

    pub(super) fn set_prefill_began_ms(&self, at_ms: u64) {
        self.prefill_began_ms.store(at_ms, Ordering::Relaxed);
    }

    fn prefill_began_ms(&self) -> u64 {
        self.prefill_began_ms.load(Ordering::Relaxed)
    }
}

/// The loads of one origin by slot. A page exists once one of its loads was not zero.
#[derive(Debug)]
pub(super) struct Column {
    pages: Box<[OnceLock<Arc<[LiveLoad; PAGE]>>]>,
    /// Number of loads that are not zero.
    loaded: AtomicUsize,
}

impl Column {
    /// Creates the column of an origin without load.
    fn new(slots: usize) -> Self {
        let pages = (0..slots.div_ceil(PAGE)).map(|_| OnceLock::new());
        Self { pages: pages.collect(), loaded: AtomicUsize::new(0) }
    }

    /// Returns a column with room for more slots, which shares the loads of this one.
    fn enlarged(&self, slots: usize) -> Self {
        let mut pages = self.pages.to_vec();
        pages.resize_with(slots.div_ceil(PAGE), OnceLock::new);
        Self { pages: pages.into(), loaded: AtomicUsize::new(self.loaded.load(Ordering::Relaxed)) }
    }

    fn slots(&self) -> usize {
        self.pages.len() * PAGE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.loaded.load(Ordering::Relaxed) == 0
    }

    pub(super) fn get(&self, slot: usize) -> Load {
        let page = self.pages.get(slot / PAGE).and_then(OnceLock::get);
        page.map_or(Load::ZERO, |page| page[slot % PAGE].get())
    }

    /// Returns the slots with a load that is not zero.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (usize, Load)> {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at * PAGE, page.get()?)));
        let loads = pages.flat_map(|(first, page)| (first..).zip(page.iter().map(LiveLoad::get)));
        loads.filter(|(_, load)| *load != Load::ZERO)
    }

    /// Sets the load in a slot for which there is room, and returns the one before. Called by the one writer only.
    pub(super) fn replace(&self, slot: usize, load: Load) -> Load {
        let cell = &self.pages[slot / PAGE].get_or_init(Arc::default)[slot % PAGE];
        let before = cell.get();
        cell.set(load);
        let loaded = self.loaded.load(Ordering::Relaxed);
        let was_loaded = usize::from(before != Load::ZERO);
        self.loaded.store(loaded + usize::from(load != Load::ZERO) - was_loaded, Ordering::Relaxed);
        before
    }
}

/// The loads of a pool. A copy costs nothing and shows later changes of the loads, but no endpoints and origins that are
/// added later. The origin of an idle replica may be added again.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveLoads {
    slots: Arc<EndpointMap<usize>>,
    totals: Arc<Vec<Arc<[Total; PAGE]>>>,
    columns: Arc<BTreeMap<Origin, Arc<Column>>>,
}

impl LiveLoads {
    /// Returns whether each endpoint has the same slot of the same loads as in `other`.
    pub(crate) fn has_same_slots(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slots, &other.slots)
    }

    /// Returns the slot of an endpoint.
    pub(crate) fn slot(&self, endpoint: EndpointKey) -> Option<usize> {
        self.slots.get(&endpoint).copied()
    }

    /// Returns the load that all replicas put on the endpoint in `slot`.
    pub(crate) fn total_at(&self, slot: usize) -> Load {
        self.total(slot).load.get()
    }

    /// Returns the load that all replicas except `origin` put on the endpoints in `slots`.
    pub(crate) fn without(&self, origin: Origin, slots: &[usize]) -> Vec<Load> {
        let totals = slots.iter().map(|slot| self.total_at(*slot));
        let Some(column) = self.columns.get(&origin) else { return totals.collect() };
        let own = slots.iter().map(|slot| column.get(*slot));
        totals.zip(own).map(|(total, own)| total.saturating_sub(own)).collect()
    }

    /// Returns the replicas that put load on any endpoint.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Origin> {
        self.columns.iter().filter(|(_, column)| !column.is_empty()).map(|(origin, _)| *origin)
    }

    /// Returns when the endpoint in `slot` was last seen to start with a prompt, in milliseconds of this process's clock.
    pub(crate) fn prefill_began_ms(&self, slot: usize) -> u64 {
        self.total(slot).prefill_began_ms()
    }

    pub(super) fn total(&self, slot: usize) -> &Total {
        &self.totals[slot / PAGE][slot % PAGE]
    }

    /// Assigns a slot to an endpoint: a free one or the next one.
    pub(super) fn assign(&mut self, endpoint: EndpointKey, slot: usize) {
        Arc::make_mut(&mut self.slots).insert(endpoint, slot);
        if slot == self.totals.len() * PAGE {
            Arc::make_mut(&mut self.totals).push(Arc::default());
        }
    }

    /// Takes its slot from an endpoint and returns it.
    pub(super) fn release(&mut self, endpoint: EndpointKey) -> Option<usize> {
        self.slot(endpoint)?;
        Arc::make_mut(&mut self.slots).remove(&endpoint)
    }

    pub(super) fn columns(&self) -> &BTreeMap<Origin, Arc<Column>> {
        &self.columns
    }

    /// Returns the column of an origin with room for all slots. When one is added, those that are empty go: an owner may
    /// not know their origins any more.
    pub(super) fn column_mut(&mut self, origin: Origin) -> &Column {
        let slots = self.totals.len() * PAGE;
        if self.columns.get(&origin).is_none_or(|column| column.slots() < slots) {
            let columns = Arc::make_mut(&mut self.columns);
            columns.retain(|of, column| *of == origin || !column.is_empty());
            let known = columns.get(&origin);
            let column = known.map_or_else(|| Column::new(slots), |column| column.enlarged(slots));
            columns.insert(origin, Arc::new(column));
        }
        &self.columns[&origin]
    }

    /// Removes the column of an origin, which is empty.
    pub(super) fn remove_column(&mut self, origin: Origin) {
        if self.columns.contains_key(&origin) {
            Arc::make_mut(&mut self.columns).remove(&origin);
        }
    }
}
