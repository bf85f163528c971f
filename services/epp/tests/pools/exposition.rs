//! The metrics page of a replica with several pools.

use std::collections::{BTreeMap, BTreeSet};

use crate::{PORTS, Served};

/// Checks that a page is valid: families are described once and before their samples, which are together and
/// all different. Returns the samples by family.
fn families(page: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let (mut families, mut current) = (BTreeMap::<&str, BTreeSet<&str>>::new(), "");
    let lines = page.strip_suffix("# EOF\n").expect("the page ends with EOF").lines();
    for line in lines {
        if let Some(comment) = line.strip_prefix("# ") {
            let name = comment.split(' ').nth(1).unwrap();
            if name != current {
                assert!(families.insert(name, BTreeSet::new()).is_none(), "{name} is on the page twice");
                current = name;
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(current).unwrap_or_else(|| panic!("{line} is not of {current}"));
        assert!(["", "_total", "_bucket", "_count", "_sum"].contains(&suffix), "{line} is not of {current}");
        assert!(families.get_mut(current).unwrap().insert(series), "{series} is on the page twice");
    }
    families
}

#[tokio::test]
async fn page_with_several_pools_is_valid_and_every_series_of_a_pool_names_it() {
    let served = Served::start().await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1), ("code", PORTS[1], 2)]);
    served.wait_served("chat", PORTS[0]).await;
    served.wait_served("code", PORTS[1]).await;
    let page = served.metrics().await;
    let families = families(&page);
    let of_process = ["signalbox_epp_buffered_body_bytes", "signalbox_epp_pools"];
    let mut checked = 0;
    for (family, samples) in &families {
        for sample in samples {
            let labels = sample.strip_prefix(family).unwrap();
            assert_eq!(of_process.contains(family), !labels.contains("pool=\"default/"), "{sample}");
            checked += 1;
        }
    }
    assert!(checked > 100, "{page}");
    assert!(
        families["signalbox_epp_decisions"].contains("signalbox_epp_decisions_total{pool=\"default/chat\"}")
    );
    let ready = &families["llm_d_epp_ready_endpoints"];
    assert!(ready.contains("llm_d_epp_ready_endpoints{pool=\"default/code\",name=\"code\"}"), "{ready:?}");
    served.epp.stop().await;
}
