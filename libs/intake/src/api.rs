//! Which API a request speaks.

/// How a request's body is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// OpenAI completions: a model and a prompt.
    Completions,
    /// OpenAI chat completions: a model and messages.
    Chat,
    /// Anything else: not read at all.
    #[default]
    Opaque,
}

impl Api {
    /// The API behind `path`, by its last segments. The query and slashes at the ends do not matter.
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut segments = path.trim_matches('/').rsplit('/');
        match (segments.next(), segments.next()) {
            (Some("completions"), Some("chat")) => Self::Chat,
            (Some("completions"), _) => Self::Completions,
            _ => Self::Opaque,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_by_whole_segments_at_the_end() {
        for (path, api) in [
            ("/v1/completions", Api::Completions),
            ("completions", Api::Completions),
            ("/v1/completions/", Api::Completions),
            ("/v1/completions?stream=1", Api::Completions),
            ("/tenants/a/openai/v1/completions", Api::Completions),
            ("/v1/chat/completions", Api::Chat),
            ("/chat/completions?a=/v1/models", Api::Chat),
            ("http://host/v1/chat/completions#x", Api::Chat),
            ("/v1/mychat/completions", Api::Completions),
            ("/v1/my-completions", Api::Opaque),
            ("/v1/completions/render", Api::Opaque),
            ("/v1/models?path=/v1/completions", Api::Opaque),
            ("/", Api::Opaque),
            ("", Api::Opaque),
        ] {
            assert_eq!(Api::of_path(path), api, "{path}");
        }
    }
}
