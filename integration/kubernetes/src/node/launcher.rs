//! Starts the commands of a container: in the pod's network namespace, with a file system of its own.
//!
//! The file system contains the programs and libraries of this machine, the files of the image in `/usr/local`, a
//! small `/etc`, and the volumes. It is read-only if the container asks for that, and the command runs as the
//! container's user if this sandbox can switch users. Capabilities, seccomp profiles, limits and network policies are not
//! enforced.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::node::images::Image;
use crate::node::pod_spec::{ContainerSpec, PodSpec};
use crate::node::volumes;
use crate::sandbox::{can_switch_users, namespace_file};

const SCRIPT: &str = include_str!("container.sh");

/// Everything that is needed to start commands in one container.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    namespace: PathBuf,
    /// The folder with the files of the container.
    folder: PathBuf,
    log: PathBuf,
    access: &'static str,
    user: String,
    working_folder: String,
    variables: BTreeMap<String, String>,
    command: Vec<String>,
}

impl Launcher {
    /// Prepares a container of the pod whose files are in `pod_folder`.
    pub(crate) fn prepare(
        (pod, container, image): (&PodSpec, &ContainerSpec, &Image),
        (pod_folder, namespace): (&Path, &str),
        log: PathBuf,
        (variables, command): (BTreeMap<String, String>, Vec<String>),
    ) -> anyhow::Result<Self> {
        let folder = pod_folder.join(&container.name);
        fs::create_dir_all(folder.join("root"))?;
        fs::write(folder.join("container.sh"), SCRIPT)?;
        let access = if container.has_read_only_root { "ro" } else { "rw" };
        let id = container.user.unwrap_or(image.user);
        let user =
            if can_switch_users() { format!("{id}:{}", pod.group.unwrap_or(id)) } else { "-".to_owned() };
        fs::write(folder.join("mounts"), mounts(container, image, pod_folder, access)?)?;
        let working_folder = container.folder.clone().unwrap_or_else(|| "/".to_owned());
        let namespace = namespace_file(namespace);
        Ok(Self { namespace, folder, log, access, user, working_folder, variables, command })
    }

    /// Starts the container's own command. Its output is appended to the log.
    pub(crate) fn start(&self) -> anyhow::Result<Child> {
        self.run(&self.command)
    }

    /// Starts another command in the container.
    pub(crate) fn run(&self, words: &[String]) -> anyhow::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut namespace = std::ffi::OsString::from("--net=");
        namespace.push(&self.namespace);
        let mut command = Command::new("nsenter");
        command.arg(namespace).args(["unshare", "--mount", "--propagation", "private", "sh"]);
        command.args(["container.sh", "root", "mounts"].map(|name| self.folder.join(name)));
        command.args([self.access, &self.user, &self.working_folder]);
        command.args(self.variables.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(words).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start nsenter")
    }
}

/// Returns the lines of the file with mounts. Parents come before their children.
fn mounts(
    container: &ContainerSpec,
    image: &Image,
    pod_folder: &Path,
    access: &str,
) -> anyhow::Result<String> {
    let mut mounts: Vec<(PathBuf, String, &str)> = vec![(pod_folder.join("etc"), "/etc".to_owned(), access)];
    for (file, target) in &image.files {
        mounts.push((fs::canonicalize(file)?, target.clone(), "ro"));
    }
    for mount in &container.mounts {
        let source = volumes::path(pod_folder, &mount.volume).join(&mount.part);
        anyhow::ensure!(
            source.exists(),
            "container {} mounts {}, which does not exist",
            container.name,
            mount.volume
        );
        let access = if mount.is_read_only { "ro" } else { "rw" };
        mounts.push((source, mount.path.trim_end_matches('/').to_owned(), access));
    }
    // A mount point must exist before what it is in becomes read-only.
    for (source, target, _) in &mounts {
        let Some(below) = target.strip_prefix("/etc/") else { continue };
        let place = pod_folder.join("etc").join(below);
        if source.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            fs::create_dir_all(place.parent().context("a file without a folder")?)?;
            fs::OpenOptions::new().create(true).append(true).open(&place)?;
        }
    }
    mounts.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    Ok(mounts
        .iter()
        .map(|(source, target, access)| format!("{}\t{target}\t{access}\n", source.display()))
        .collect())
}

/// Writes the files of a pod's `/etc`. Names are resolved by the DNS server at the second address.
pub(crate) fn write_etc(pod: &PodSpec, etc: &Path, (own, resolver): (IpAddr, IpAddr)) -> anyhow::Result<()> {
    fs::create_dir_all(etc)?;
    let domain = format!("{}.svc.cluster.local svc.cluster.local cluster.local", pod.namespace);
    let files = [
        (
            "passwd",
            "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
        ),
        ("group", "root:x:0:\nnonroot:x:65532:\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("hosts", &format!("127.0.0.1 localhost\n{own} {}\n", pod.name)),
        ("hostname", &format!("{}\n", pod.name)),
        ("resolv.conf", &format!("nameserver {resolver}\nsearch {domain}\noptions ndots:5\n")),
    ];
    for (name, content) in files {
        fs::write(etc.join(name), content)?;
    }
    // Where programs look for shared libraries and for authorities.
    for name in ["ld.so.cache", "ssl/certs/ca-certificates.crt"] {
        let (source, target) = (Path::new("/etc").join(name), etc.join(name));
        if source.is_file() {
            fs::create_dir_all(target.parent().context("a file without a folder")?)?;
            fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
