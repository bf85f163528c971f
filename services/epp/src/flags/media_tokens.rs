//! `--media-tokens`: the default weights of media in prompts.

use std::str::FromStr;

use signalbox_types::MediaWeights;

/// Weights of media whose size is unknown, written `KIND=TOKENS[,KIND=TOKENS…]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaTokens(pub MediaWeights);

/// A value of `--media-tokens` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTokensError {
    /// An entry has another form.
    #[error("{0:?} is not KIND=TOKENS, for example image=1024")]
    Form(String),
    /// The kind is unknown.
    #[error("unknown kind {0:?}; use image, audio, video, file or encrypted-reasoning")]
    Kind(String),
}

impl FromStr for MediaTokens {
    type Err = MediaTokensError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut weights = MediaWeights::default();
        for entry in text.split(',').map(str::trim) {
            let malformed = || MediaTokensError::Form(entry.to_owned());
            let (kind, tokens) = entry.split_once('=').ok_or_else(malformed)?;
            let weight = match kind.trim() {
                "image" => &mut weights.image_tokens,
                "audio" => &mut weights.audio_tokens,
                "video" => &mut weights.video_tokens,
                "file" => &mut weights.file_tokens,
                "encrypted-reasoning" => &mut weights.encrypted_reasoning_tokens,
                other => return Err(MediaTokensError::Kind(other.to_owned())),
            };
            *weight = tokens.trim().parse().map_err(|_| malformed())?;
        }
        Ok(Self(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_kinds_replace_their_defaults() {
        let MediaTokens(weights) = "image=256, encrypted-reasoning=0".parse().unwrap();
        assert_eq!((weights.image_tokens, weights.encrypted_reasoning_tokens), (256, 0));
        assert_eq!(weights.video_tokens, MediaWeights::default().video_tokens);
    }

    #[test]
    fn errors_name_the_entry_and_the_known_kinds() {
        let error = |text: &str| text.parse::<MediaTokens>().unwrap_err().to_string();
        assert_eq!(error("image"), "\"image\" is not KIND=TOKENS, for example image=1024");
        assert_eq!(error("image=-1"), "\"image=-1\" is not KIND=TOKENS, for example image=1024");
        assert_eq!(
            error("picture=1"),
            "unknown kind \"picture\"; use image, audio, video, file or encrypted-reasoning"
        );
    }
}
