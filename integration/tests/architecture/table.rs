//! The table of crates: the kind of each, and which crates it may import.

/// The kind of a crate decides which third-party crates it must not import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Synchronous and total, with time as a parameter: no IO, clock, randomness or logs.
    Pure,
    /// Like `Pure`, but draws from a random number generator that is passed in.
    PureWithRng,
    /// Converts one representation into another.
    Conversion,
    /// Knows nothing about the domain.
    Foundation,
    /// IO, clocks, actors.
    Shell,
}

/// One crate.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The workspace crates that it may import, without `signalbox-`.
    pub(crate) imports: &'static [&'static str],
}

const fn row(name: &'static str, kind: Kind, imports: &'static [&'static str]) -> Row {
    Row { name, kind, imports }
}

pub(crate) const TABLE: &[Row] = &[
    row("protos", Kind::Foundation, &[]),
    row("types", Kind::Pure, &[]),
    row("flow", Kind::Pure, &["types"]),
    row("prefix", Kind::Pure, &["types"]),
    row("dialect", Kind::Pure, &["types"]),
    row("intake", Kind::Pure, &["types", "prefix"]),
    row("signal", Kind::Pure, &[]),
    row("state", Kind::Pure, &["types", "flow", "prefix", "signal"]),
    row("schedule", Kind::PureWithRng, &["types", "state"]),
    row("admission", Kind::Pure, &["types", "flow", "state", "schedule"]),
    row("extproc", Kind::Pure, &["flow", "protos", "types", "intake"]),
    row("wire", Kind::Conversion, &["protos", "types", "flow", "prefix", "signal", "state"]),
    row("workload", Kind::PureWithRng, &["types"]),
    row("document", Kind::Foundation, &[]),
    row("config", Kind::Conversion, &["document", "flow", "objects", "schedule", "types"]),
    row("objects", Kind::Conversion, &["document", "types"]),
    row("metrics-api", Kind::Conversion, &["types"]),
    row("actors", Kind::Foundation, &[]),
    row("telemetry", Kind::Foundation, &[]),
    row("kube", Kind::Shell, &["actors", "document", "metrics-api", "objects", "types"]),
    row("lease", Kind::Shell, &["types", "actors", "kube"]),
    row("tls", Kind::Shell, &["types"]),
    row("autoscaling", Kind::Shell, &["kube", "metrics-api", "protos", "signal", "tls", "types"]),
    row("peers", Kind::Shell, &["types", "state", "protos", "wire", "actors", "tls"]),
    row(
        "collector",
        Kind::Shell,
        &["types", "dialect", "state", "protos", "wire", "actors", "telemetry", "lease", "peers", "tls"],
    ),
    row(
        "aggregator",
        Kind::Shell,
        &[
            "autoscaling",
            "config",
            "document",
            "flow",
            "kube",
            "objects",
            "signal",
            "types",
            "state",
            "protos",
            "signal",
            "wire",
            "actors",
            "telemetry",
            "lease",
            "peers",
            "tls",
        ],
    ),
    row(
        "epp",
        Kind::Shell,
        &[
            "types",
            "admission",
            "flow",
            "intake",
            "state",
            "schedule",
            "extproc",
            "config",
            "document",
            "protos",
            "wire",
            "actors",
            "telemetry",
            "lease",
            "peers",
            "tls",
        ],
    ),
    row("modelsim", Kind::Shell, &["types", "dialect", "telemetry"]),
    row(
        "signalbox",
        Kind::Shell,
        &[
            "document",
            "intake",
            "config",
            "types",
            "protos",
            "state",
            "schedule",
            "telemetry",
            "workload",
            "collector",
            "aggregator",
            "epp",
            "modelsim",
            "lease",
            "tls",
        ],
    ),
    row(
        "bench",
        Kind::Shell,
        &[
            "types",
            "admission",
            "flow",
            "prefix",
            "protos",
            "signal",
            "state",
            "schedule",
            "wire",
            "workload",
            "config",
            "intake",
            "modelsim",
            "bench-report",
            "event-queue",
        ],
    ),
    row("bench-report", Kind::Shell, &[]),
    row("event-queue", Kind::Pure, &[]),
    row(
        "sim",
        Kind::PureWithRng,
        &["types", "flow", "admission", "signal", "state", "schedule", "actors", "event-queue"],
    ),
    row("integration", Kind::Shell, &["kube", "lease", "protos", "tls", "types"]),
    row("chaos", Kind::Shell, &["integration"]),
    row("coherence", Kind::Shell, &["integration", "peers", "protos", "state", "tls", "types", "wire"]),
    row("fuzz", Kind::Shell, &["dialect", "extproc", "flow", "intake", "protos", "state", "types", "wire"]),
    row(
        "kubernetes-tests",
        Kind::Shell,
        &["aggregator", "collector", "document", "epp", "integration", "kube", "lease", "tls", "types"],
    ),
    row("xtask", Kind::Shell, &[]),
];

/// Third-party crates that only the listed crates may import. A trailing `*` stands for any ending.
pub(crate) const ONLY: &[(&str, &[&str])] = &[
    ("etcd-client", &["lease"]),
    ("kube", &["kube"]),
    ("k8s-openapi", &["kube"]),
    ("opentelemetry*", &["telemetry"]),
    ("tracing-subscriber", &["telemetry"]),
    ("ractor", &["actors", "collector", "aggregator", "epp"]),
    ("ractor_cluster", &[]),
    (
        "tonic",
        &[
            "protos",
            "telemetry",
            "tls",
            "peers",
            "collector",
            "aggregator",
            "autoscaling",
            "epp",
            "signalbox",
            "coherence",
            "kubernetes-tests",
        ],
    ),
    ("prost", &["protos", "wire", "extproc", "intake", "bench", "fuzz"]),
    (
        "clap",
        &[
            "lease",
            "tls",
            "collector",
            "aggregator",
            "epp",
            "modelsim",
            "signalbox",
            "bench",
            "sim",
            "chaos",
            "coherence",
            "fuzz",
            "xtask",
        ],
    ),
];

/// Returns the third-party crates that a crate of this kind must not import outside its tests.
pub(crate) fn forbidden(kind: Kind) -> Vec<&'static str> {
    const IO: &[&str] = &[
        "axum",
        "futures",
        "hyper",
        "hyper-util",
        "mio",
        "ractor",
        "reqwest",
        "socket2",
        "tokio",
        "tokio-stream",
        "tokio-util",
        "tonic",
        "tower",
    ];
    const CLOCKS: &[&str] = &["chrono", "coarsetime", "humantime", "jiff", "quanta", "time"];
    const RANDOMNESS: &[&str] = &["fastrand", "getrandom", "oorandom", "rand", "rand_core"];
    const LOGS: &[&str] = &["log", "metrics", "prometheus-client", "tracing"];
    match kind {
        Kind::Pure => [IO, CLOCKS, RANDOMNESS, LOGS].concat(),
        Kind::PureWithRng => [IO, CLOCKS, LOGS].concat(),
        Kind::Conversion => [IO, CLOCKS, RANDOMNESS].concat(),
        Kind::Foundation | Kind::Shell => Vec::new(),
    }
}
