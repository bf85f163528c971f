//! Bodies of Anthropic's API.

use serde::de::IgnoredAny;

use crate::body::{MessagesBody, Model, read_object, token_count};
use crate::error::{IntakeError, Malformed};
use crate::messages::Messages;
use crate::parse::{Intake, Reading, assemble, delivery};
use crate::prompt::Prompt;

/// Tools and the system prompt are hashed before the messages, as engines render them.
pub(crate) fn messages(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: MessagesBody<'_, Messages<'_>> =
        read_object(bytes).map_err(|error| messages_error(bytes, error))?;
    let messages = body.messages.filter(|messages| !messages.kept.is_empty());
    let messages = messages.ok_or(IntakeError::NoMessage)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.optional("tools", body.tools);
    prompt.optional("system", body.system);
    messages.add_to(&mut prompt);
    Ok(assemble(model, prompt, token_count(body.max_tokens), delivery(body.stream)))
}

/// Tells a body whose messages are wrong from one that is wrong elsewhere, by reading it again without them.
fn messages_error(body: &[u8], error: Malformed) -> IntakeError {
    match read_object::<MessagesBody<'_, IgnoredAny>>(body) {
        Ok(_) => IntakeError::BadMessages(error),
        Err(_) => IntakeError::MessagesJson(error),
    }
}
