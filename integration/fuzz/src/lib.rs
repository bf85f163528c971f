//! Bytes without sense, given to everything that reads what others send: request bodies, answers, metrics pages, a gateway's messages.
//!
//! A target takes any bytes and panics if what they are given to does something that it must not. [`Target::run`] is all of it; who makes
//! the bytes is another matter: `cargo fuzz` (the folder `fuzz`, with a nightly toolchain) by what they reach, [`Mutator`] by chance, from
//! seeds, on any toolchain.

mod answer;
mod messages;
mod mutate;
mod page;
mod request;
mod seeds;

use clap::ValueEnum;

pub use mutate::Mutator;

/// What is given bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Request bodies of every API
    Request,
    /// Answers: events, documents and frames
    Answer,
    /// Metrics pages of every engine
    Page,
    /// A gateway's messages on one stream
    Messages,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::Answer, Self::Page, Self::Messages];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Page => "page",
            Self::Messages => "messages",
        }
    }

    /// Gives it these bytes.
    ///
    /// # Panics
    /// When something is wrong with the code that reads them.
    pub fn run(self, data: &[u8]) {
        match self {
            Self::Request => request::run(data),
            Self::Answer => answer::run(data),
            Self::Page => page::run(data),
            Self::Messages => messages::run(data),
        }
    }

    /// Bytes with sense, to begin with.
    ///
    /// # Errors
    /// When the folder of seeds cannot be read.
    pub fn seeds(self) -> anyhow::Result<Vec<Vec<u8>>> {
        match self {
            Self::Request => seeds::files("libs/intake/corpus/request"),
            Self::Answer => seeds::files("libs/intake/corpus/sse"),
            Self::Page => seeds::files("libs/dialect/tests/pages"),
            Self::Messages => Ok(messages::seeds()),
        }
    }

    /// Words that mean something to it.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Request => &[
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
            Self::Answer => &[
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
            Self::Page => &[
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
            Self::Messages => &[],
        }
    }
}
