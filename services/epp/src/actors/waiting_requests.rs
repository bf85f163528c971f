//! Looks after the requests that wait: drops those that have waited for too long, and grants while the owner is silent.

use std::sync::Arc;
use std::time::Duration;

use signalbox_admission::{Awake, TICK_MS};

use crate::deciding::picker::Picker;

/// How often, while any requests wait.
const TICK: Duration = Duration::from_millis(TICK_MS);

/// Looks after the requests that wait, for ever. Costs nothing while none does.
pub(super) async fn tend_waiting_requests(picker: Arc<Picker>) {
    let mut awake = Awake::default();
    loop {
        awake.begin(picker.now_ms());
        // Requests may wait already if a predecessor has failed.
        while picker.guard(None, || tick(&picker, &mut awake)).unwrap_or(true) {
            tokio::time::sleep(TICK).await;
        }
        picker.gate.begun.notified().await;
    }
}

/// Returns whether any requests wait.
fn tick(picker: &Picker, awake: &mut Awake) -> bool {
    let now_ms = picker.now_ms();
    let silence_ms = awake.owner_silence_ms(now_ms, picker.owner_silence_ms());
    picker.gate.tick(now_ms, silence_ms, || picker.own_saturation())
}
