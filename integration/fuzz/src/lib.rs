//! Fuzzes every parser of untrusted input (request bodies, responses, metrics pages, a gateway's messages, and the
//! feedback of replicas), and flow control in any order of events.
//!
//! A target accepts any bytes and panics when the code under test violates a property. The bytes come from
//! `cargo fuzz` (guided by coverage; in the folder `fuzz`, with a nightly toolchain) or from [`Mutator`]
//! (random changes of seeds, on any toolchain).

mod feedback;
mod flow_control;
mod gateway_messages;
mod metrics_page;
mod mutator;
mod request_body;
mod response;
mod seeds;

use clap::ValueEnum;

pub use mutator::Mutator;

/// The code under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Request bodies of every API
    RequestBody,
    /// Model server responses: events, documents and gRPC frames
    Response,
    /// Metrics pages of every engine
    MetricsPage,
    /// A gateway's messages on one ext-proc stream
    GatewayMessages,
    /// A replica's feedback, from its bytes to the pool's owner
    Feedback,
    /// Queues of replicas and owners that grant, in any order of events
    FlowControl,
}

impl Target {
    /// All targets.
    pub const ALL: [Self; 6] = [
        Self::RequestBody,
        Self::Response,
        Self::MetricsPage,
        Self::GatewayMessages,
        Self::Feedback,
        Self::FlowControl,
    ];

    /// Returns the name of the target on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestBody => "request-body",
            Self::Response => "response",
            Self::MetricsPage => "metrics-page",
            Self::GatewayMessages => "gateway-messages",
            Self::Feedback => "feedback",
            Self::FlowControl => "flow-control",
        }
    }

    /// Runs the target on these bytes.
    ///
    /// # Panics
    /// Panics when the code under test has a bug.
    pub fn run(self, data: &[u8]) {
        match self {
            Self::RequestBody => request_body::run(data),
            Self::Response => response::run(data),
            Self::MetricsPage => metrics_page::run(data),
            Self::GatewayMessages => gateway_messages::run(data),
            Self::Feedback => feedback::run(data),
            Self::FlowControl => flow_control::run(data),
        }
    }

    /// Returns valid inputs to start from.
    ///
    /// # Errors
    /// Fails when the folder of seeds cannot be read.
    pub fn seeds(self) -> anyhow::Result<Vec<Vec<u8>>> {
        match self {
            Self::RequestBody => seeds::files("libs/intake/corpus/request"),
            Self::Response => seeds::files("libs/intake/corpus/response"),
            Self::MetricsPage => seeds::files("libs/dialect/tests/pages"),
            Self::GatewayMessages => Ok(gateway_messages::seeds()),
            Self::Feedback => Ok(feedback::seeds()),
            Self::FlowControl => Ok(flow_control::seeds()),
        }
    }

    /// Returns strings that have a meaning in the target's inputs.
    pub fn dictionary(self) -> &'static [&'static str] {
        match self {
            Self::RequestBody => &[
                "\"model\":",
                "\"prompt\":",
                "\"messages\":[",
                "\"content\":",
                "\"input\":",
                "\"stream\":true",
                "\"token_ids\":[",
                "\"input_ids\":[1,2]",
                "\"cache_salt\":\"s\"",
                "\\u0000",
                "\\\"",
                "[",
                "]",
                "{",
                "}",
                ",",
                "1e400",
                "-1",
                "null",
                "18446744073709551616",
            ],
            Self::Response => &[
                "data: ",
                "data:",
                "[DONE]",
                "\n\n",
                "\r\n",
                "\"usage\":{",
                "\"prompt_tokens\":",
                "\"model\":\"tuned\"",
                "\"model\": \"tuned\"",
                "\"model\":\"tun",
                "\"meta_info\":{",
                "\\\"",
                "{",
                "}",
                "\0\0\0\0\u{5}",
            ],
            Self::MetricsPage => &[
                "vllm:num_requests_waiting ",
                "vllm:num_requests_running ",
                "sglang:num_queue_reqs ",
                "{",
                "}",
                "\"",
                "\\",
                "=",
                " NaN",
                " +Inf",
                " 1e308",
                "\n",
                "# TYPE ",
                ",",
            ],
            Self::GatewayMessages | Self::Feedback | Self::FlowControl => &[],
        }
    }
}
