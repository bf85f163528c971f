//! Where an engine keeps a block.

/// Where an engine keeps a block, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Residency {
    /// In the accelerator's memory.
    Device,
    /// In host memory.
    Host,
    /// On disk.
    Disk,
}

impl Residency {
    /// All residencies, the fastest first.
    pub const ALL: [Self; 3] = [Self::Device, Self::Host, Self::Disk];
}
