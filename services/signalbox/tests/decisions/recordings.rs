//! Recorded decisions on the metrics port.

use signalbox_schedule::{ExplainedDecision, Recording, Verdict};

use crate::replica::Replica;

async fn decisions(replica: &Replica, query: &str) -> Vec<ExplainedDecision> {
    serde_json::from_str(&replica.get(&format!("/decisions{query}")).await).unwrap()
}

fn numbers(decisions: &[ExplainedDecision]) -> Vec<u64> {
    decisions.iter().map(|decision| decision.number).collect()
}

#[tokio::test]
async fn recent_decisions_are_listed_and_can_be_replayed() {
    let replica = Replica::start(4, None).await;
    assert!(decisions(&replica, "").await.is_empty());
    for index in 0..6 {
        assert!(replica.ask(&[("x-request-id", &format!("request-{}", index % 5))]).await);
    }
    assert_eq!(vec![5, 4, 3, 2], numbers(&decisions(&replica, "").await));
    assert_eq!(vec![5, 4], numbers(&decisions(&replica, "?limit=2").await));
    assert_eq!(vec![3], numbers(&decisions(&replica, "?request_id=request-3").await));
    assert!(decisions(&replica, "?request_id=request-1").await.is_empty());
    let full = replica.get("/decisions?full=true").await;
    let recordings: Vec<Recording> = serde_json::from_str(&full).unwrap();
    let listed = decisions(&replica, "").await;
    assert_eq!(listed, recordings.iter().map(Recording::to_explained).collect::<Vec<_>>());
    for (recording, decision) in recordings.iter().zip(&listed) {
        let replay = recording.replay().unwrap();
        assert_eq!((Verdict::Same, &decision.explanation), (replay.verdict, &replay.explanation));
        assert_eq!(3, decision.explanation.candidates.len());
    }
    replica.stop().await;
}

#[tokio::test]
async fn without_recordings_the_response_names_the_flag() {
    let replica = Replica::start(0, None).await;
    assert!(replica.ask(&[]).await);
    assert!(replica.get("/decisions").await.contains("--decision-history"));
    replica.stop().await;
}
