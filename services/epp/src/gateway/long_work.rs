//! Runs what takes long on a thread that serves nothing else meanwhile.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Runs `work`, which does not wait but takes milliseconds. The tasks that this worker thread would run meanwhile, such as
/// those of the other streams of a connection, go to another thread. A runtime with one thread has none to hand them to.
pub(super) fn run_long<T>(work: impl FnOnce() -> T) -> T {
    let has_workers =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_workers { block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_of_the_thread_go_on() {
        let (sender, receiver) = channel();
        let long = tokio::spawn(async move {
            tokio::spawn(async move { sender.send(7).unwrap() });
            // Without another thread, the task above would wait for this one.
            run_long(|| receiver.recv().unwrap())
        });
        assert_eq!(7, long.await.unwrap());
    }

    #[tokio::test]
    async fn runs_in_place_without_workers() {
        assert_eq!(7, run_long(|| 7));
    }
}
