//! By what a session's endpoint is known.

use signalbox_schedule::{Filter, Scorer, SessionAffinity};

use crate::findings::Findings;
use crate::parameters::{Bounds, Parameters};
use crate::plugin::Plugin;

pub(crate) fn filter(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    Filter::Session(affinity(plugin, findings))
}

pub(crate) fn scorer(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    Scorer::Session(affinity(plugin, findings))
}

#[derive(Clone, Copy)]
enum Strategy {
    Token,
    Id,
}

fn affinity(plugin: &Plugin<'_>, findings: &mut Findings) -> SessionAffinity {
    let known = ["strategy", "encodedEndpointHeaderConfig", "sessionIdConfig", "profileName"];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let strategies = [("encoded_endpoint_header", Strategy::Token), ("session_id", Strategy::Id)];
    let strategy = parameters.word("strategy", &strategies, Strategy::Token, problems);
    let token = parameters.nested("encodedEndpointHeaderConfig", &["header"], problems);
    let header = header(&token, "header", "x-session-token", findings);
    let headers = id_headers(&parameters, findings);
    if let Some(at) = parameters.optional("profileName").filter(|at| !at.is_nothing()) {
        let _ = at.text(&mut findings.problems);
        findings.ignore(&at, "there is one profile");
    }
    match strategy {
        Strategy::Token => SessionAffinity::Token { header },
        Strategy::Id => SessionAffinity::Id { headers },
    }
}

fn id_headers(parameters: &Parameters<'_>, findings: &mut Findings) -> Vec<String> {
    let known = ["sources", "evictionTtlSeconds", "evictionSweepSeconds"];
    let config = parameters.nested("sessionIdConfig", &known, &mut findings.problems);
    for name in ["evictionTtlSeconds", "evictionSweepSeconds"] {
        if let Some(at) = config.optional(name) {
            let _ = Bounds::POSITIVE_COUNT.read(&at, &mut findings.problems);
            findings.ignore(&at, "nothing is kept of a session: its endpoint follows from its id");
        }
    }
    let mut headers = Vec::new();
    for source in config.items("sources", &mut findings.problems) {
        let at = source.clone();
        let source =
            Parameters::at(Some(source), &["header", "attribute", "producer"], &mut findings.problems);
        if let Some(at) = source.optional("attribute") {
            findings.problem(&at, "attributes of requests are not there; name the header: header: NAME");
        } else if source.optional("header").is_none() {
            findings.problem(&at, "names no header; write header: NAME");
        } else {
            headers.push(header(&source, "header", "", findings));
        }
    }
    if headers.is_empty() {
        headers.push("x-session-id".to_owned());
    }
    headers
}

/// The name of a header, in lower case as gateways write them.
fn header(parameters: &Parameters<'_>, field: &str, default: &str, findings: &mut Findings) -> String {
    let Some(at) = parameters.optional(field).filter(|at| !at.is_nothing()) else {
        return default.to_owned();
    };
    let Some(name) = at.text(&mut findings.problems) else { return default.to_owned() };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        findings.problem(&at, "is no name of a header; write letters, digits and dashes");
    }
    name.to_ascii_lowercase()
}
