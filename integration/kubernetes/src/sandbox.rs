//! Gives a test namespaces of its own: network, mounts, processes.
//!
//! The test runs again as the first process of a PID namespace. When that process ends, for whatever reason, the kernel
//! kills all others in the namespace, and with them the network namespaces, links, addresses, rules and mounts go
//! away. So a test can use fixed addresses and ports, and leaves nothing behind, not even when it is killed.
//!
//! Root makes the namespaces directly. Any other user makes them within a user namespace, if the system allows that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use signalbox_integration::{TestDir, target};

/// The environment variable that tells a test that it is in its sandbox: the path of the file that it writes when it
/// passes.
const VARIABLE: &str = "SIGNALBOX_SANDBOX";

/// The namespaces of a sandbox. `unshare` kills its child when it ends itself.
const NAMESPACES: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The namespace that a user needs who is not root.
const AS_USER: [&str; 2] = ["--user", "--map-root-user"];

/// Prepares the sandbox from within. `ip netns` keeps its files in `/run`. Envoy needs many file descriptors.
const PREPARE: &str =
    r#"mount -t tmpfs tmpfs /run && ip link set lo up && ulimit -S -n "$(ulimit -H -n)" && exec "$0" "$@""#;

/// The places of `ip` and `nft`, which not every user has in PATH.
const ADMINISTRATORS: &str = "/usr/sbin:/sbin";

/// Runs `body` in a sandbox. `test` is the full name of the calling test, as `cargo test` prints it: this function
/// starts the test binary again for this one test.
///
/// Sandboxes run one after the other, because each contains a control plane and load.
///
/// # Errors
/// Fails when the namespaces cannot be made, and when `body` fails: then with the ends of all logs.
pub fn sandboxed(test: &str, body: impl AsyncFnOnce(&TestDir) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match std::env::var_os(VARIABLE) {
        Some(passed) => inside(Path::new(&passed), body),
        None => outside(test),
    }
}

fn inside(passed: &Path, body: impl AsyncFnOnce(&TestDir) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(body(&dir)) {
        dir.keep();
        bail!("{error:#}\nlogs are in {}\n{}", dir.path().display(), dir.tails());
    }
    Ok(fs::write(passed, "")?)
}

fn outside(test: &str) -> anyhow::Result<()> {
    let _turn = wait_for_turn()?;
    let dir = TestDir::new()?;
    let passed = dir.path().join("passed");
    let mut command = command(&namespaces()?);
    let names = ["--exact", test, "--nocapture", "--test-threads=1"];
    command.args(["sh", "-c", PREPARE]).arg(std::env::current_exe()?).args(names).env(VARIABLE, &passed);
    let status = if std::env::args().any(|argument| argument == "--nocapture") {
        command.status()?
    } else {
        let output = command.output()?;
        // Through the test harness, which shows it if the test fails.
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status
    };
    ensure!(status.success(), "the test failed in its sandbox: {status}; see above");
    ensure!(passed.exists(), "no test has the name {test}: pass the name that `cargo test -- --list` prints");
    Ok(())
}

/// Waits until no other sandbox of this build directory runs.
fn wait_for_turn() -> anyhow::Result<File> {
    let folder = target()?.join("tmp");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("sandbox.lock"))?;
    lock.lock().context("cannot wait for the other sandboxes")?;
    Ok(lock)
}

/// Returns the flags for the namespaces that this user can make.
fn namespaces() -> anyhow::Result<Vec<&'static str>> {
    let as_user: Vec<&str> = AS_USER.into_iter().chain(NAMESPACES).collect();
    let mut errors = String::new();
    for flags in [NAMESPACES.to_vec(), as_user] {
        let output = command(&flags).arg("true").output().context("setpriv is not installed (util-linux)")?;
        if output.status.success() {
            return Ok(flags);
        }
        errors.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    bail!(
        "this user cannot make namespaces:\n{errors}Run as root, allow user namespaces (sysctl \
         kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or leave these tests out \
         with `cargo xtask test --without kubernetes`."
    )
}

/// Returns a command that runs the program of the arguments that follow in new namespaces, which end with this process.
fn command(namespaces: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]).args(namespaces).arg("--").stdin(Stdio::null());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{ADMINISTRATORS}"));
    command
}

/// Whether a process in this sandbox can become any user: not in the namespace of a user who is not root.
pub(crate) fn can_switch_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace()
        .nth(2)
        .and_then(|count| count.parse().ok())
        .is_some_and(|count: u64| count > 100_000)
}

/// Returns a folder of this sandbox for `ip netns`.
pub(crate) fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}
