//! Why a page could not be fetched or parsed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use signalbox_dialect::metrics::PageError;
use signalbox_state::ScrapeResult;
use signalbox_tls::PageTlsError;
use signalbox_types::Engine;

/// Why a page could not be fetched or parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("connection refused")]
    Refused,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error(transparent)]
    Tls(#[from] PageTlsError),
    #[error("no response within {}", humantime::format_duration(*.0))]
    NoResponse(Duration),
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("the response is not HTTP: {0}")]
    NotHttp(hyper::Error),
    #[error("the response status is {0}")]
    Status(StatusCode),
    #[error("the page is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the page was incomplete after {}", humantime::format_duration(*.0))]
    Incomplete(Duration),
    #[error("the page is encoded as {0:?}; serve it plainly or with gzip")]
    Encoding(String),
    #[error("the page is not valid gzip: {0}")]
    Gzip(io::Error),
    #[error("the page redirects more than {0} times")]
    Redirects(usize),
    #[error("the page redirects to {location:?}, which cannot be followed: {reason}")]
    Redirect { location: String, reason: String },
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{0}")]
    Target(Arc<str>),
}

impl FetchError {
    /// Returns what this error means for the endpoint's scrape status.
    pub(crate) fn scrape_result(&self) -> ScrapeResult {
        match self {
            Self::Refused => ScrapeResult::Refused,
            Self::Connect(_) | Self::NoResponse(_) | Self::Broken(_) => ScrapeResult::NoResponse,
            Self::Tls(error) if error.is_transient() => ScrapeResult::NoResponse,
            Self::Tls(_)
            | Self::NotHttp(_)
            | Self::Status(_)
            | Self::TooLarge(_)
            | Self::Incomplete(_)
            | Self::Encoding(_)
            | Self::Gzip(_)
            | Self::Redirects(_)
            | Self::Redirect { .. }
            | Self::Page(_)
            | Self::Target(_) => ScrapeResult::Unusable,
        }
    }

    pub(super) fn from_exchange(error: hyper::Error) -> Self {
        if let Some(tls) = PageTlsError::from_broken_connection(&error) {
            return Self::Tls(tls);
        }
        if error.is_parse() { Self::NotHttp(error) } else { Self::Broken(error) }
    }

    /// Returns what is probably wrong with the page of `engine` at `url`, and how to fix it. Errors whose text says
    /// so have none.
    pub(crate) fn likely_mistake(&self, engine: &Engine, url: &str) -> Option<&'static str> {
        match self {
            Self::Status(status) => status_mistake(*status, engine, url),
            Self::NotHttp(_) if url.starts_with("http:") => {
                Some("the server may speak TLS; is the page at https:// instead of http://?")
            }
            Self::Refused if is_triton(engine) => Some(TRITON),
            _ => None,
        }
    }
}

const TRITON: &str = "Triton has its page at port 8002 unless --metrics-port says otherwise";

fn is_triton(engine: &Engine) -> bool {
    matches!(engine, Engine::Triton | Engine::TritonTrtLlm)
}

fn status_mistake(status: StatusCode, engine: &Engine, url: &str) -> Option<&'static str> {
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
        return Some("collectors have no credentials; let the server show its page without any");
    }
    let no_page = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
    if !no_page.contains(&status) {
        return None;
    }
    Some(match engine {
        Engine::TrtLlm if url.ends_with("/prometheus/metrics") => {
            "trtllm-serve has a page only with return_perf_metrics: true in its configuration"
        }
        Engine::TrtLlm => "trtllm-serve has its page at /prometheus/metrics",
        Engine::Triton | Engine::TritonTrtLlm => TRITON,
        Engine::Sglang => "SGLang has a page only with --enable-metrics",
        Engine::LlamaCpp => "llama-server has a page only with --metrics",
        _ => {
            "name the page by metricsUrl, in Kubernetes by the annotations signalbox.dev/metrics-port and signalbox.dev/metrics-path"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_page_names_the_likely_mistake_of_each_engine() {
        let mistake = |status, engine, path: &str| {
            let url = format!("http://10.0.0.1:8000{path}");
            FetchError::Status(status).likely_mistake(&engine, &url).unwrap_or_default()
        };
        for (engine, path, part) in [
            (Engine::TrtLlm, "/metrics", "/prometheus/metrics"),
            (Engine::TrtLlm, "/prometheus/metrics", "return_perf_metrics"),
            (Engine::Triton, "/metrics", "port 8002"),
            (Engine::TritonTrtLlm, "/metrics", "port 8002"),
            (Engine::Sglang, "/metrics", "--enable-metrics"),
            (Engine::LlamaCpp, "/metrics", "--metrics"),
            (Engine::Vllm, "/", "signalbox.dev/metrics-path"),
        ] {
            let found = mistake(StatusCode::NOT_FOUND, engine.clone(), path);
            assert!(found.contains(part), "{engine} {path}: {found}");
        }
        assert!(mistake(StatusCode::UNAUTHORIZED, Engine::Vllm, "/metrics").contains("credentials"));
        assert_eq!("", mistake(StatusCode::SERVICE_UNAVAILABLE, Engine::TrtLlm, "/metrics"));
        let refused = FetchError::Refused.likely_mistake(&Engine::Triton, "http://10.0.0.1:8000/metrics");
        assert_eq!(Some(TRITON), refused);
    }
}
