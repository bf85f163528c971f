//! The access log service for gateways that leave responses off ext-proc. Its entries report the ends of
//! requests that any replica booked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signalbox_extproc::{AccessLogEntry, Destination, parse_access_log_entry};
use signalbox_protos::envoy::data::accesslog::v3::HttpAccessLogEntry;
use signalbox_protos::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use signalbox_protos::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use signalbox_protos::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use tonic::{Request, Response, Status, Streaming};

use crate::deciding::picker::Picker;

/// The access log service.
#[derive(Debug)]
pub(crate) struct AccessLog {
    picker: Arc<Picker>,
    /// Whether the warning about missing booking ids was parse_access_log_entry.
    has_warned: AtomicBool,
}

impl AccessLog {
    pub(crate) fn new(picker: Arc<Picker>) -> Self {
        Self { picker, has_warned: AtomicBool::new(false) }
    }

    fn handle(&self, entry: HttpAccessLogEntry) {
        let picker = &self.picker;
        match parse_access_log_entry(entry) {
            AccessLogEntry::Ended(end) if end.booking.replica == picker.replica => {
                picker.handle_request_end(&end)
            }
            AccessLogEntry::Ended(end) => picker.relay_request_end(end),
            AccessLogEntry::Intermediate => {}
            AccessLogEntry::Unbooked => {
                picker.metrics.count_access_log_entry("no_booking_id");
                self.warn_of_missing_ids();
            }
        }
    }

    /// Warns once if all entries lack a booking id while bookings are detached. A single such entry is
    /// normal: refused requests have no booking.
    fn warn_of_missing_ids(&self) {
        let detached = &self.picker.detached;
        if detached.has_seen_ends() || detached.count() == 0 || self.has_warned.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tracing::warn!(
            header = Destination::BOOKING_HEADER,
            "the gateway's access log has no booking ids; list the header in additional_request_headers_to_log"
        );
    }
}

#[tonic::async_trait]
impl AccessLogService for AccessLog {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut inbound = request.into_inner();
        while let Some(message) = inbound.message().await? {
            if let Some(LogEntries::HttpLogs(entries)) = message.log_entries {
                entries.log_entry.into_iter().for_each(|entry| self.handle(entry));
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}
