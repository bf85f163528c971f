//! Tests that the published results are those of a full run of the present contenders and scenes.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;

use super::report::Report;
use super::{Args, Scene};
use crate::policies::{Contender, contenders, splits};

/// The command line of `routing`.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

/// Returns the arguments of a run without options.
fn full_run() -> Args {
    CommandLine::parse_from(["routing"]).args
}

fn published() -> anyhow::Result<Report> {
    Report::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results/routing.json"))
}

/// Returns scene, load, number of replicas and contender of each result that a full run has.
fn expected_keys(args: &Args) -> BTreeSet<(&str, u32, usize, String)> {
    let mut keys = BTreeSet::new();
    for scene in args.scenes() {
        let (all, splits) = (contenders(&scene.pod_profiles()), splits(&scene.pod_profiles()));
        for load in args.loads() {
            let key = |replicas| move |one: &Contender| (scene.name, load, replicas, one.name.clone());
            for replicas in args.replicas(scene) {
                keys.extend(all.iter().map(key(replicas)));
            }
            keys.extend(splits.iter().map(key(1)));
        }
    }
    keys
}

#[test]
fn published_results_are_of_a_full_run_of_a_commit() -> anyhow::Result<()> {
    let report = published()?;
    let arguments: Vec<_> = report.arguments.iter().map(String::as_str).collect();
    assert!(matches!(arguments[..], ["routing", "--trace", _, "--output", _]), "{arguments:?}");
    assert!(!report.provenance.is_modified, "the results are of a tree with changes");
    assert!(report.trace.is_some(), "the scene conversation-trace was generated");
    assert_eq!((6..=10).collect::<Vec<u64>>(), report.seeds);
    Ok(())
}

#[test]
fn published_results_have_the_requests_of_the_scenes() -> anyhow::Result<()> {
    let (report, args) = (published()?, full_run());
    let requests = |scene: &&'static Scene| {
        let requests = args.requests(scene) as usize;
        (scene.name.to_owned(), scene.describe_pods(), vec![requests; args.seeds().len()])
    };
    let expected: Vec<_> = args.scenes().iter().map(requests).collect();
    let found = report.scenes.into_iter().map(|scene| (scene.name, scene.pods, scene.requests));
    assert_eq!(expected, found.collect::<Vec<_>>(), "run cargo xtask bench routing again");
    Ok(())
}

#[test]
fn published_results_have_all_contenders() -> anyhow::Result<()> {
    let (report, args) = (published()?, full_run());
    let found: BTreeSet<_> = report
        .results
        .iter()
        .map(|result| {
            let (scene, load, replicas, contender) = result.key();
            (scene, load, replicas, contender.to_owned())
        })
        .collect();
    let expected = expected_keys(&args);
    let differing: Vec<_> = expected.symmetric_difference(&found).collect();
    assert!(differing.is_empty(), "lacking or unknown: {differing:?}; run cargo xtask bench routing again");
    assert!(report.results.iter().all(|result| result.runs.len() == report.seeds.len()));
    Ok(())
}
