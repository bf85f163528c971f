//! What media weigh in tokens before usage is known.

/// How many tokens media weigh. Engines differ, so these are only starting values; usage tells the truth.
///
/// | kind | weight | source of the default |
/// |---|---|---|
/// | image of known size | ⌈width ÷ patch⌉ × ⌈height ÷ patch⌉, at least 4 and at most `max_image_tokens` | Qwen2-VL: 28 × 28 pixels per token ([arXiv 2409.12191](https://arxiv.org/abs/2409.12191)); the limit is Pixtral's for its largest image |
/// | image of unknown size | `image_tokens` | 896 × 896 pixels in patches of 28 |
/// | audio of known length | seconds × `audio_tokens_per_s`, at most `max_audio_tokens` | Qwen2-Audio: one token per 40 ms ([arXiv 2407.10759](https://arxiv.org/abs/2407.10759)) |
/// | audio of unknown length | `audio_tokens` | 30 s, the window of Whisper's encoder |
/// | video | `video_tokens` | 32 frames of 256 tokens |
/// | file | `file_tokens` | two pages of a PDF with their images |
/// | encrypted reasoning | `encrypted_reasoning_tokens` | small, because most engines cannot decrypt it and leave it out |
/// | signature | 0 | no template renders signatures |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaWeights {
    /// Side of the square that is one token of an image, in pixels; at least 1.
    pub image_patch_pixels: u32,
    /// Maximum tokens of one image of known size.
    pub max_image_tokens: u32,
    /// Tokens of an image of unknown size.
    pub image_tokens: u32,
    /// Tokens per second of audio.
    pub audio_tokens_per_s: u32,
    /// Bytes per second of audio whose header does not tell; at least 1. 16,000 are 128 kbit/s.
    pub audio_bytes_per_s: u32,
    /// Maximum tokens of one audio clip of known length.
    pub max_audio_tokens: u32,
    /// Tokens of an audio clip of unknown length.
    pub audio_tokens: u32,
    /// Tokens of a video.
    pub video_tokens: u32,
    /// Tokens of a file.
    pub file_tokens: u32,
    /// Tokens of a piece of encrypted reasoning.
    pub encrypted_reasoning_tokens: u32,
}

/// Minimum tokens of an image: Qwen2-VL enlarges smaller images to 56 × 56 pixels.
const MIN_IMAGE_TOKENS: u64 = 4;

impl Default for MediaWeights {
    fn default() -> Self {
        Self {
            image_patch_pixels: 28,
            max_image_tokens: 4_096,
            image_tokens: 1_024,
            audio_tokens_per_s: 25,
            audio_bytes_per_s: 16_000,
            max_audio_tokens: 32_768,
            audio_tokens: 750,
            video_tokens: 8_192,
            file_tokens: 4_096,
            encrypted_reasoning_tokens: 128,
        }
    }
}

impl MediaWeights {
    /// Returns the tokens of an image of `width` × `height` pixels.
    pub fn image_of_size(&self, width: u64, height: u64) -> u32 {
        let patch = u64::from(self.image_patch_pixels.max(1));
        let tokens = width.div_ceil(patch).saturating_mul(height.div_ceil(patch)).max(MIN_IMAGE_TOKENS);
        u32::try_from(tokens).unwrap_or(u32::MAX).min(self.max_image_tokens)
    }

    /// Returns the tokens of `bytes` of audio. `bytes_per_s` is the rate that the header tells, if it does.
    pub fn audio_of_length(&self, bytes: u64, bytes_per_s: Option<u32>) -> u32 {
        let bytes_per_s = bytes_per_s.filter(|rate| *rate > 0).unwrap_or(self.audio_bytes_per_s).max(1);
        let tokens = bytes.saturating_mul(self.audio_tokens_per_s.into()).div_ceil(bytes_per_s.into());
        u32::try_from(tokens).unwrap_or(u32::MAX).min(self.max_audio_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_weighs_one_token_per_patch_within_limits() {
        let weights = MediaWeights::default();
        for ((width, height), tokens) in [
            ((28, 28), 4),
            ((1_920, 1_080), 69 * 39),
            ((896, 896), weights.image_tokens),
            ((0, 0), 4),
            ((12_000, 9_000), weights.max_image_tokens),
            ((u64::MAX, u64::MAX), weights.max_image_tokens),
        ] {
            assert_eq!(weights.image_of_size(width, height), tokens, "{width} x {height}");
        }
    }

    #[test]
    fn audio_weighs_by_its_duration() {
        let weights = MediaWeights::default();
        assert_eq!(weights.audio_of_length(320_000, Some(32_000)), 250);
        assert_eq!(weights.audio_of_length(320_000, None), 500);
        assert_eq!(weights.audio_of_length(320_000, Some(0)), 500);
        assert_eq!(weights.audio_of_length(u64::MAX, Some(1)), weights.max_audio_tokens);
    }

    #[test]
    fn weights_of_zero_do_not_divide_by_zero() {
        let none = MediaWeights { image_patch_pixels: 0, audio_bytes_per_s: 0, ..MediaWeights::default() };
        assert_eq!(none.image_of_size(10, 10), 100);
        assert_eq!(none.audio_of_length(4, None), 100);
    }
}
