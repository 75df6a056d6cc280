//! The shell in which commands run as users type them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::Cluster;

/// A shell with the cluster's kubeconfig, with the programs of `tests/cluster/build.sh` and `tests/tools/build.sh` on its PATH, and with
/// a home directory of its own, in which the commands run.
pub struct Shell {
    home: tempfile::TempDir,
    path: String,
    kubeconfig: PathBuf,
    variables: Vec<(String, String)>,
}

impl Shell {
    /// # Panics
    /// If the home directory can't be made.
    pub fn new(cluster: &Cluster) -> Self {
        let path = env::var("PATH").unwrap_or_default();
        let parent = cluster.tools.parent().expect("a directory above").display();
        Self {
            home: tempfile::tempdir().expect("a directory"),
            path: format!("{}:{parent}:{path}", cluster.tools.display()),
            kubeconfig: cluster.kubeconfig(),
            variables: Vec::new(),
        }
    }

    /// Sets a variable for all commands that run later.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command line, ready to run.
    pub fn command(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(self.home())
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home())
            .envs(self.variables.iter().cloned());
        shell
    }

    /// Runs a command line.
    ///
    /// # Panics
    /// If there is no `sh`.
    pub fn output(&self, line: &str) -> Output {
        self.command(line).output().expect("sh runs")
    }

    /// Runs a command line, and returns its standard output.
    ///
    /// # Panics
    /// If the command fails.
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let (printed, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{line}: {errors}{printed}");
        printed.into_owned()
    }
}
