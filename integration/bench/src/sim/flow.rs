//! What a run with flow control has besides: who sends each request, what holds requests back, and how they ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::FlowSettings;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) priority: i32,
    pub(crate) tenant: Arc<str>,
    /// The replica that the request reaches, counted round over all; `None` for any.
    pub(crate) entry: Option<usize>,
}

/// What holds requests back.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    /// Nothing.
    None,
    /// Signalbox's flow control.
    Signalbox(Arc<FlowSettings>),
    /// The Go EPP's flow control, in each replica, with its defaults.
    Go,
}

/// What a run with flow control has besides.
#[derive(Clone, Copy)]
pub(crate) struct FlowRun<'a> {
    /// Who sends each request.
    pub(crate) senders: &'a [Sender],
    pub(crate) control: &'a Control,
    /// When the run ends although requests wait or run; `None` to serve all.
    pub(crate) until_us: Option<u64>,
}

/// What happened to requests that waited in replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowOutcome {
    /// How long each request waited in a replica, in microseconds; `None` if it was not sent to an endpoint.
    pub(crate) waited_us: Vec<Option<u64>>,
    /// Requests that were refused or dropped.
    pub(crate) dropped: usize,
    /// Requests that were sent to an endpoint more than once.
    pub(crate) sent_again: usize,
    /// The longest time for which an endpoint was idle while a request waited.
    pub(crate) longest_idle_us: u64,
    /// The most requests of each priority that waited at the same time.
    pub(crate) most_waiting: BTreeMap<i32, u64>,
}
