//! Refuses requests for models that exist only as rewrites, where their names cannot be replaced: no endpoint knows such a
//! name.

use signalbox_types::RewriteRule;

use crate::config::Config;
use crate::refusal::Refusal;

/// Why the name of the model in a request stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// The path names the model.
    InPath,
    /// The picker does not change the bodies of such requests.
    InOpaqueBody,
    /// The picker gets the body too late, or not at all.
    ByBodyMode,
    /// The picker gets only a part of the body.
    InPart,
    /// The gateway takes nothing but the destination.
    ByGateway,
}

impl Fixed {
    fn reason(self) -> &'static str {
        match self {
            Self::InPath => "the path names it, which the endpoint picker does not change",
            Self::InOpaqueBody => {
                "the endpoint picker does not change bodies of this path, method or content type"
            }
            Self::ByBodyMode => "the gateway does not wait for the endpoint picker to change the body",
            Self::InPart => "the gateway sent the endpoint picker only a part of the body",
            Self::ByGateway => "this gateway lets the endpoint picker change no body",
        }
    }

    /// Returns what can be done besides requesting another model.
    fn remedy(self) -> &'static str {
        match self {
            Self::InPath | Self::InOpaqueBody | Self::ByGateway => "",
            Self::ByBodyMode => {
                ", or set the gateway's request body mode to FULL_DUPLEX_STREAMED or BUFFERED"
            }
            Self::InPart => {
                ", or let the gateway buffer more, or set its request body mode to FULL_DUPLEX_STREAMED"
            }
        }
    }
}

/// Checks a request for `model`, whose name is `fixed`.
///
/// # Errors
/// Returns a refusal if the model exists only as the source of a rewrite: a rule names it, none leads to it, and no
/// endpoint is known to serve it.
pub(crate) fn check_fixed_model(model: &str, fixed: Fixed, config: &Config) -> Result<(), Refusal> {
    match config.models.rule_of_source(model) {
        Some(rule) if !config.served_models.contains(model) => {
            Err(Refusal::BadRequest(message(model, rule, fixed)))
        }
        _ => Ok(()),
    }
}

fn message(model: &str, rule: &RewriteRule, fixed: Fixed) -> String {
    let targets: Vec<_> = rule.possible_targets().map(|target| format!("`{}`", target.model)).collect();
    let (targets, reason, remedy) = (targets.join(" or "), fixed.reason(), fixed.remedy());
    format!(
        "the model `{model}` exists only as a model rewrite in the endpoint picker, and cannot be rewritten here: {reason}. \
         Request {targets} instead{remedy}"
    )
}
