//! Parses the list of models.

use serde::Deserialize;

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Returns the name of the first model in a response of `/v1/models`.
pub(super) fn first(body: &[u8]) -> Option<String> {
    let models: Models = serde_json::from_slice(body).ok()?;
    models.data.into_iter().next().map(|model| model.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_model_is_returned() {
        assert_eq!(first(br#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#).as_deref(), Some("a"));
        assert_eq!(first(br#"{"data":[]}"#), None);
    }
}
