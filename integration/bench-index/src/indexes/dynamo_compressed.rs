//! `ConcurrentRadixTreeCompressed` of `dynamo-kv-router`, written by a dedicated thread as its design
//! intends.

use std::sync::Arc;
use std::thread::JoinHandle;

use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::protocols::{LocalBlockHash, OverlapScores, RouterEvent};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, SyncIndexer};
use signalbox_types::BlockHash;

use super::dynamo_radix::{events, local, sum};
use super::{PrefixIndex, SharedIndex};
use crate::operations::{Operation, OperationStream};

pub(crate) struct DynamoCompressed {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    tasks: flume::Sender<WorkerTask>,
    writer: Option<JoinHandle<()>>,
}

impl<'a> PrefixIndex<'a> for DynamoCompressed {
    type Writes = Vec<RouterEvent>;
    type Query = Vec<LocalBlockHash>;
    type Found = OverlapScores;

    const NAME: &'static str = "dynamo-kv-router 1.6.1, ConcurrentRadixTreeCompressed";

    fn new(_stream: &OperationStream<'a>) -> Self {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, received) = flume::unbounded();
        let shared_tree = Arc::clone(&tree);
        let writer = std::thread::spawn(move || {
            shared_tree.worker(received, None).expect("the writer ends without an error")
        });
        Self { tree, tasks, writer: Some(writer) }
    }

    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], first: u64) -> Self::Writes {
        events(stream, operations, first)
    }

    fn prepare_query(chain: &[BlockHash]) -> Self::Query {
        local(chain)
    }

    fn write(&mut self, writes: &mut Self::Writes) {
        for event in writes.drain(..) {
            self.tasks.send(WorkerTask::Event(event)).expect("the writer is running");
        }
        let (done, wait) = tokio::sync::oneshot::channel();
        self.tasks.send(WorkerTask::Flush(done)).expect("the writer is running");
        wait.blocking_recv().expect("the writer is running");
    }

    fn query(&mut self, query: &mut Self::Query) -> OverlapScores {
        self.tree.find_matches(query, false)
    }

    fn score_sum(&self, found: &OverlapScores) -> u64 {
        sum(found)
    }
}

impl SharedIndex<'_> for DynamoCompressed {
    type Reader = Arc<ConcurrentRadixTreeCompressed>;

    fn reader(&self) -> Self::Reader {
        Arc::clone(&self.tree)
    }

    fn read(reader: &mut Self::Reader, query: &mut Self::Query) -> OverlapScores {
        reader.find_matches(query, false)
    }

    fn read_sum(_reader: &Self::Reader, found: &OverlapScores) -> u64 {
        sum(found)
    }
}

impl Drop for DynamoCompressed {
    fn drop(&mut self) {
        // Sending fails if the writer has ended already.
        let _ = self.tasks.send(WorkerTask::Terminate);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
