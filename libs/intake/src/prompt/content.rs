//! Hashes the content of messages: text, media, and the blocks of tools and reasoning.

use signalbox_types::MediaKind;

use crate::json::cursor::{Cursor, Object, unquoted};
use crate::json::escapes::{Pieces, name};
use crate::prompt::Prompt;
use crate::prompt::canonical::{Token, read_tokens};
use crate::prompt::marks::{BLOCK, END};
use crate::prompt::media::Payload;

/// How deep cache marks are left out of a block of an unknown type: only from the block itself.
const BLOCK_CACHE_MARK_DEPTH: usize = 1;

/// How deep contents in blocks of a content are read as such. Each level is scanned again for its members, so
/// deeper blocks are hashed as the JSON that they are.
const MAX_NESTING: usize = 4;

/// Begins the line by which Claude Code tells Anthropic what to bill. It is the text of the first system
/// block and differs in each request. vLLM leaves it out.
const BILLING_LINE: &str = "x-anthropic-billing-header";

/// Whose content is added; it decides how consecutive texts are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A message. Texts are joined by a line break, as vLLM joins them for templates that take one string.
    Message,
    /// The system prompt of Anthropic's API. Texts are joined without a separator and billing lines are left
    /// out of text blocks, but not of a system prompt that is a string, as in vLLM.
    AnthropicSystem,
}

/// What a part of a content is.
enum Part<'a> {
    Text(&'a str),
    Medium(MediaKind),
    Thinking,
    RedactedThinking,
    ToolUse,
    ToolResult,
    Document,
    Other,
}

impl<'a> Part<'a> {
    fn of(part: &Object<'a>) -> Self {
        if !part.is_complete() {
            return Self::Other;
        }
        let text = |member| part.get_string(member).map_or(Self::Other, Self::Text);
        let kind = part.get_string("type").map(name);
        match kind.as_deref().unwrap_or_else(|| implied_type(part)) {
            "text" | "input_text" | "output_text" | "summary_text" | "reasoning_text" => text("text"),
            "refusal" => text("refusal"),
            "image_url" | "input_image" | "image" | "image_pil" | "image_embeds" | "computer_screenshot" => {
                Self::Medium(MediaKind::Image)
            }
            "input_audio" | "audio_url" | "audio" | "audio_embeds" => Self::Medium(MediaKind::Audio),
            "video_url" | "input_video" | "video" => Self::Medium(MediaKind::Video),
            "file" | "input_file" | "container_upload" => Self::Medium(MediaKind::File),
            "document" => Self::Document,
            "thinking" => Self::Thinking,
            "redacted_thinking" => Self::RedactedThinking,
            "tool_use" | "server_tool_use" => Self::ToolUse,
            "tool_result" => Self::ToolResult,
            _ => Self::Other,
        }
    }
}

/// Returns the type of a part that names none: vLLM accepts parts that only have the member of their type.
fn implied_type(part: &Object<'_>) -> &'static str {
    let types = ["text", "image_url", "input_audio", "audio_url", "video_url"];
    types.into_iter().find(|member| part.get(member).is_some()).unwrap_or_default()
}

impl Prompt {
    /// Adds a content: a string, or an array of parts. A string is the same content as one part with it.
    pub(crate) fn add_content(&mut self, json: Option<&str>, author: Author) {
        self.add_nested_content(json, author, 0);
    }

    /// Adds a content that lies in `nesting` blocks of other contents.
    fn add_nested_content(&mut self, json: Option<&str>, author: Author, nesting: usize) {
        let Some(json) = json else { return };
        let mut cursor = Cursor::new(json);
        if !cursor.enter_array() {
            self.add_part(&mut cursor, (author, nesting), false);
            return;
        }
        let mut is_after_text = false;
        while !cursor.leave_array() {
            let added = self.add_part(&mut cursor, (author, nesting), is_after_text);
            is_after_text = added.unwrap_or(is_after_text);
        }
    }

    /// Adds the next part. Returns whether it is text, or `None` if it is left out.
    fn add_part(
        &mut self,
        cursor: &mut Cursor<'_>,
        (author, nesting): (Author, usize),
        is_after_text: bool,
    ) -> Option<bool> {
        let Some(part) = cursor.object() else {
            let json = cursor.value();
            return match unquoted(json) {
                Some(text) => Some(self.add_part_text(text, author, is_after_text)),
                None if json == "null" => None,
                None => {
                    self.add_block(json);
                    Some(false)
                }
            };
        };
        match Part::of(&part) {
            Part::Text(text) if author == Author::AnthropicSystem && text.starts_with(BILLING_LINE) => {
                return self.add_after_first_line(text).then_some(true);
            }
            Part::Text(text) => return Some(self.add_part_text(text, author, is_after_text)),
            Part::Medium(kind) => self.add_medium_part(kind, &part),
            Part::Document | Part::ToolResult if nesting >= MAX_NESTING => self.add_block(part.json()),
            Part::Document => self.add_document(&part, nesting),
            Part::Thinking => self.add_thinking(&part),
            Part::RedactedThinking => {
                let data = part.get_string("data").unwrap_or_default();
                self.add_medium(MediaKind::EncryptedReasoning, Payload::Reference(data));
            }
            Part::ToolUse => {
                self.add_field("tool_use", part.get("id"), 0);
                self.add_field("tool_name", part.get("name"), 0);
                self.add_field("tool_input", part.get("input"), 0);
            }
            Part::ToolResult => {
                self.add_field("tool_result", part.get("tool_use_id"), 0);
                self.add_nested_content_field("tool_output", part.get("content"), nesting + 1);
                self.add_field("is_error", part.get("is_error"), 0);
            }
            Part::Other => self.add_block(part.json()),
        }
        Some(false)
    }

    /// Adds the field `name` with a content.
    pub(crate) fn add_content_field(&mut self, name: &str, json: Option<&str>) {
        self.add_nested_content_field(name, json, 0);
    }

    fn add_nested_content_field(&mut self, name: &str, json: Option<&str>, nesting: usize) {
        self.begin_field(name);
        self.add_nested_content(json, Author::Message, nesting);
        self.write(&[END]);
    }

    /// Adds a medium that is encrypted or a signature, if there is one.
    pub(crate) fn add_opaque(&mut self, kind: MediaKind, content: Option<&str>) {
        if let Some(content) = content.filter(|content| !content.is_empty()) {
            self.add_medium(kind, Payload::Reference(content));
        }
    }

    /// Adds a value of an unknown type. Embedded media are media in it, not text.
    pub(crate) fn add_block(&mut self, json: &str) {
        self.write(&[BLOCK]);
        let mut is_encrypted = false;
        read_tokens(json, BLOCK_CACHE_MARK_DEPTH, |token| {
            let medium = match token {
                Token::Text(text) if is_encrypted => {
                    Some((MediaKind::EncryptedReasoning, Payload::Reference(text)))
                }
                Token::Text(text) => Payload::of_data_url(text).map(|payload| (kind_of_url(text), payload)),
                _ => None,
            };
            is_encrypted = matches!(token, Token::Key("encrypted_content"));
            match medium {
                Some((kind, payload)) => self.add_medium(kind, payload),
                None => self.add_token(token),
            }
        });
    }

    /// Adds text. Returns that it is text.
    fn add_part_text(&mut self, text: &str, author: Author, is_after_text: bool) -> bool {
        if author == Author::Message && is_after_text {
            self.write(b"\n");
        }
        self.add_escaped(text);
        true
    }

    /// Adds what follows the first line of `text`. Returns whether there is anything.
    fn add_after_first_line(&mut self, text: &str) -> bool {
        let mut pieces = Pieces::new(text).skip_while(|piece| piece.as_bytes() != b"\n");
        let has_second_line = pieces.next().is_some();
        pieces.for_each(|piece| self.write(piece.as_bytes()));
        has_second_line
    }

    fn add_medium_part(&mut self, kind: MediaKind, part: &Object<'_>) {
        let filename = part.get_string("filename");
        let filename = filename.or_else(|| Cursor::new(part.get("file")?).object()?.get_string("filename"));
        if let Some(filename) = filename {
            self.begin_field("filename");
            self.add_escaped(filename);
            self.write(&[END]);
        }
        self.add_medium(kind, Payload::of_part(part));
    }

    /// Adds a document of Anthropic's API, whose source can be text or a content of its own.
    fn add_document(&mut self, part: &Object<'_>, nesting: usize) {
        self.add_field("title", part.get("title"), 0);
        self.add_field("context", part.get("context"), 0);
        let source = part.get("source").and_then(|source| Cursor::new(source).object());
        match source.as_ref().and_then(|source| source.get_string("type")) {
            Some("text") => self.add_field("document", source.and_then(|source| source.get("data")), 0),
            Some("content") => {
                let content = source.and_then(|source| source.get("content"));
                self.add_nested_content_field("document", content, nesting + 1);
            }
            _ => self.add_medium(MediaKind::File, Payload::of_part(part)),
        }
    }

    fn add_thinking(&mut self, part: &Object<'_>) {
        self.add_field("thinking", part.get("thinking"), 0);
        self.add_opaque(MediaKind::Signature, part.get_string("signature"));
    }
}

/// Returns the kind of the medium in a data URL, by its media type.
fn kind_of_url(url: &str) -> MediaKind {
    match url.strip_prefix("data:").unwrap_or_default() {
        kind if kind.starts_with("image") => MediaKind::Image,
        kind if kind.starts_with("audio") => MediaKind::Audio,
        kind if kind.starts_with("video") => MediaKind::Video,
        _ => MediaKind::File,
    }
}
