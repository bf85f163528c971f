//! The bytes that mark the structure of a hashed prompt.
//!
//! UTF-8 contains none of them ([RFC 3629, section 1](https://www.rfc-editor.org/rfc/rfc3629#section-1)), and
//! neither do the lone surrogates that JSON permits. So no text can imitate a mark, and different prompts
//! never give the same bytes.
//!
//! ```text
//! prompt  = text *(END text)                 completions, embeddings: one text per prompt of a batch
//!         | *field *(message | item)         chats
//! message = MESSAGE text END *field content END *field
//! item    = *field content END | BLOCK value END
//! content = *(text | medium | field | BLOCK value)
//! field   = FIELD name END (value | text END | content END)
//! value   = text END | SCALAR text END | ARRAY *value ARRAY_END | OBJECT *(text END value) OBJECT_END
//! medium  = MEDIUM kind digest               see `media`
//! ```

/// Ends a text or a content.
pub(crate) const END: u8 = 0xFF;
/// Precedes the name of a field.
pub(crate) const FIELD: u8 = 0xFE;
/// Precedes a medium.
pub(crate) const MEDIUM: u8 = 0xFD;
/// Precedes a message.
pub(crate) const MESSAGE: u8 = 0xFC;
/// Precedes a number, `true`, `false` or `null`.
pub(crate) const SCALAR: u8 = 0xFB;
/// Begins an array.
pub(crate) const ARRAY: u8 = 0xFA;
/// Ends an array.
pub(crate) const ARRAY_END: u8 = 0xF9;
/// Begins an object.
pub(crate) const OBJECT: u8 = 0xF8;
/// Ends an object.
pub(crate) const OBJECT_END: u8 = 0xF7;
/// Precedes a part of a content of an unknown type.
pub(crate) const BLOCK: u8 = 0xF6;
