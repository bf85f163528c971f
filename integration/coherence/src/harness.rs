//! The processes under test and the tools that drive and observe them.

pub(crate) mod api_server;
pub(crate) mod autoscalers;
pub(crate) mod cluster;
pub(crate) mod counting_proxy;
pub(crate) mod follower;
pub(crate) mod gateway;
pub(crate) mod load_generator;
pub(crate) mod machine_load;
pub(crate) mod metrics_pages;
pub(crate) mod procfs;
pub(crate) mod prompts;
