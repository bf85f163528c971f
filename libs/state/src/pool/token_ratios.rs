//! Learns how many tokens each model makes of text and media, and of an answer, from the usage that engines report.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use signalbox_types::{ModelKey, TokenRatio};

use super::Pool;
use crate::pool_state::{Change, PoolState};
use crate::reports::UsageReport;

/// The maximum number of models whose ratios are learned. The least recently used one is forgotten.
const MAX_MODELS: usize = 1_024;

/// The minimum text of a prompt for an observation, in bytes. The tokens of shorter ones depend more on what the
/// chat template adds.
const MIN_TEXT_BYTES: u64 = 512;

/// The minimum weight of a prompt's media for an observation, in tokens.
const MIN_MEDIA_TOKENS: u64 = 64;

/// The weight of the initial bytes per token, in bytes of text.
const PRIOR_TEXT_BYTES: f64 = 16_384.0;

/// The weight of the initial weight of media, in tokens: about one image.
const PRIOR_MEDIA_TOKENS: f64 = 1_024.0;

/// The weight of the initial mean output tokens, in responses.
const PRIOR_RESPONSES: f64 = 16.0;

/// The half-life of an observation, in multiples of the initial weight.
const HALF_LIFE_PRIORS: f64 = 64.0;

/// The factor by which what a prompt shows may deviate from what is expected; larger deviations are clamped.
const OUTLIER_FACTOR: f64 = 2.0;

/// The same for the output tokens of a response. Answers of one model differ much: a narrow range would shift their mean.
const OUTPUT_OUTLIER_FACTOR: f64 = 8.0;

/// A ratio is published when it differs from the published one by more than this share, in percent.
const SIGNIFICANT_PERCENT: u32 = 3;

/// What the owner has learned about the models' tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenRatios {
    models: BTreeMap<ModelKey, ModelTokens>,
    /// The number of observations, by which models are ordered by their last use.
    observations: u64,
    /// The ratio of the median model.
    typical: TokenRatio,
}

impl TokenRatios {
    /// Restores what an earlier owner published.
    pub(crate) fn from_pool_state(pool_state: &PoolState) -> Self {
        let restored =
            pool_state.token_ratios().iter().map(|(model, ratio)| (*model, ModelTokens::new(*ratio)));
        let mut ratios = Self { models: restored.collect(), ..Self::default() };
        ratios.update_typical();
        ratios
    }

    /// Returns the ratio that applies where the model is unknown: that of the median model.
    pub(crate) fn typical(&self) -> TokenRatio {
        self.typical
    }

    /// Learns from the usage of one response. Returns the model's ratio, and the model that was forgotten to make
    /// room, if any.
    fn observe(&mut self, usage: &UsageReport) -> Option<(TokenRatio, Option<ModelKey>)> {
        let prompt_tokens = usage.prompt_tokens.filter(|tokens| *tokens > 0);
        let output_tokens = usage.output_tokens.filter(|tokens| *tokens > 0);
        prompt_tokens.or(output_tokens)?;
        let is_full = !self.models.contains_key(&usage.model) && self.models.len() >= MAX_MODELS;
        let forgotten = is_full.then(|| self.forget_least_recently_used()).flatten();
        self.observations += 1;
        let model = self.models.entry(usage.model).or_default();
        model.last_used = self.observations;
        if let Some(prompt_tokens) = prompt_tokens {
            model.observe_prompt(prompt_tokens, usage);
        }
        if let Some(output_tokens) = output_tokens {
            model.observe_output(output_tokens);
        }
        Some((model.ratio(), forgotten))
    }

    fn forget_least_recently_used(&mut self) -> Option<ModelKey> {
        let oldest =
            self.models.iter().min_by_key(|(_, tokens)| tokens.last_used).map(|(model, _)| *model)?;
        self.models.remove(&oldest);
        Some(oldest)
    }

    fn update_typical(&mut self) {
        let mut all: Vec<_> =
            self.models.values().map(|tokens| tokens.ratio().bytes_per_token_milli).collect();
        let middle = all.len() / 2;
        self.typical = match all.is_empty() {
            true => TokenRatio::default(),
            false => TokenRatio {
                bytes_per_token_milli: *all.select_nth_unstable(middle).1,
                ..TokenRatio::default()
            },
        };
    }
}

impl Pool {
    /// Learns how many tokens a model makes from the usage of one response, and publishes it if it changed
    /// significantly.
    pub(super) fn learn_token_ratio(&mut self, usage: &UsageReport) {
        let Some((ratio, forgotten)) = self.token_ratios.observe(usage) else { return };
        let published = |model| self.pool_state.token_ratios().get(&model).copied().unwrap_or_default();
        let (model, before) = (usage.model, published(usage.model));
        let forgotten = forgotten.filter(|model| !published(*model).is_default());
        if let Some(model) = forgotten {
            self.commit(Change::TokenRatioLearned { model, ratio: TokenRatio::default() });
        }
        if is_significant(before, ratio) {
            self.token_ratios.update_typical();
            self.commit(Change::TokenRatioLearned { model, ratio });
        }
    }
}

fn is_significant(before: TokenRatio, after: TokenRatio) -> bool {
    let differs = |before: u32, after: u32| before.abs_diff(after) * 100 > before * SIGNIFICANT_PERCENT;
    differs(before.bytes_per_token_milli, after.bytes_per_token_milli)
        || differs(before.media_percent, after.media_percent)
        || differs(before.output_tokens, after.output_tokens)
}

/// What is known about the tokens of one model.
#[derive(Clone, Debug)]
struct ModelTokens {
    /// Tokens per byte of text.
    text: Proportion,
    /// Tokens per token of the default weight of media.
    media: Proportion,
    /// Output tokens per response.
    output: Proportion,
    last_used: u64,
}

impl Default for ModelTokens {
    fn default() -> Self {
        Self::new(TokenRatio::default())
    }
}

impl ModelTokens {
    fn new(ratio: TokenRatio) -> Self {
        let tokens_per_byte = 1_000.0 / f64::from(ratio.bytes_per_token_milli);
        Self {
            text: Proportion::new(PRIOR_TEXT_BYTES, tokens_per_byte),
            media: Proportion::new(PRIOR_MEDIA_TOKENS, f64::from(ratio.media_percent) / 100.0),
            output: Proportion::new(PRIOR_RESPONSES, f64::from(ratio.output_tokens)),
            last_used: 0,
        }
    }

    /// Learns from a prompt that the engine counted as `prompt_tokens`. A prompt teaches about text if nearly all
    /// of it is text, and about media if much of it is.
    fn observe_prompt(&mut self, prompt_tokens: u64, usage: &UsageReport) {
        let UsageReport { text_bytes, token_ids, media_tokens, .. } = *usage;
        let media = media_tokens as f64 * self.media.get();
        let text = prompt_tokens as f64 - token_ids as f64;
        if text_bytes >= MIN_TEXT_BYTES && media <= text / 8.0 && text > media {
            let most = 1_000.0 / f64::from(*TokenRatio::BYTES_PER_TOKEN_MILLI.start());
            let least = 1_000.0 / f64::from(*TokenRatio::BYTES_PER_TOKEN_MILLI.end());
            self.text.observe((text_bytes as f64, text - media), OUTLIER_FACTOR, least..=most);
        } else if media_tokens >= MIN_MEDIA_TOKENS && media >= prompt_tokens as f64 / 4.0 {
            let rest = text - text_bytes as f64 * self.text.get();
            let least = f64::from(*TokenRatio::MEDIA_PERCENT.start()) / 100.0;
            let most = f64::from(*TokenRatio::MEDIA_PERCENT.end()) / 100.0;
            self.media.observe((media_tokens as f64, rest.max(0.0)), OUTLIER_FACTOR, least..=most);
        }
    }

    /// Learns from a response of `output_tokens` tokens.
    fn observe_output(&mut self, output_tokens: u64) {
        let (least, most) = (*TokenRatio::OUTPUT_TOKENS.start(), *TokenRatio::OUTPUT_TOKENS.end());
        let valid = f64::from(least)..=f64::from(most);
        self.output.observe((1.0, output_tokens as f64), OUTPUT_OUTLIER_FACTOR, valid);
    }

    fn ratio(&self) -> TokenRatio {
        let within = |value: f64, range: RangeInclusive<u32>| {
            (value.round() as u32).clamp(*range.start(), *range.end())
        };
        TokenRatio {
            bytes_per_token_milli: within(1_000.0 / self.text.get(), TokenRatio::BYTES_PER_TOKEN_MILLI),
            media_percent: within(self.media.get() * 100.0, TokenRatio::MEDIA_PERCENT),
            output_tokens: within(self.output.get(), TokenRatio::OUTPUT_TOKENS),
        }
    }
}

/// A proportion, estimated as Σ tokens ÷ Σ amount with forgetting.
#[derive(Clone, Debug)]
struct Proportion {
    amount: f64,
    tokens: f64,
    half_life: f64,
}

impl Proportion {
    /// Starts with `proportion`, which counts as an observation of `amount`.
    fn new(amount: f64, proportion: f64) -> Self {
        Self { amount, tokens: amount * proportion, half_life: amount * HALF_LIFE_PRIORS }
    }

    fn get(&self) -> f64 {
        self.tokens / self.amount
    }

    /// Records that an amount was so many tokens, at most `outlier_factor` from what was expected. One observation never
    /// counts for more than what is known before it, however large it is.
    fn observe(&mut self, (amount, tokens): (f64, f64), outlier_factor: f64, valid: RangeInclusive<f64>) {
        let expected = self.get();
        let seen = (tokens / amount).clamp(expected / outlier_factor, expected * outlier_factor);
        let weight = amount.min(self.amount);
        let kept = 0.5_f64.powf(weight / self.half_life);
        self.amount = self.amount * kept + weight;
        self.tokens = self.tokens * kept + weight * seen.clamp(*valid.start(), *valid.end());
    }
}
