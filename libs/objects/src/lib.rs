//! Reads the Kubernetes objects that describe a pool, from a file or from a cluster.
//!
//! [`signalbox_document`] makes a tree of an object; [`read_model_object`] and [`read_inference_pool`] read the
//! tree. Each reports all problems of the object, with how to fix them. Nothing here decides which objects
//! count: that is the caller's part.

mod custom_engine;
mod inference_pool;
mod kind;
mod metadata;
mod model_object;
mod name;
mod pool_ref;
mod spec;

pub use self::inference_pool::{InferencePool, PickerRef, read_inference_pool};
pub use self::kind::ObjectKind;
pub use self::metadata::Metadata;
pub use self::model_object::{ModelObject, read_model_object};
pub use self::name::read_name;
pub use self::pool_ref::PoolRef;
pub use custom_engine::read_custom_engines;
