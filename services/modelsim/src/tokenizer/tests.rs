//! Token counts and block hashes.

use proptest::prelude::*;

use super::{ChatMessage, EncodedPrompt, TokenizerConfig, answer, encode_chat, encode_text, encode_tokens};

const FOUR_BYTES: TokenizerConfig = TokenizerConfig::FOUR_BYTES;

const VARYING: TokenizerConfig = TokenizerConfig {
    token_millibytes: 4_200,
    prompt_spread_percent: 15,
    token_spread_percent: 50,
    chat_start_tokens: 26,
    chat_message_tokens: 5,
};

fn text(text: &[u8]) -> EncodedPrompt {
    encode_text(&FOUR_BYTES, "m", text, 16)
}

fn message(role: &str, text: &str) -> ChatMessage {
    ChatMessage { role: role.to_owned(), text: text.to_owned() }
}

#[test]
fn token_count_is_rounded_up_and_only_full_blocks_are_hashed() {
    let encoded = text(&[b'x'; 130]);
    assert_eq!((encoded.token_count, encoded.chain.len()), (33, 2));
    assert_eq!(text(b"").token_count, 0);
    let encoded = encode_tokens("m", &[7; 33], 16);
    assert_eq!((encoded.token_count, encoded.chain.len()), (33, 2));
}

#[test]
fn chains_are_equal_up_to_the_first_difference() {
    let (mut one, two) = (vec![b'x'; 256], vec![b'x'; 256]);
    one[130] = b'y';
    let (one, two) = (text(&one), text(&two));
    assert_eq!(one.chain[..2], two.chain[..2]);
    assert_ne!(one.chain[2], two.chain[2]);
    assert_ne!(one.chain[3], two.chain[3]);
    assert_ne!(one.chain[0], one.chain[1]);
}

#[test]
fn models_share_no_blocks() {
    let encode = |model| encode_text(&FOUR_BYTES, model, &[0; 64], 16);
    assert_ne!(encode("a").chain, encode("b").chain);
}

#[test]
fn token_counts_differ_from_prompt_to_prompt_around_the_mean() {
    let prompts: Vec<String> = (0..200).map(|number| format!("{number} ") + &"word ".repeat(800)).collect();
    let bytes_per_token: Vec<f64> = prompts
        .iter()
        .map(|prompt| {
            let tokens = encode_text(&VARYING, "m", prompt.as_bytes(), 16).token_count;
            prompt.len() as f64 / f64::from(tokens)
        })
        .collect();
    let mean = bytes_per_token.iter().sum::<f64>() / 200.0;
    assert!((4.1..4.3).contains(&mean), "{mean}");
    let least = bytes_per_token.iter().copied().fold(f64::MAX, f64::min);
    let most = bytes_per_token.iter().copied().fold(0.0, f64::max);
    assert!(least < 3.8 && most > 4.6 && least > 3.4 && most < 5.0, "{least} {most}");
}

#[test]
fn chat_without_a_template_is_the_text_of_its_roles_and_messages() {
    let chat = [message("system", "Be brief."), message("user", "Hi")];
    assert_eq!(encode_chat(&FOUR_BYTES, "m", &chat, 16), text(b"systemBe brief.userHi"));
}

#[test]
fn chat_template_adds_tokens_to_each_message_and_for_the_answer() {
    let config = TokenizerConfig { chat_start_tokens: 26, chat_message_tokens: 5, ..FOUR_BYTES };
    let count = |chat: &[ChatMessage]| encode_chat(&config, "m", chat, 16).token_count;
    assert_eq!(count(&[message("user", "12345678")]), 26 + 5 + 2 + 4);
    assert_eq!(count(&[message("system", "1"), message("user", "12345678")]), 26 + 5 + 1 + 5 + 2 + 4);
}

#[test]
fn messages_of_a_chat_have_factors_of_their_own() {
    let text = |number| format!("{number} ") + &"word ".repeat(800);
    let tokens = |number| {
        let chat = [message("system", &text(0)), message("user", &text(number))];
        encode_chat(&VARYING, "m", &chat, 16).token_count
    };
    let counts: Vec<u32> = (1..50).map(tokens).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    // Half of the text, whose token count differs by up to 15 % in either direction.
    assert!(f64::from(most - least) > f64::from(*most) * 0.08, "{least} {most}");
}

#[test]
fn next_turn_begins_with_the_blocks_of_prompt_and_answer() {
    let mut chat = vec![message("system", &"You are terse. ".repeat(30)), message("user", "Tell me a story")];
    let first = encode_chat(&VARYING, "m", &chat, 16);
    let with_answer = first.chain_with_answer(100, 16);
    assert!(with_answer.len() >= first.chain.len() + 6);
    chat.push(message("assistant", &first.answer_text(100)));
    chat.push(message("user", "Another one"));
    let second = encode_chat(&VARYING, "m", &chat, 16);
    assert_eq!(second.chain[..with_answer.len()], with_answer[..]);
}

#[test]
fn text_that_continues_with_the_answer_begins_with_its_blocks() {
    for number in 0..20 {
        let prompt = format!("{number} Once upon a time there was ").repeat(9);
        let first = encode_text(&VARYING, "m", prompt.as_bytes(), 16);
        let text = prompt + &answer::text(first.fingerprint, 0, 100) + "And then?";
        let with_answer = first.chain_with_answer(100, 16);
        assert_eq!(
            encode_text(&VARYING, "m", text.as_bytes(), 16).chain[..with_answer.len()],
            with_answer[..]
        );
    }
}

proptest! {
    #[test]
    fn prompts_that_begin_alike_share_their_first_tokens(
        shared in "[a-z ]{200,600}", one in "[a-z ]{0,100}", two in "[a-z ]{0,100}",
    ) {
        let encode = |tail: &str| encode_text(&VARYING, "m", format!("{shared}{tail}").as_bytes(), 1);
        let (one, two) = (encode(&one), encode(&two));
        let common = one.chain.iter().zip(two.chain.iter()).take_while(|(one, two)| one == two).count();
        // The last token of the shared text may go beyond its end, and so may the word before it.
        let of_shared = encode_text(&VARYING, "m", shared.as_bytes(), 1).chain.len();
        prop_assert!(common + 3 >= of_shared, "{common} of {of_shared}");
    }
}
