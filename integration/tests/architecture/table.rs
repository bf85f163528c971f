//! The table that everything else here goes by.

/// What a crate is, which decides what it must not import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Synchronous and total, time as a parameter: no IO, no clock, no randomness of its own, no logs.
    Pure,
    /// As `Pure`, and picks at random with a generator that it is given.
    PureWithDice,
    /// Turns one representation into another.
    Conversion,
    /// Knows nothing of the domain.
    Foundation,
    /// IO, clocks, actors.
    Shell,
}

/// One crate.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The crates of this workspace that it may import, without `signalbox-`.
    pub(crate) imports: &'static [&'static str],
}

const fn row(name: &'static str, kind: Kind, imports: &'static [&'static str]) -> Row {
    Row { name, kind, imports }
}

pub(crate) const TABLE: &[Row] = &[
    row("protos", Kind::Foundation, &[]),
    row("types", Kind::Pure, &[]),
    row("prefix", Kind::Pure, &["types"]),
    row("dialect", Kind::Pure, &["types"]),
    row("intake", Kind::Pure, &["types", "prefix"]),
    row("state", Kind::Pure, &["types", "prefix"]),
    row("schedule", Kind::PureWithDice, &["types", "state"]),
    row("extproc", Kind::Pure, &["protos", "types", "intake"]),
    row("wire", Kind::Conversion, &["protos", "types", "prefix", "state"]),
    row("workload", Kind::PureWithDice, &["types"]),
    row("document", Kind::Foundation, &[]),
    row("config", Kind::Conversion, &["document", "schedule"]),
    row("actors", Kind::Foundation, &[]),
    row("telemetry", Kind::Foundation, &[]),
    row("lease", Kind::Shell, &["types", "actors"]),
    row("tls", Kind::Shell, &["types"]),
    row("peers", Kind::Shell, &["types", "state", "protos", "wire", "actors", "tls"]),
    row(
        "collector",
        Kind::Shell,
        &["types", "dialect", "state", "protos", "wire", "actors", "telemetry", "lease", "peers", "tls"],
    ),
    row(
        "aggregator",
        Kind::Shell,
        &["document", "types", "state", "protos", "wire", "actors", "telemetry", "lease", "peers", "tls"],
    ),
    row(
        "epp",
        Kind::Shell,
        &[
            "types",
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
    row("bench", Kind::Shell, &["types", "prefix", "state", "schedule", "workload", "modelsim"]),
    row("sim", Kind::PureWithDice, &["types", "state"]),
    row("integration", Kind::Shell, &["lease", "protos", "tls", "types"]),
    row("chaos", Kind::Shell, &["integration"]),
    row("coherence", Kind::Shell, &["integration", "peers", "protos", "state", "tls", "types", "wire"]),
    row("fuzz", Kind::Shell, &["dialect", "extproc", "intake", "protos", "types"]),
    row("xtask", Kind::Shell, &[]),
];

/// What only these may import; a name that ends in `*` stands for all that begin with it.
pub(crate) const ONLY: &[(&str, &[&str])] = &[
    ("kube*", &["kube"]),
    ("k8s-openapi", &["kube"]),
    ("etcd-client", &["lease"]),
    ("opentelemetry*", &["telemetry"]),
    ("tracing-subscriber", &["telemetry"]),
    ("ractor", &["actors", "collector", "aggregator", "epp"]),
    ("ractor_cluster", &[]),
    (
        "tonic",
        &["protos", "telemetry", "tls", "peers", "collector", "aggregator", "epp", "signalbox", "coherence"],
    ),
    ("prost", &["protos", "wire", "extproc", "fuzz"]),
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

/// What a crate of a kind must not import, its tests excepted.
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
    const DICE: &[&str] = &["fastrand", "getrandom", "oorandom", "rand", "rand_core", "uuid"];
    const LOGS: &[&str] = &["log", "metrics", "prometheus-client", "tracing"];
    match kind {
        Kind::Pure => [IO, CLOCKS, DICE, LOGS].concat(),
        Kind::PureWithDice => [IO, CLOCKS, LOGS].concat(),
        Kind::Conversion => [IO, CLOCKS, DICE].concat(),
        Kind::Foundation | Kind::Shell => Vec::new(),
    }
}
