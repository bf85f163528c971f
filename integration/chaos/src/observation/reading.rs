//! What is known about a process at one moment.

use anyhow::bail;

use crate::process_id::ProcessId;

/// What is known about a process at one moment. A process that does not respond is neither healthy nor unhealthy:
/// its values are unknown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading<T> {
    /// It does not respond.
    Silent,
    /// It responds, but a value is missing; the text says which one.
    Incomplete(String),
    /// All values.
    Known(T),
}

impl<T> Reading<T> {
    /// Returns a reading of a response, or of a process without one.
    pub(crate) fn new(response: Option<anyhow::Result<T>>) -> Self {
        match response {
            None => Self::Silent,
            Some(Err(error)) => Self::Incomplete(format!("{error:#}")),
            Some(Ok(value)) => Self::Known(value),
        }
    }

    /// Returns the values, if they are known.
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Silent | Self::Incomplete(_) => None,
        }
    }

    /// Returns the values of `id`.
    ///
    /// # Errors
    /// Fails when they are not known.
    pub(crate) fn require(&self, id: ProcessId) -> anyhow::Result<&T> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Silent => bail!("{id} does not respond"),
            Self::Incomplete(why) => bail!("{id}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::Reading;
    use crate::process_id::ProcessId;

    #[test]
    fn only_complete_readings_have_values() {
        let why = |reading: Reading<u8>| reading.require(ProcessId::Etcd).unwrap_err().to_string();
        assert_eq!(Reading::new(Some(Ok(7))).known(), Some(&7));
        assert_eq!(why(Reading::new(None)), "etcd does not respond");
        assert_eq!(why(Reading::new(Some(Err(anyhow!("no metric x"))))), "etcd: no metric x");
    }
}
