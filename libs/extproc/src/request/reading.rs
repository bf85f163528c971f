//! Reads a complete body: decodes and parses it.

use bytes::Bytes;
use signalbox_intake::{Api, DecodeError, ParseOptions, ParsedRequest, Unread, named_model, parse};

use crate::body::budget::BodyReservation;
use crate::config::Config;
use crate::fixed_model::{Fixed, check_fixed_model};
use crate::headers::request::RequestHeaders;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::refusal::Refusal;

/// A body that was read.
pub(super) struct ReadBody {
    /// The body to send: as it came, or decoded if its model is to be replaced.
    pub(super) body: Bytes,
    pub(super) is_decoded: bool,
    pub(super) parsed: ParsedRequest,
    /// Reading it panicked, so nothing is known about it.
    pub(super) has_panicked: bool,
}

/// How a body is to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) api: Api,
    /// Whether the rest of it goes to the endpoint unseen.
    pub(super) is_part: bool,
    /// Whether the endpoint gets the body as it came, whatever is read.
    pub(super) takes_no_changes: bool,
}

/// Reads `body`. The decoded body and the copy in which the model will be replaced are added to `reservation`.
///
/// # Errors
/// Returns the refusal of a body that no engine could take, that is too long once it is decoded, or whose model exists only
/// as a rewrite and cannot be replaced.
pub(super) fn read_body(
    body: Bytes,
    Reading { api, is_part, takes_no_changes }: Reading,
    headers: &RequestHeaders,
    reservation: &mut BodyReservation,
    config: &Config,
) -> Result<ReadBody, Refusal> {
    let received_bytes = reservation.bytes();
    let unread = |body, unread: Unread| {
        Ok(ReadBody { body, is_decoded: false, parsed: unread.into(), has_panicked: false })
    };
    let panicked =
        |body| Ok(ReadBody { body, is_decoded: false, parsed: ParsedRequest::default(), has_panicked: true });
    let decoded = match &headers.encodings {
        _ if api == Api::Opaque || body.is_empty() => None,
        Some(encodings) if encodings.is_identity() => None,
        Some(encodings) if !is_part => {
            let mut reserve = |bytes| reservation.grow(bytes).is_ok();
            let decode = || encodings.decode(&body, config.body_limit_bytes, &mut reserve);
            match catch_panic(GuardedStep::RequestBody, decode) {
                Ok(decoded) => Some(decoded.map_err(|error| refusal(&error, config))?),
                Err(Panicked) => return panicked(body),
            }
        }
        _ => return unread(body, Unread::Encoding),
    };
    let rewrite = |requested: &str| match takes_no_changes {
        true => None,
        false => headers.rewrite_target(requested, &config.models),
    };
    let options = ParseOptions {
        block_bytes: config.block_bytes,
        media_weights: config.media_weights,
        rewrite: &rewrite,
    };
    let text = decoded.as_ref().unwrap_or(&body);
    let parsed = match catch_panic(GuardedStep::RequestBody, || parse(api, text, &options)) {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) if is_part => {
            check_model(named_model(api, text), Fixed::InPart, config)?;
            return unread(body, Unread::Part);
        }
        Ok(Err(error)) => return Err(Refusal::BadRequest(error.to_string())),
        Err(Panicked) => return panicked(body),
    };
    if headers.api == Api::ByShape && !config.parsers.allow(parsed.api) {
        let text = "no parser registered for the API of this body, and the gateway sent no path";
        return Err(Refusal::BadRequest(text.to_owned()));
    }
    if takes_no_changes {
        let named = Some(&parsed.request.model).filter(|model| !model.is_empty()).cloned();
        let named = named.or_else(|| named_model(Api::ModelJson, text));
        check_model(named.or_else(|| named_model(Api::ModelForm, text)), Fixed::ByGateway, config)?;
    }
    let is_rewritten = parsed.requested_model.is_some() && parsed.model_span.is_some();
    if !is_rewritten {
        // Only the body as it came is kept. A share that shrinks exceeds nothing.
        let _ = reservation.resize(received_bytes);
        return Ok(ReadBody { body, is_decoded: false, parsed, has_panicked: false });
    }
    let copy_bytes = text.len() + parsed.request.model.len();
    reservation.grow(copy_bytes).map_err(|_| Refusal::BodyBudgetExceeded)?;
    let is_decoded = decoded.is_some();
    Ok(ReadBody { body: decoded.unwrap_or(body), is_decoded, parsed, has_panicked: false })
}

fn check_model(model: Option<String>, fixed: Fixed, config: &Config) -> Result<(), Refusal> {
    model.map_or(Ok(()), |model| check_fixed_model(&model, fixed, config))
}

fn refusal(error: &DecodeError, config: &Config) -> Refusal {
    match error {
        DecodeError::TooLong => Refusal::TooLarge { limit_bytes: config.body_limit_bytes },
        DecodeError::NoRoom => Refusal::BodyBudgetExceeded,
        DecodeError::Invalid { .. } => Refusal::BadRequest(error.to_string()),
    }
}
