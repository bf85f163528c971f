use super::*;
use crate::load::client::Trust;
use crate::load::requests::body::ResponseMode;
use crate::load::results::goals::Goals;
use crate::load::schedule::{End, Pacing};
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

fn plan(flags: &[&str]) -> Result<Plan, String> {
    let cli = Cli::try_parse_from(["load"].iter().chain(flags)).map_err(|error| error.to_string())?;
    cli.load.plan().map_err(|error| error.to_string())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults_give_a_closed_loop_of_100_requests_to_the_local_gateway() {
    let plan = plan(&[]).unwrap();
    assert_eq!((plan.end, plan.profile), (End { requests: Some(100), after: None }, "shared-prefix"));
    assert_eq!(plan.pacing, Pacing::Closed { concurrency: 16 });
    assert_eq!((plan.response_mode, plan.ignore_eos), (ResponseMode::Streaming, false));
    assert_eq!("http://127.0.0.1:8080/", plan.target.url.to_string());
    assert!(plan.requests.tiers.is_none() && !plan.goals.are_set());
}

#[test]
fn pacing_follows_the_flags() {
    let pacing = |flags: &[&str]| plan(flags).unwrap().pacing;
    let poisson = Pacing::Poisson { per_second: 2.5, limit: Some(3) };
    assert_eq!(pacing(&["--rate", "2.5", "--concurrency", "3"]), poisson);
    let waves = Pacing::Waves { size: 7, pause: seconds(1) };
    assert_eq!(pacing(&["--profile", "burst", "--wave", "7"]), waves);
    let diurnal = Pacing::Diurnal { peak_per_second: 9.0, length: seconds(300), limit: None };
    assert_eq!(pacing(&["--profile", "diurnal", "--rate", "9", "--duration", "5m"]), diurnal);
}

#[test]
fn run_ends_with_its_requests_or_its_time() {
    let end = |flags: &[&str]| plan(flags).unwrap().end;
    assert_eq!(Some(12), end(&["--groups", "3", "--prompts", "4"]).requests);
    let after = |requests, time| End { requests, after: Some(seconds(time)) };
    assert_eq!(after(None, 30), end(&["--duration", "20s", "--warmup", "10s"]));
    assert_eq!(after(Some(9), 20), end(&["--duration", "20s", "--requests", "9"]));
    assert_eq!(after(None, 30), end(&["--profile", "tiers"]));
    assert_eq!(End { requests: Some(9), after: None }, end(&["--profile", "tiers", "--requests", "9"]));
    assert_eq!(after(None, 120), end(&["--profile", "diurnal"]));
    assert_eq!(after(Some(9), 120), end(&["--profile", "diurnal", "--requests", "9"]));
}

#[test]
fn times_are_at_most_a_year() {
    let error = plan(&["--warmup", "1s", "--duration", "18446744073709551615s"]).unwrap_err();
    assert!(error.contains("--duration") && error.contains("at most 365 days"), "{error}");
    assert!(plan(&["--warmup", "366days"]).unwrap_err().contains("--warmup"));
    assert!(plan(&["--warmup", "365days", "--duration", "365days"]).is_ok());
}

#[test]
fn headers_trust_and_goals_follow_the_flags() {
    let plan = |flags: &[&str]| plan(&[&["--to", "https://gateway.example"], flags].concat()).unwrap();
    let headers = plan(&["-H", "a: 1", "--header", "a: 2", "-H", "Authorization: Bearer x"]).target.headers;
    assert_eq!(
        (2, 1),
        (headers.get_all("a").iter().count(), headers.get_all("authorization").iter().count())
    );
    assert_eq!(Trust::Platform, plan(&[]).trust);
    assert_eq!(Trust::Anyone, plan(&["--insecure"]).trust);
    assert_eq!(Trust::Authorities("ca.pem".into()), plan(&["--ca", "ca.pem"]).trust);
    let goals = Goals { ttft: Some(Duration::from_millis(250)), tpot: Some(Duration::from_micros(7_500)) };
    assert_eq!(goals, plan(&["--ttft-goal-ms", "250", "--tpot-goal-ms", "7.5"]).goals);
    assert!(plan(&["--ignore-eos"]).ignore_eos && !plan(&["--ignore-eos=false"]).ignore_eos);
}

#[test]
fn invalid_flags_are_rejected() {
    let bad: [&[&str]; 24] = [
        &["--rate", "0"],
        &["--rate", "nan"],
        &["--concurrency", "0"],
        &["--requests", "0"],
        &["--profile", "burst", "--rate", "1"],
        &["--wave", "3"],
        &["--tenants", "3"],
        &["--tenants", "0", "--profile", "tiers"],
        &["--groups", "3", "--profile", "tiers"],
        &["--prompts", "3", "--profile", "tiers"],
        &["--profile", "diurnal", "--duration", "0s"],
        &["--duration", "5"],
        &["--warmup", "soon"],
        &["--to", "ftp://example.com"],
        &["--to", "127.0.0.1:8080"],
        &["--to", "http://127.0.0.1:8080/?a=b"],
        &["--header", "no-value"],
        &["--ca", "ca.pem", "--insecure"],
        &["--no-stream", "--ttft-goal-ms", "5"],
        &["--speed", "2"],
        &["--trace", "-", "--speed", "0"],
        &["--trace", "-", "--speed", "-1"],
        &["--trace", "-", "--rate", "3"],
        &["--lora-zipf", "3", "--model", "m"],
    ];
    for flags in bad {
        assert!(plan(flags).is_err(), "{flags:?}");
    }
}
