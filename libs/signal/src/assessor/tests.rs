//! Each way in which autoscalers are known to fail, and properties of the whole.

mod catalogue;
mod deployments;
mod properties;
mod unmeasured;
mod world;
