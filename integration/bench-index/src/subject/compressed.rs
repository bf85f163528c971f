//! `dynamo-kv-router`'s `ConcurrentRadixTreeCompressed`, written by a thread of its own, as it is meant to be.

use std::sync::Arc;
use std::thread::JoinHandle;

use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::protocols::{LocalBlockHash, OverlapScores, RouterEvent};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, SyncIndexer};
use signalbox_types::BlockHash;

use super::Subject;
use super::radix::{events, local, sum};
use crate::stream::{Operation, Stream};

pub(crate) struct Compressed {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    tasks: flume::Sender<WorkerTask>,
    writer: Option<JoinHandle<()>>,
    found: OverlapScores,
}

impl<'a> Subject<'a> for Compressed {
    type Writes = Vec<RouterEvent>;
    type Query = Vec<LocalBlockHash>;

    const NAME: &'static str = "dynamo ConcurrentRadixTreeCompressed";

    fn new(_stream: &Stream<'a>) -> Self {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, received) = flume::unbounded();
        let written = Arc::clone(&tree);
        let writer =
            std::thread::spawn(move || written.worker(received, None).expect("it ends when it is told"));
        Self { tree, tasks, writer: Some(writer), found: OverlapScores::new() }
    }

    fn prepare(stream: &Stream<'a>, operations: &[Operation], first: u64) -> Self::Writes {
        events(stream, operations, first)
    }

    fn ask(chain: &[BlockHash]) -> Self::Query {
        local(chain)
    }

    fn write(&mut self, writes: Self::Writes) {
        for event in writes {
            self.tasks.send(WorkerTask::Event(event)).expect("the writer lives");
        }
        let (done, wait) = tokio::sync::oneshot::channel();
        self.tasks.send(WorkerTask::Flush(done)).expect("the writer lives");
        wait.blocking_recv().expect("the writer lives");
    }

    fn query(&mut self, query: &mut Self::Query) {
        self.found = self.tree.find_matches(query, false);
    }

    fn sum(&self) -> u64 {
        sum(&self.found)
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        // Without its tasks the writer ends by itself.
        let _ = self.tasks.send(WorkerTask::Terminate);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
