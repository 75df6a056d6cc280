//! The External Secrets controller, with which the operator is compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use super::{Cluster, Running};
use crate::tools::find_in_cluster;

/// The controller that `tests/cluster/build.sh` builds.
const BUILT: &str = "external-secrets-v0.20";

/// The controllers to compare with: the one that `tests/cluster/build.sh` builds, then those that
/// `SIDEVAULT_ESO_CONTROLLERS` names, with `:` between; `tests/run nightly` names an older release there. Each has its
/// resource definitions beside it, in a directory of its own name with `.crds` behind. `None` if the first
/// one was not built, with a line on standard error; with `CI=true` the test fails.
///
/// Releases differ in their definitions, so a cluster can hold one at a time.
///
/// # Panics
/// If the first is missing and `CI=true`.
pub fn controllers() -> Option<Vec<PathBuf>> {
    let built = find_in_cluster(&[BUILT])?.join(BUILT);
    let named = env::var_os("SIDEVAULT_ESO_CONTROLLERS").unwrap_or_default();
    let named = env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    Some(iter::once(built).chain(named).collect())
}

/// Where a controller's resource definitions are, for [`Cluster::install_definitions`].
pub fn definitions(controller: &Path) -> PathBuf {
    let mut beside = controller.as_os_str().to_owned();
    beside.push(".crds");
    beside.into()
}

impl Cluster {
    /// The command that starts a controller. No webhooks, no certificates: a release's definitions name no conversion, and
    /// its checks on admission are made by a program of its own. It listens on this cluster's address only: on all addresses it
    /// would need ports that a controller beside another cluster has, and end at once.
    ///
    /// # Panics
    /// If the controller can't print its flags.
    pub fn external_secrets(&self, controller: &Path, arguments: &[&str]) -> Command {
        let help = Command::new(controller)
            .arg("--help")
            .output()
            .expect("the controller runs");
        let address = self.address();
        let mut command = Command::new(controller);
        command.args([&format!("--metrics-addr={address}:8080"), "--concurrent=4"]);
        // Of later releases.
        if String::from_utf8_lossy(&help.stdout).contains("--live-addr") {
            command.arg(format!("--live-addr={address}:8082"));
        }
        command.args(arguments);
        command
    }

    /// Starts a controller as administrator.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run_external_secrets(&self, controller: &Path, arguments: &[&str]) -> Running {
        self.run("external-secrets", &mut self.external_secrets(controller, arguments))
    }
}
