//! Flow control at a replica: where requests wait while the pool is full, and which ones in flight give up their places. What happens to them is decided in
//! `signalbox_admission`; see there.

mod gate;

pub(crate) use gate::{Gate, Place, RevocablePlace, WaitEnd};
