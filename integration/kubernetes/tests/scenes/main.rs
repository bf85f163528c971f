//! Signalbox in a cluster, as its users run it.

mod release;
