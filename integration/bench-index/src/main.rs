//! Measures how fast prefix indexes are.

fn main() -> anyhow::Result<()> {
    signalbox_bench_index::run()
}
