//! The access log service for gateways that leave responses off ext-proc. Its entries report the ends of
//! requests that any replica booked, for any pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use signalbox_extproc::{AccessLogEntry, Destination, parse_access_log_entry};
use signalbox_protos::envoy::data::accesslog::v3::HttpAccessLogEntry;
use signalbox_protos::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use signalbox_protos::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use signalbox_protos::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use signalbox_types::RequestEnd;
use tonic::{Request, Response, Status, Streaming};

use crate::directory::{ListedPool, PoolDirectory};
use crate::metrics::access_log_entries::AccessLogEntries;

/// Of how many entries without a booking id one is checked for whether all lack it. The check asks every pool, and a
/// gateway may log nothing but such entries.
const CHECK_EVERY: u64 = 256;

/// The access log service.
#[derive(Debug)]
pub(crate) struct AccessLog {
    directory: Arc<PoolDirectory>,
    /// Counts the entries that belong to no pool.
    entries: AccessLogEntries,
    /// Number of entries without a booking id.
    unbooked: AtomicU64,
    /// Whether the warning about missing booking ids was logged.
    has_warned: AtomicBool,
}

impl AccessLog {
    /// Returns a service that reports to the pools in `directory`. `entries` counts what belongs to no pool.
    pub(crate) fn new(directory: Arc<PoolDirectory>, entries: AccessLogEntries) -> Self {
        Self { directory, entries, unbooked: AtomicU64::new(0), has_warned: AtomicBool::new(false) }
    }

    fn handle(&self, entry: HttpAccessLogEntry) {
        match parse_access_log_entry(entry) {
            AccessLogEntry::Ended(end) => self.handle_end(&end),
            AccessLogEntry::Intermediate => {}
            AccessLogEntry::Unbooked => {
                self.entries.count("no_booking_id");
                self.warn_of_missing_ids();
            }
        }
    }

    /// Settles the booking, or relays the end to the replica that has it. Any pool can relay what belongs to none here:
    /// all replicas follow the same ones.
    fn handle_end(&self, end: &RequestEnd) {
        let pools = self.directory.all();
        let may_have_booked = |pool: &&ListedPool| pool.picker.detached.may_contain(end.booking.number);
        let mut booked = pools.iter().filter(may_have_booked);
        let Some(first) = booked.next().or(pools.first()) else {
            return self.entries.count("unknown_pool");
        };
        // Two pools can have the same tag.
        for pool in std::iter::once(first).chain(booked) {
            if end.booking.replica == pool.picker.replica {
                pool.picker.handle_request_end(end);
            } else {
                pool.picker.relay_request_end(end.clone());
            }
        }
    }

    /// Warns once if all entries lack a booking id while bookings are detached. A single such entry is
    /// normal: refused requests have no booking.
    fn warn_of_missing_ids(&self) {
        let number = self.unbooked.fetch_add(1, Ordering::Relaxed);
        if !number.is_multiple_of(CHECK_EVERY) || self.has_warned.load(Ordering::Relaxed) {
            return;
        }
        let pools = self.directory.all();
        let has_seen_ends = pools.iter().any(|pool| pool.picker.detached.has_seen_ends());
        let has_detached = || pools.iter().any(|pool| pool.picker.detached.count() > 0);
        if has_seen_ends || !has_detached() || self.has_warned.swap(true, Ordering::Relaxed) {
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

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use signalbox_peers::FollowedPool;
    use signalbox_types::{BookingId, ReplicaKey};

    use super::*;
    use crate::bookings::booking_numbers::pool_tag;
    use crate::metrics::access_log_entries::AccessLogEntries;
    use crate::test_support::{FIRST, granted, picker, picker_of, prompt_of};

    #[tokio::test]
    async fn missing_booking_ids_are_noticed_though_few_entries_are_checked() {
        let directory = Arc::new(PoolDirectory::default());
        let log = AccessLog::new(Arc::clone(&directory), AccessLogEntries::default());
        let has_warned = || log.has_warned.load(Ordering::Relaxed);
        log.handle(HttpAccessLogEntry::default());
        let picker = Arc::new(picker(&[FIRST]));
        directory.add(&ListedPool { pool: Arc::new(FollowedPool::default()), picker: Arc::clone(&picker) });
        let booked = picker.pick(prompt_of(1, 256), granted()).unwrap().booked;
        picker.detach(picker.detached.register(), booked);
        assert_eq!(1, picker.detached.count());
        for _ in 1..CHECK_EVERY {
            log.handle(HttpAccessLogEntry::default());
            assert!(!has_warned());
        }
        log.handle(HttpAccessLogEntry::default());
        assert!(has_warned());
        let expected = format!("access_log_entries_total{{outcome=\"no_booking_id\"}} {}", CHECK_EVERY + 1);
        assert_eq!(expected, counted(&log.entries));
    }

    /// Returns the counted outcomes as text.
    fn counted(entries: &AccessLogEntries) -> String {
        let (mut registry, mut page) = (Registry::default(), String::new());
        entries.register(&mut registry);
        encode(&mut page, &registry).unwrap();
        page.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn end_of_a_request_reaches_the_pool_that_booked_it() {
        let directory = Arc::new(PoolDirectory::default());
        let log = AccessLog::new(Arc::clone(&directory), AccessLogEntries::default());
        let end = |replica: &str, number| RequestEnd {
            booking: BookingId { replica: ReplicaKey::of(replica), number },
            status: Some(200),
            served: None,
            first_byte: None,
        };
        log.handle_end(&end("epp", 0));
        assert_eq!("access_log_entries_total{outcome=\"unknown_pool\"} 1", counted(&log.entries));
        let pools = ["default/chat", "default/code"].map(|name| {
            let listed =
                ListedPool { pool: Arc::new(FollowedPool::default()), picker: Arc::new(picker_of(name)) };
            directory.add(&listed);
            listed.picker
        });
        let entries = |pool: usize| counted(&pools[pool].metrics.access_log_entries);
        let number = pools[1].detached.register();
        log.handle_end(&end("epp", number));
        assert_eq!(
            ("", "access_log_entries_total{outcome=\"own\"} 1"),
            (entries(0).as_str(), entries(1).as_str())
        );
        // The receivers of relayed ends are gone.
        log.handle_end(&end("another", pools[0].detached.register()));
        assert_eq!("access_log_entries_total{outcome=\"dropped\"} 1", entries(0));
        log.handle_end(&end("another", pools[1].detached.register()));
        assert!(entries(1).contains("outcome=\"dropped\"} 1"), "{}", entries(1));
    }

    #[test]
    fn end_is_relayed_for_each_pool_with_the_tag_of_its_booking() {
        let name = |number: u32| format!("default/pool-{number}");
        let twin = (1..).find(|number| pool_tag(&name(*number)) == pool_tag(&name(0))).map(name);
        let directory = Arc::new(PoolDirectory::default());
        let log = AccessLog::new(Arc::clone(&directory), AccessLogEntries::default());
        let pickers = [name(0), twin.unwrap(), "default/other".to_owned()].map(|name| {
            let picker = Arc::new(picker_of(&name));
            directory
                .add(&ListedPool { pool: Arc::new(FollowedPool::default()), picker: Arc::clone(&picker) });
            picker
        });
        let number = pickers[1].detached.register();
        log.handle_end(&RequestEnd {
            booking: BookingId { replica: ReplicaKey::of("another"), number },
            status: Some(200),
            served: None,
            first_byte: None,
        });
        // The receivers of relayed ends are gone.
        let dropped = "access_log_entries_total{outcome=\"dropped\"} 1";
        assert_eq!(
            [dropped, dropped, ""],
            [0, 1, 2].map(|pool: usize| counted(&pickers[pool].metrics.access_log_entries))
        );
    }
}
