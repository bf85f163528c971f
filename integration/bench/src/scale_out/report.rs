//! Prints the results as tables.

use super::costs::Costs;
use super::eviction::Eviction;
use super::growth::Growth;
use super::shape::Shape;

/// All results.
#[derive(Debug, Default, serde::Serialize)]
pub(super) struct Results {
    pub(super) shapes: Vec<(Shape, Costs)>,
    pub(super) growth: Vec<Growth>,
    pub(super) eviction: Vec<Eviction>,
}

/// Prints what the results are and the head of the table of pools.
pub(super) fn print_header() {
    println!("CPU time in percent of one core; the owner's actor: feedback + reports + ticks;");
    println!("its streams: decoding + encoding for one follower + for the others;");
    println!("a replica follows: decoding + applying + views; a replica sends: booking + feedback\n");
    println!(
        "| endpoints | requests/s | replicas | placements/s | changes/s | owner | its streams | a replica follows | \
         a replica sends | MB/s to, from a replica | longest fold: feedback, reports, tick (ms) | history kept (s) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Prints the row of one pool.
pub(super) fn print_shape(shape: &Shape, costs: &Costs) {
    let Shape { endpoints, requests_per_second, replicas } = shape;
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let [feedback, reports, tick] = costs.longest_ms;
    println!(
        "| {endpoints} | {requests_per_second} | {replicas} | {:.0} | {:.0} | **{:.1}**: {} + {} + {} | \
         **{:.1}**: {} + {} + {} | **{:.1}**: {} + {} + {} | {} + {} | {:.2}, {:.2} | \
         {feedback:.1}, {reports:.1}, {tick:.1} | {:.2} |",
        costs.placements_per_second,
        costs.changes_per_second,
        costs.owner_percent(),
        percent(costs.feedback),
        percent(costs.reports),
        percent(costs.ticks),
        costs.streams_percent(),
        percent(costs.decoding_at_owner),
        percent(costs.encoding_first),
        percent(costs.encoding_others),
        costs.following_percent(),
        percent(costs.decoding),
        percent(costs.applying),
        percent(costs.viewing),
        percent(costs.booking),
        percent(costs.feeding),
        costs.bytes_to_replica / 1e6,
        costs.bytes_from_replica / 1e6,
        costs.history_ms as f64 / 1e3,
    );
}

/// Prints what a snapshot of each pool costs.
pub(super) fn print_snapshots(shapes: &[(Shape, Costs)]) {
    println!(
        "\n| endpoints | requests/s | index (MB) | snapshot (MB) | the owner captures it (ms) | \
         longest fold of it (ms) | encoding (ms) | decoding (ms) | applying (ms) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (Shape { endpoints, requests_per_second, .. }, Costs { snapshot, .. }) in shapes {
        println!(
            "| {endpoints} | {requests_per_second} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} |",
            snapshot.index_bytes as f64 / 1e6,
            snapshot.bytes as f64 / 1e6,
            snapshot.capturing_ms,
            snapshot.longest_ms,
            snapshot.encoding_ms,
            snapshot.decoding_ms,
            snapshot.applying_ms,
        );
    }
}

/// Prints in what pages the memory is: accesses to huge pages cost less.
pub(super) fn print_memory(shapes: &[(Shape, Costs)]) {
    println!("\n| endpoints | requests/s | memory of the process (MB) | of these in huge pages (MB) |");
    println!("|---|---|---|---|");
    for (Shape { endpoints, requests_per_second, .. }, Costs { memory, .. }) in shapes {
        let [all, in_huge_pages] = [memory.all, memory.in_huge_pages].map(|bytes| bytes as f64 / 1e6);
        println!("| {endpoints} | {requests_per_second} | {all:.0} | {in_huge_pages:.0} |");
    }
}

/// Prints how long what is rare keeps the owner from the next input.
pub(super) fn print_rare_folds(shapes: &[(Shape, Costs)]) {
    println!(
        "\n| longest fold (ms) | requests/s | a collector joins | it leaves | all origins expire | a takeover | \
         ticks after it | late inheritance: a part fetched | continuing it |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (Shape { endpoints, requests_per_second, .. }, Costs { rare, .. }) in shapes {
        println!(
            "| {endpoints} endpoints | {requests_per_second} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            rare.collector_joins_ms,
            rare.collector_leaves_ms,
            rare.origins_expire_ms,
            rare.takeover_ms,
            rare.ticks_after_ms,
            rare.late_fetch_ms,
            rare.late_inheritance_ms,
        );
    }
}

/// Prints what new endpoints cost.
pub(super) fn print_growth(growth: &[Growth]) {
    println!(
        "\n| new endpoints | the owner adds all (ms) | longest fold of it (ms) | \
         the owner places a prompt at each (ms) | a follower applies both (ms) |"
    );
    println!("|---|---|---|---|---|");
    for Growth { endpoints, adding_ms, longest_ms, placing_ms, following_ms } in growth {
        println!("| {endpoints} | {adding_ms:.1} | {longest_ms:.1} | {placing_ms:.1} | {following_ms:.1} |");
    }
}

/// Prints what placements cost at the memory bound.
pub(super) fn print_eviction(eviction: &[Eviction]) {
    println!(
        "\n| at the memory bound | endpoints | placements in a batch | a placement (µs) | longest fold (ms) |"
    );
    println!("|---|---|---|---|---|");
    for Eviction { name, endpoints, batch, placement_us, longest_ms } in eviction {
        println!("| {name} | {endpoints} | {batch} | {placement_us:.1} | {longest_ms:.2} |");
    }
}
