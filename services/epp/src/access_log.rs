//! The access log of gateways that leave responses off ext-proc: tells of the ends of requests, whichever replica booked them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signalbox_extproc::{Destination, Logged, logged};
use signalbox_protos::envoy::data::accesslog::v3::HttpAccessLogEntry;
use signalbox_protos::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use signalbox_protos::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use signalbox_protos::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use tonic::{Request, Response, Status, Streaming};

use crate::picker::Picker;

/// The access log service.
#[derive(Debug)]
pub(crate) struct AccessLog {
    picker: Arc<Picker>,
    /// Whether it was said that bookings are not named.
    complained: AtomicBool,
}

impl AccessLog {
    pub(crate) fn new(picker: Arc<Picker>) -> Self {
        Self { picker, complained: AtomicBool::new(false) }
    }

    fn take(&self, entry: HttpAccessLogEntry) {
        let picker = &self.picker;
        match logged(entry) {
            Logged::Ended(ended) if ended.booking.replica == picker.replica => picker.told(&ended),
            Logged::Ended(ended) => picker.pass_on(ended),
            Logged::Unfinished => {}
            Logged::Unnamed => {
                picker.metrics.logged("unnamed");
                self.complain();
            }
        }
    }

    /// Entries without names are those of requests that were refused, unless nothing but such entries comes while bookings wait.
    fn complain(&self) {
        let held = &self.picker.held;
        if held.was_ever_told() || held.waiting() == 0 || self.complained.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            header = Destination::BOOKING,
            "the gateway's access log names no bookings: list the header in additional_request_headers_to_log"
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
                entries.log_entry.into_iter().for_each(|entry| self.take(entry));
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}
