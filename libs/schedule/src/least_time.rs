//! The default policy: chooses the endpoint with the least expected time to serve the request. It has no
//! weights.

mod adapter_cost;
mod cost_terms;
mod endpoint_costs;
mod room;
mod settings;
mod tier;

pub use cost_terms::CostTerms;
pub(crate) use cost_terms::cost_terms;
pub use endpoint_costs::EndpointCosts;
pub use settings::LeastTime;
pub use tier::Tier;
