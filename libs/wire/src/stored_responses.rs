//! Stored responses. Like models, each message carries them next to a change that has no effect, which is all that a
//! peer sees that does not know them.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{EndpointKey, ResponseKey};

use crate::error::WireError;
use crate::no_op::{no_op_change, no_op_entry};

pub(crate) fn encode_entry(parts: &[Arc<BTreeMap<ResponseKey, EndpointKey>>]) -> pb::SnapshotEntry {
    let responses = parts.iter().flat_map(|part| part.iter());
    let stored_responses =
        responses.map(|(response, endpoint)| message(*response, Some(*endpoint))).collect();
    pb::SnapshotEntry { stored_responses, ..no_op_entry() }
}

pub(crate) fn decode_entry(
    messages: &[pb::StoredResponse],
) -> Result<Vec<Arc<BTreeMap<ResponseKey, EndpointKey>>>, WireError> {
    let decode = |message: &pb::StoredResponse| {
        let endpoint = message.endpoint.ok_or(WireError::Missing("endpoint of a stored response"))?;
        Ok((ResponseKey(message.response), EndpointKey(endpoint)))
    };
    Ok(vec![Arc::new(messages.iter().map(decode).collect::<Result<_, WireError>>()?)])
}

pub(crate) fn encode_change(response: ResponseKey, endpoint: Option<EndpointKey>) -> pb::Change {
    pb::Change { stored_response: Some(message(response, endpoint)), ..no_op_change() }
}

pub(crate) fn decode_change(message: pb::StoredResponse) -> (ResponseKey, Option<EndpointKey>) {
    (ResponseKey(message.response), message.endpoint.map(EndpointKey))
}

fn message(response: ResponseKey, endpoint: Option<EndpointKey>) -> pb::StoredResponse {
    pb::StoredResponse { response: response.0, endpoint: endpoint.map(|endpoint| endpoint.0) }
}
