//! Maps request paths to APIs.

use signalbox_types::ResponseKey;

/// The API of a request; it determines how the body is parsed.
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
    /// The generate API of SGLang and TGI: text or token ids.
    Generate,
    /// The same of TGI, which always streams the response.
    GenerateStream,
    /// vLLM over gRPC, generation: token ids or text.
    VllmGrpcGenerate,
    /// vLLM over gRPC, embedding: token ids.
    VllmGrpcEmbed,
    /// Vertex AI over gRPC: an OpenAI chat completion in an `HttpBody`.
    VertexChat,
    /// Vertex AI over gRPC: an OpenAI responses request in an `HttpBody`.
    VertexPredict,
    /// Any of the above: the path is unknown, and the shape of the body tells. Only of requests.
    ByShape,
    /// Another API whose JSON may name a model. Nothing else is read.
    ModelJson,
    /// Another API whose form (`multipart/form-data`) may name a model. Nothing else is read.
    ModelForm,
    /// Anything else. The body is not parsed.
    #[default]
    Opaque,
}

/// A path suffix and the API that it belongs to.
pub(crate) struct Route {
    /// The last segments of the path.
    suffix: &'static str,
    /// The plugin type of the parser that handles these requests in the Go EPP.
    pub(crate) parser: &'static str,
    /// The API of these requests.
    pub(crate) api: Api,
}

const fn route(parser: &'static str, suffix: &'static str, api: Api) -> Route {
    Route { suffix, parser, api }
}

/// Paths without a parser in the Go EPP, whose bodies name a model.
const fn model_route(suffix: &'static str) -> Route {
    route(PASSTHROUGH, suffix, Api::ModelJson)
}

/// The known suffixes. A suffix matches whole segments; the longest match wins.
const ROUTES: [Route; 30] = [
    route("openai-parser", "completions", Api::Completions),
    route("openai-parser", "completions/render", Api::Completions),
    route("openai-parser", "chat/completions", Api::Chat),
    route("openai-parser", "chat/completions/render", Api::Chat),
    route("openai-parser", "responses", Api::Responses),
    route("openai-parser", "embeddings", Api::Embeddings),
    route("openai-parser", "conversations", Api::Conversations),
    route("openai-parser", "images/generations", Api::Images),
    route("anthropic-parser", "messages", Api::Messages),
    route("anthropic-parser", "messages/count_tokens", Api::ModelJson),
    route("vllmhttp-parser", "inference/v1/generate", Api::VllmGenerate),
    route("vllmgrpc-parser", "vllm.grpc.engine.VllmEngine/Generate", Api::VllmGrpcGenerate),
    route("vllmgrpc-parser", "vllm.grpc.engine.VllmEngine/Embed", Api::VllmGrpcEmbed),
    route("vertexai-parser", "PredictionService/ChatCompletions", Api::VertexChat),
    route("vertexai-parser", "PredictionService/RawPredict", Api::VertexPredict),
    route("vertexai-parser", "PredictionService/StreamRawPredict", Api::VertexPredict),
    model_route("tokenize"),
    model_route("detokenize"),
    model_route("rerank"),
    model_route("score"),
    model_route("pooling"),
    model_route("classify"),
    model_route("moderations"),
    model_route("v2/embed"),
    model_route("responses/input_tokens"),
    model_route("audio/speech"),
    model_route("audio/transcriptions"),
    model_route("audio/translations"),
    model_route("images/edits"),
    model_route("images/variations"),
];

/// The routes of SGLang and TGI. The suffix must be the whole path.
const GENERATE: [Route; 2] = [
    route("sglanghttp-parser", "generate", Api::Generate),
    route("sglanghttp-parser", "generate_stream", Api::GenerateStream),
];

/// The plugin type that lets requests pass that no other parser handles.
pub(crate) const PASSTHROUGH: &str = "passthrough-parser";

impl Route {
    /// Returns the route for `path`, by its last segments. Ignores the query, the fragment and slashes at
    /// either end.
    pub(crate) fn for_path(path: &str) -> Option<&'static Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        if let Some(route) = GENERATE.iter().find(|route| path == route.suffix) {
            return Some(route);
        }
        let fitting = ROUTES.iter().filter(|route| route.matches_end(path));
        fitting.max_by_key(|route| route.suffix.len())
    }

    /// Returns all routes.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        ROUTES.iter().chain(&GENERATE)
    }

    fn matches_end(&self, path: &str) -> bool {
        let Some(rest) = path.strip_suffix(self.suffix) else { return false };
        // The service `PredictionService` exists in one package per version of Vertex AI.
        let in_a_package = self.parser == "vertexai-parser" && rest.ends_with('.');
        rest.is_empty() || rest.ends_with('/') || in_a_package
    }
}

impl Api {
    /// Returns the API that `path` belongs to; see [`parse`](crate::parse()) for how its bodies are parsed.
    pub fn for_path(path: &str) -> Self {
        Route::for_path(path).map_or(Self::Opaque, |route| route.api)
    }

    /// Returns how to parse a body of this content type, whose path belongs to this API. Where only the model matters, a
    /// form is read only if a rewrite may apply to it: it is usually an upload, which should not be kept.
    #[must_use]
    pub fn of_content(self, content_type: Option<&str>, may_rewrite: bool) -> Self {
        let content_type = content_type.unwrap_or("application/json").to_ascii_lowercase();
        match self {
            Self::ModelJson if content_type.starts_with("multipart/form-data") && may_rewrite => {
                Self::ModelForm
            }
            Self::ModelJson if !content_type.contains("json") => Self::Opaque,
            api => api,
        }
    }

    /// Returns whether bodies of this API are gRPC messages.
    pub(crate) fn is_grpc(self) -> bool {
        use Api::{VertexChat, VertexPredict, VllmGrpcEmbed, VllmGrpcGenerate};
        matches!(self, VllmGrpcGenerate | VllmGrpcEmbed | VertexChat | VertexPredict)
    }

    /// Returns whether bodies of this API name a model, without which engines serve them with the model that they have.
    pub(crate) fn may_omit_model(self) -> bool {
        use Api::{Chat, Completions, Embeddings, Images, Responses, VertexChat, VertexPredict};
        matches!(self, Completions | Chat | Responses | Embeddings | Images | VertexChat | VertexPredict)
    }
}

/// A response in a path: one that an endpoint keeps, and that the request reads, deletes or cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The response.
    pub key: ResponseKey,
    /// Whether the path is that of the response itself, not of something below it.
    pub is_itself: bool,
}

impl StoredResponse {
    /// Returns the response that a request to `path` names.
    pub fn in_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let (parent, last) = path.rsplit_once('/')?;
        let is_itself = !matches!(last, "cancel" | "input_items");
        let (collection, id) = if is_itself { path } else { parent }.rsplit_once('/')?;
        let is_collection = collection.rsplit('/').next() == Some("responses");
        (is_collection && !id.is_empty()).then(|| Self { key: ResponseKey::of(id), is_itself })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_suffix_of_whole_segments_determines_the_api() {
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
            ("/generate", Api::Generate),
            ("/generate/?a=b", Api::Generate),
            ("/generate_stream", Api::GenerateStream),
            ("/v1/messages/count_tokens", Api::ModelJson),
            ("/tokenize", Api::ModelJson),
            ("/v2/rerank", Api::ModelJson),
            ("/v1/score", Api::ModelJson),
            ("/v1/audio/transcriptions", Api::ModelJson),
            ("/openai/v1/images/edits", Api::ModelJson),
            ("/vllm.grpc.engine.VllmEngine/Generate", Api::VllmGrpcGenerate),
            ("/vllm.grpc.engine.VllmEngine/Embed", Api::VllmGrpcEmbed),
            ("/google.cloud.aiplatform.v1.PredictionService/ChatCompletions", Api::VertexChat),
            ("/google.cloud.aiplatform.v1beta1.PredictionService/RawPredict", Api::VertexPredict),
            ("/PredictionService/StreamRawPredict", Api::VertexPredict),
        ] {
            assert_eq!(Api::for_path(path), api, "{path}");
        }
    }

    #[test]
    fn path_names_a_stored_response() {
        for (path, is_itself) in [
            ("/v1/responses/resp_1", true),
            ("responses/resp_1/?stream=true", true),
            ("/v1/responses/resp_1/cancel", false),
            ("/a/v1/responses/resp_1/input_items?limit=5", false),
        ] {
            let expected = StoredResponse { key: ResponseKey::of("resp_1"), is_itself };
            assert_eq!(Some(expected), StoredResponse::in_path(path), "{path}");
        }
        for path in
            ["/v1/responses", "/v1/responses/", "/v1/my-responses/a", "/v1/responses/a/b", "/cancel", ""]
        {
            assert_eq!(None, StoredResponse::in_path(path), "{path}");
        }
    }

    #[test]
    fn other_paths_are_opaque() {
        for path in [
            "/v1/my-completions",
            "/v1/models?path=/v1/completions",
            "/v1/responses/resp_1",
            "/v1/files",
            "/v1/generate",
            "/v1/generate_stream",
            "/v1/generations",
            "/vllm.grpc.engine.VllmEngine/Abort",
            "/vllm.grpc.engine.VllmEngine/generate",
            "/google.cloud.aiplatform.v1.PredictionService/Predict",
            "/a.b.MyPredictionService/RawPredict",
            "/v1/my.completions",
            "/",
            "",
        ] {
            assert_eq!(Api::for_path(path), Api::Opaque, "{path}");
        }
    }
}
