//! Versity's S3 gateway, a server with S3's API, as `tests/tools/build.sh` builds it. Its objects are files of this machine.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::pair::{ServerPair, free_port, wait_until};
use crate::tools;
use crate::wire::{Request, exchange};

/// The key of the server's only client.
pub const ACCESS_KEY: &str = "TESTACCESSKEY";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "test-secret-key-3f9a";

/// An S3 server with the bucket `bucket`. Dropping the value stops it.
pub struct S3 {
    home: tempfile::TempDir,
    program: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl S3 {
    /// Starts a server. `None` if the program was not built, with a line on standard error; with `CI=true` the test fails.
    ///
    /// # Panics
    /// If it is missing and `CI=true`, or does not start.
    pub fn start() -> Option<Self> {
        let tools = tools::find(&["versitygw"])?;
        let home = tempfile::tempdir().expect("a directory");
        for directory in ["objects/bucket", "attributes"] {
            fs::create_dir_all(home.path().join(directory)).expect("a directory");
        }
        let mut server = Self {
            home,
            program: tools.join("versitygw"),
            port: free_port(),
            child: None,
        };
        server.run();
        Some(server)
    }

    /// Starts the server again that was stopped, with the same objects and at the same address.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run(&mut self) {
        let home = self.home.path();
        let log = File::create(home.join("log")).expect("a log file");
        let path = |name: &str| home.join(name).to_string_lossy().into_owned();
        let child = Command::new(&self.program)
            .args([
                "--access",
                ACCESS_KEY,
                "--secret",
                SECRET_KEY,
                "--port",
                &format!("127.0.0.1:{}", self.port),
            ])
            .args(["posix", "--sidecar", &path("attributes"), &path("objects")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("versitygw runs");
        self.child = Some(child);
        let up = wait_until(|| exchange(self.address(), &Request::new("GET", "/").bytes()).ok());
        let log = || fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        assert!(up.is_some(), "versitygw does not start: {}", log());
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Sets the variables of a client of the server at this address: the server, or a proxy in front of it.
    pub fn set(&self, pair: &mut ServerPair, address: SocketAddr) {
        pair.set("AWS_ACCESS_KEY_ID", ACCESS_KEY);
        pair.set("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        pair.set("AWS_REGION", "us-east-1");
        pair.set("AWS_ENDPOINT_URL", &format!("http://{address}"));
    }

    /// The file of an object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.home.path().join("objects/bucket").join(key)
    }

    /// The directories of uploads that were begun and neither completed nor aborted.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        let of = |directory: PathBuf| {
            fs::read_dir(directory)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        of(self.object(".sgwtmp/multipart"))
            .flat_map(of)
            .filter(|path| path.is_dir())
            .collect()
    }

    /// Stops the server.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail if the process has ended by itself, which is as good.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}
