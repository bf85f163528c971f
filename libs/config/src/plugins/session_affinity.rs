//! Builds session affinity from the parameters of its filter and its scorer.

use signalbox_schedule::{Filter, Scorer, SessionAffinity};

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::{Bounds, Parameters};

pub(crate) fn filter(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    Filter::Session(affinity(plugin, diagnostics))
}

pub(crate) fn scorer(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    Scorer::Session(affinity(plugin, diagnostics))
}

#[derive(Clone, Copy)]
enum Strategy {
    Token,
    Id,
}

fn affinity(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> SessionAffinity {
    let known = ["strategy", "encodedEndpointHeaderConfig", "sessionIdConfig", "profileName"];
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let strategies = [("encoded_endpoint_header", Strategy::Token), ("session_id", Strategy::Id)];
    let strategy = parameters.choice("strategy", &strategies, Strategy::Token, problems);
    let token = parameters.nested("encodedEndpointHeaderConfig", &["header"], problems);
    let header = header(&token, "header", "x-session-token", diagnostics);
    let headers = id_headers(&parameters, diagnostics);
    if let Some(at) = parameters.optional("profileName").filter(|at| !at.is_null()) {
        let _ = at.text(&mut diagnostics.problems);
        diagnostics.add_ignored(&at, "there is only one profile");
    }
    match strategy {
        Strategy::Token => SessionAffinity::Token { header },
        Strategy::Id => SessionAffinity::Id { headers },
    }
}

fn id_headers(parameters: &Parameters<'_>, diagnostics: &mut Diagnostics) -> Vec<String> {
    let known = ["sources", "evictionTtlSeconds", "evictionSweepSeconds"];
    let config = parameters.nested("sessionIdConfig", &known, &mut diagnostics.problems);
    for name in ["evictionTtlSeconds", "evictionSweepSeconds"] {
        if let Some(at) = config.optional(name) {
            let _ = Bounds::POSITIVE_COUNT.read(&at, &mut diagnostics.problems);
            diagnostics
                .add_ignored(&at, "no session state is kept: the endpoint is computed from the session id");
        }
    }
    let mut headers = Vec::new();
    for source in config.items("sources", &mut diagnostics.problems) {
        let at = source.clone();
        let source =
            Parameters::read(Some(source), &["header", "attribute", "producer"], &mut diagnostics.problems);
        if let Some(at) = source.optional("attribute") {
            diagnostics.add_problem(&at, "request attributes are not supported; write header: NAME");
        } else if source.optional("header").is_none() {
            diagnostics.add_problem(&at, "header is missing; write header: NAME");
        } else {
            headers.push(header(&source, "header", "", diagnostics));
        }
    }
    if headers.is_empty() {
        headers.push("x-session-id".to_owned());
    }
    headers
}

/// Returns a header name in lower case, as gateways write it.
fn header(parameters: &Parameters<'_>, field: &str, default: &str, diagnostics: &mut Diagnostics) -> String {
    let Some(at) = parameters.optional(field).filter(|at| !at.is_null()) else {
        return default.to_owned();
    };
    let Some(name) = at.text(&mut diagnostics.problems) else { return default.to_owned() };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        diagnostics.add_problem(&at, "invalid header name; use letters, digits and dashes");
    }
    name.to_ascii_lowercase()
}
