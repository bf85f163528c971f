//! Which API a request speaks.

/// How a request's body is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// OpenAI completions: a model and a prompt.
    Completions,
    /// OpenAI chat completions: a model and messages.
    Chat,
    /// OpenAI responses: a model and an input.
    Responses,
    /// OpenAI embeddings: a model and an input.
    Embeddings,
    /// OpenAI conversations: items.
    Conversations,
    /// OpenAI image generation: a model and a prompt.
    Images,
    /// Anthropic messages: a model and messages.
    Messages,
    /// vLLM over HTTP: token ids.
    VllmGenerate,
    /// SGLang over HTTP: token ids.
    SglangGenerate,
    /// vLLM over gRPC, generation: token ids or a text.
    VllmGrpcGenerate,
    /// vLLM over gRPC, embedding: token ids.
    VllmGrpcEmbed,
    /// Anything else: not read at all.
    #[default]
    Opaque,
}

/// What ends a path, in whole segments; the longest that does is what counts.
const SUFFIXES: [(&str, Api); 13] = [
    ("completions", Api::Completions),
    ("completions/render", Api::Completions),
    ("chat/completions", Api::Chat),
    ("chat/completions/render", Api::Chat),
    ("responses", Api::Responses),
    ("embeddings", Api::Embeddings),
    ("conversations", Api::Conversations),
    ("images/generations", Api::Images),
    ("messages", Api::Messages),
    ("messages/count_tokens", Api::Opaque),
    ("inference/v1/generate", Api::VllmGenerate),
    ("vllm.grpc.engine.VllmEngine/Generate", Api::VllmGrpcGenerate),
    ("vllm.grpc.engine.VllmEngine/Embed", Api::VllmGrpcEmbed),
];

/// SGLang's path, which must be the whole path.
const SGLANG_PATH: &str = "generate";

impl Api {
    /// The API behind `path`, by its last segments. The query and slashes at the ends do not matter.
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        if path == SGLANG_PATH {
            return Self::SglangGenerate;
        }
        let fitting = SUFFIXES.iter().filter(|(suffix, _)| ends_with_segments(path, suffix));
        fitting.max_by_key(|(suffix, _)| suffix.len()).map_or(Self::Opaque, |(_, api)| *api)
    }
}

fn ends_with_segments(path: &str, suffix: &str) -> bool {
    path.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
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
            ("/v1/completions/render", Api::Completions),
            ("/tenants/a/openai/v1/completions", Api::Completions),
            ("/v1/chat/completions", Api::Chat),
            ("/v1/chat/completions/render", Api::Chat),
            ("/chat/completions?a=/v1/models", Api::Chat),
            ("http://host/v1/chat/completions#x", Api::Chat),
            ("/v1/mychat/completions", Api::Completions),
            ("/v1/responses", Api::Responses),
            ("/v1/embeddings", Api::Embeddings),
            ("/v1/conversations", Api::Conversations),
            ("/v1/images/generations", Api::Images),
            ("/anthropic/v1/messages?beta=true", Api::Messages),
            ("/inference/v1/generate", Api::VllmGenerate),
            ("/generate", Api::SglangGenerate),
            ("/generate/?a=b", Api::SglangGenerate),
            ("/vllm.grpc.engine.VllmEngine/Generate", Api::VllmGrpcGenerate),
            ("/vllm.grpc.engine.VllmEngine/Embed", Api::VllmGrpcEmbed),
        ] {
            assert_eq!(Api::of_path(path), api, "{path}");
        }
    }

    #[test]
    fn all_else_is_opaque() {
        for path in [
            "/v1/my-completions",
            "/v1/models?path=/v1/completions",
            "/v1/messages/count_tokens",
            "/v1/responses/resp_1",
            "/v1/generate",
            "/v1/generations",
            "/vllm.grpc.engine.VllmEngine/Abort",
            "/vllm.grpc.engine.VllmEngine/generate",
            "/",
            "",
        ] {
            assert_eq!(Api::of_path(path), Api::Opaque, "{path}");
        }
    }
}
