//! Looks after the requests that wait: drops those that have waited for too long, and grants while the owner is silent.

use std::sync::Arc;
use std::time::Duration;

use signalbox_telemetry::catch_panic;

use crate::deciding::picker::Picker;

/// How often, while any requests wait.
const TICK: Duration = Duration::from_millis(5);

/// Looks after the requests that wait, for ever. Costs nothing while none does.
pub(super) async fn tend_waiting_requests(picker: Arc<Picker>) {
    loop {
        // Requests may wait already if a predecessor has failed.
        while catch_panic(|| tick(&picker)).unwrap_or_else(|panic| {
            picker.record_panic(&panic, None);
            true
        }) {
            tokio::time::sleep(TICK).await;
        }
        picker.gate.begun.notified().await;
    }
}

/// Returns whether any requests wait.
fn tick(picker: &Picker) -> bool {
    picker.gate.tick(picker.now_ms(), picker.view_age_ms(), || picker.own_saturation())
}
