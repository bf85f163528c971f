//! Prompts go where their beginning is known.

use anyhow::ensure;
use signalbox_integration::{Ask, Delivery, Site, SiteConfig, eventually};

/// 16,000 tokens: what there is to gain outweighs any small difference in load.
fn long(topic: u64) -> Ask {
    Ask { topic, bytes: 64_000, max_tokens: Some(4), delivery: Delivery::Whole }
}

#[tokio::test]
async fn a_repeated_prompt_goes_where_it_was_by_either_replica() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    for topic in 0..4 {
        let first = site.ask(&long(topic)).await.unwrap().pod().unwrap().to_owned();
        for epp in &site.epps {
            let knows = async || {
                let explanation = epp.explain(&site.client, long(topic).body()).await?;
                let winner = &explanation["candidates"][0];
                ensure!(explanation["winner"] == *first, "{explanation}");
                ensure!(winner["cached_tokens"].as_u64() > Some(15_000), "{explanation}");
                Ok(())
            };
            eventually("the replica knows where the prompt was", knows).await.unwrap();
        }
        for _ in 0..6 {
            let again = site.ask(&long(topic)).await.unwrap();
            assert_eq!(again.pod().unwrap(), first);
            let usage = &again.json().unwrap()["usage"];
            let cached_tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
            assert!(cached_tokens > Some(15_000), "{usage}");
        }
    }
    site.metric_is("matched_tokens_total", |tokens| tokens > 15_000.0).await.unwrap();
}
