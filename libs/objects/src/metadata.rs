//! Reads metadata.

use signalbox_document::{Fields, Problems};

use crate::name::read_name;

/// The part of an object's metadata that Signalbox uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Name of the object.
    pub name: String,
    /// Line of the name, counted from 1.
    pub name_line: usize,
    /// Namespace of the object, if given.
    pub namespace: Option<String>,
    /// Creation time in milliseconds since the Unix epoch, if given.
    pub created_ms: Option<u64>,
}

/// Path of an object's name.
pub(crate) const NAME_PATH: &str = "metadata.name";

impl Metadata {
    /// Reports a problem with the object's name.
    pub fn report_name(&self, message: impl Into<String>, problems: &mut Problems) {
        problems.add(self.name_line, NAME_PATH, message);
    }
}

/// Reads the metadata of an object. Other fields that Kubernetes writes there are ignored.
pub(crate) fn read_metadata(fields: &Fields<'_>, problems: &mut Problems) -> Option<Metadata> {
    let metadata = fields.required("metadata", "{ name: NAME }", problems)?.lenient_fields(problems)?;
    let name = metadata.required("name", "NAME", problems);
    let name = name.and_then(|at| Some((read_name(&at, problems)?, at.node.line)));
    let namespace = metadata.non_null("namespace").and_then(|at| at.text(problems));
    let created_ms = metadata.non_null("creationTimestamp").and_then(|at| at.time_ms(problems));
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned);
    let (name, name_line) = name?;
    Some(Metadata { name, name_line, namespace, created_ms })
}
