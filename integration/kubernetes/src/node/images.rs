//! Which programs of this machine stand in for which container images.

use std::path::PathBuf;

use anyhow::Context;
use signalbox_integration::{built_binary, envoy_binary};

use crate::tools::tool;

/// The programs of the image `signalbox`. Each is in `/usr/local/bin`, as in the Dockerfile.
const SIGNALBOX: [&str; 4] =
    ["signalbox-aggregator", "signalbox-collector", "signalbox-epp", "signalbox-modelsim"];

/// The user of the distroless images.
const NONROOT: u32 = 65_532;

/// What a container image contains, besides the system's programs and libraries.
#[derive(Clone, Debug)]
pub struct Image {
    /// The last part of the image's name, without tag: `signalbox` in `registry.example/team/signalbox:1.0`.
    pub name: String,
    /// The files on this machine, and their paths in the container.
    pub files: Vec<(PathBuf, String)>,
    /// The command that runs if the container has none; a container's arguments follow it.
    pub entrypoint: Vec<String>,
    /// The user that runs it, unless the pod names one.
    pub user: u32,
}

/// Returns the images of Signalbox's programs, with `modelsim` as one more of its own, of Envoy, of KEDA, and a `shell`
/// with kubectl.
///
/// # Errors
/// Fails when a program is not built or downloaded.
pub fn signalbox_images() -> anyhow::Result<Vec<Image>> {
    let files = SIGNALBOX.map(|name| Ok((built_binary(name)?, format!("/usr/local/bin/{name}"))));
    let files = files.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let signalbox = Image { name: "signalbox".to_owned(), files, entrypoint: Vec::new(), user: NONROOT };
    let entrypoint = vec!["signalbox-modelsim".to_owned()];
    let modelsim = Image { name: "modelsim".to_owned(), entrypoint, ..signalbox.clone() };
    let program = "/usr/local/bin/envoy".to_owned();
    let envoy = Image {
        name: "envoy".to_owned(),
        files: vec![(envoy_binary()?, program.clone())],
        entrypoint: vec![program],
        user: NONROOT,
    };
    let keda = |name: &str, program: &str| {
        // KEDA's manifests name the programs by these paths, at the root.
        let files = vec![(tool("keda")?.join(program), format!("/{program}"))];
        anyhow::Ok(Image { name: name.to_owned(), files, entrypoint: Vec::new(), user: NONROOT })
    };
    let kubectl = (tool("kubectl")?, "/usr/local/bin/kubectl".to_owned());
    let shell = Image {
        name: "shell".to_owned(),
        files: vec![kubectl],
        entrypoint: vec!["sh".to_owned()],
        user: NONROOT,
    };
    let (operator, adapter) = (keda("keda", "keda")?, keda("keda-metrics-apiserver", "keda-adapter")?);
    Ok(vec![signalbox, modelsim, envoy, shell, operator, adapter])
}

/// Returns the image for a reference such as `registry.example/team/signalbox:1.0@sha256:…`.
pub(crate) fn find<'a>(images: &'a [Image], reference: &str) -> anyhow::Result<&'a Image> {
    let name = reference.split('@').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default();
    images.iter().find(|image| image.name == name).with_context(|| {
        let known: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        format!("there is no program for the image {reference}; there are images named {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::{Image, find};

    #[test]
    fn images_are_found_by_the_last_part_of_their_name() {
        let image =
            |name: &str| Image { name: name.to_owned(), files: Vec::new(), entrypoint: Vec::new(), user: 0 };
        let images = [image("signalbox"), image("envoy")];
        for reference in ["envoy", "docker.io/envoyproxy/envoy:v1.40", "localhost:5000/envoy@sha256:12"] {
            assert_eq!(find(&images, reference).unwrap().name, "envoy");
        }
        let error = find(&images, "nginx:1").unwrap_err().to_string();
        assert!(error.contains("nginx:1") && error.contains("signalbox, envoy"), "{error}");
    }
}
