//! Pebble, Let's Encrypt's ACME server for tests, with its DNS server, as `tests/tools/build.sh` builds them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::authority::Authority;
use crate::https::Https;
use crate::pair::{free_port, wait_until};
use crate::tools;
use crate::wire::{Request, exchange};

/// An ACME server. Dropping the value stops it.
pub struct Pebble {
    home: tempfile::TempDir,
    authority: Authority,
    port: u16,
    management: u16,
    names: u16,
    children: Vec<Child>,
}

impl Pebble {
    /// Starts an ACME server that validates every name at port `validated` of this machine.
    /// `None` if the programs were not built, with a line on standard error; with `CI=true` the test fails.
    ///
    /// # Panics
    /// If they are missing and `CI=true`, or do not start.
    pub fn start(validated: u16) -> Option<Self> {
        let tools = tools::find(&["pebble", "pebble-challtestsrv"])?;
        let home = tempfile::tempdir().expect("a directory");
        let (authority, port, management, names, dns) =
            (Authority::new(), free_port(), free_port(), free_port(), free_port());
        let own = authority.issue("localhost");
        let path = |name| home.path().join(name);
        fs::write(path("root.pem"), authority.root()).expect("written");
        fs::write(path("chain.pem"), own.chain).expect("written");
        fs::write(path("key.pem"), own.key).expect("written");
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("chain.pem"),
            "privateKey": path("key.pem"),
            "httpPort": 1,
            "tlsPort": validated,
            "keyAlgorithm": "ecdsa",
            "retryAfter": {"authz": 1, "order": 1},
        }});
        fs::write(path("config.json"), config.to_string()).expect("written");
        let mut pebble = Self {
            authority,
            port,
            management,
            names,
            children: Vec::new(),
            home,
        };
        let dns = format!("127.0.0.1:{dns}");
        pebble.run(
            Command::new(tools.join("pebble-challtestsrv"))
                .args(["-dnsserver", &dns, "-management", &format!("127.0.0.1:{names}")])
                .args([
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                    "-doh",
                    "",
                    "-defaultIPv6",
                    "",
                ]),
        );
        pebble.run(
            Command::new(tools.join("pebble"))
                .arg("-config")
                .arg(pebble.path("config.json"))
                .args(["-strict", "-dnsserver", &dns])
                .env("PEBBLE_VA_NOSLEEP", "1")
                // Each order is validated, and chains have more than one intermediate.
                .env("PEBBLE_AUTHZREUSE", "0")
                .env("PEBBLE_CHAIN_LENGTH", "2"),
        );
        let up = wait_until(|| {
            let asked = pebble.https(pebble.port).get(&[], "", "/dir").ok()?;
            let names = exchange(([127, 0, 0, 1], pebble.names).into(), &Request::new("GET", "/").bytes());
            (asked.status == 200 && names.is_ok()).then_some(())
        });
        assert!(up.is_some(), "Pebble does not start: {}", pebble.log());
        Some(pebble)
    }

    fn run(&mut self, command: &mut Command) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        self.children.push(command.spawn().expect("Pebble runs"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn https(&self, port: u16) -> Https {
        Https::new("localhost", port, self.authority.root())
    }

    /// The value for SIDEVAULT_ACME_DIRECTORY.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The value for SIDEVAULT_ACME_CA_FILE.
    pub fn authority_file(&self) -> String {
        self.path("root.pem").to_string_lossy().into_owned()
    }

    /// The root of the certificates that it issues, PEM.
    ///
    /// # Panics
    /// If Pebble does not answer.
    pub fn root(&self) -> String {
        let root = self.https(self.management).get(&[], "", "/roots/0").expect("an answer");
        root.text
    }

    /// How many orders Pebble has received.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }

    /// Makes every name resolve to this machine, or to nothing.
    ///
    /// # Panics
    /// If the DNS server refuses.
    pub fn lead_names_here(&self, here: bool) {
        let ip = if here { "127.0.0.1" } else { "" };
        let request = Request::new("POST", "/set-default-ipv4").body(json!({"ip": ip}).to_string());
        let reply = exchange(([127, 0, 0, 1], self.names).into(), &request.bytes()).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Sets the renewal window of a certificate to a time in the past (RFC 9773).
    ///
    /// # Panics
    /// If Pebble does not know the certificate (PEM).
    pub fn want_renewed(&self, certificate: &str) {
        let window = json!({"suggestedWindow": {"start": "2001-01-01T00:00:00Z", "end": "2001-01-02T00:00:00Z"}});
        let wish = json!({"certificate": certificate, "ariResponse": window.to_string()});
        let answer = self
            .https(self.management)
            .post("/set-renewal-info/", &wish)
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Pebble's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Both fail if the process has ended by itself, which is as good.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
