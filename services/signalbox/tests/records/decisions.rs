//! Decisions as the metrics port tells them.

use signalbox_schedule::{DecisionAccount, Recording, Verdict};

use crate::replica::Replica;

async fn accounts(replica: &Replica, query: &str) -> Vec<DecisionAccount> {
    serde_json::from_str(&replica.get(&format!("/decisions{query}")).await).unwrap()
}

fn numbers(accounts: &[DecisionAccount]) -> Vec<u64> {
    accounts.iter().map(|account| account.number).collect()
}

#[tokio::test]
async fn the_latest_decisions_are_told_and_can_be_made_again() {
    let replica = Replica::start(4, None).await;
    assert!(accounts(&replica, "").await.is_empty());
    for index in 0..6 {
        assert!(replica.ask(&[("x-request-id", &format!("request-{}", index % 5))]).await);
    }
    assert_eq!(vec![5, 4, 3, 2], numbers(&accounts(&replica, "").await));
    assert_eq!(vec![5, 4], numbers(&accounts(&replica, "?limit=2").await));
    assert_eq!(vec![3], numbers(&accounts(&replica, "?request_id=request-3").await));
    assert!(accounts(&replica, "?request_id=request-1").await.is_empty());
    let full = replica.get("/decisions?full=true").await;
    let recordings: Vec<Recording> = serde_json::from_str(&full).unwrap();
    let told = accounts(&replica, "").await;
    assert_eq!(told, recordings.iter().map(Recording::account).collect::<Vec<_>>());
    for (recording, account) in recordings.iter().zip(&told) {
        let replay = recording.replay().unwrap();
        assert_eq!((Verdict::Same, &account.explanation), (replay.verdict, &replay.explanation));
        assert_eq!(3, account.explanation.candidates.len());
    }
    replica.stop().await;
}

#[tokio::test]
async fn where_none_are_kept_that_is_said() {
    let replica = Replica::start(0, None).await;
    assert!(replica.ask(&[]).await);
    assert!(replica.get("/decisions").await.contains("--decisions"));
    replica.stop().await;
}
