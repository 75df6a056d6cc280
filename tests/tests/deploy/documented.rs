//! Runs the commands of README.md, docs/kubernetes.md, docs/upgrade.md and examples/anton as they are printed, on a real API
//! server. No images are built, and the cluster has no nodes: server and operator run as processes, with the arguments, files
//! and rights that the commands have put into the cluster.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::pair::{Process, ServerPair, binary};
use sidevault_tests::sops::Sops;
use sidevault_tests::tools::find_in_cluster;

use super::deploy;

/// The `sh` blocks of a document's section, without their indentation.
pub(super) fn blocks(document: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(deploy("..").join(document)).unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with(section));
    let part = part.unwrap_or_else(|| panic!("{document} has no section {section}"));
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in part.lines() {
        match &mut open {
            None if line.trim_start() == "```sh" => open = Some((line.len() - "```sh".len(), String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take().map(|(_, block)| block)),
            Some((indent, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    blocks
}

/// The commands of a section's `sh` blocks, without those that need Pods.
pub(super) fn commands(document: &str, section: &str) -> String {
    let code = blocks(document, section).concat();
    let pods = ["kubectl rollout status", "kubectl exec", "helm test"];
    code.lines()
        .filter(|line| !pods.iter().any(|command| line.starts_with(command)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A cluster, a home directory, and a PATH with the programs that the commands need.
struct Desk {
    root: tempfile::TempDir,
    cluster: Cluster,
    path: String,
}

impl Desk {
    fn set() -> Option<Self> {
        let tools = find_in_cluster(&["kubectl", "helm"])?;
        let beside = tools.parent()?.to_owned();
        Sops::find()?;
        let cluster = Cluster::start()?;
        let root = tempfile::tempdir().unwrap();
        let programs = root.path().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(binary().canonicalize().unwrap(), programs.join("sidevault")).unwrap();
        // Stand-ins: no image is built.
        for engine in ["docker", "kind"] {
            symlink("/bin/true", programs.join(engine)).unwrap();
        }
        let path = [&programs, &beside, &tools]
            .map(|path| path.display().to_string())
            .join(":");
        Some(Self {
            root,
            cluster,
            path: format!("{path}:{}", env::var("PATH").unwrap()),
        })
    }

    fn bash(&self, directory: &Path, script: &str) -> String {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(directory)
            .env("PATH", &self.path)
            .env("HOME", self.root.path())
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env_remove("SOPS_AGE_KEY_FILE")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{script}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.cluster.get(path).unwrap_or_else(|| panic!("no {path}"))
    }

    /// Starts the server with the sources and keys that the commands put into the cluster. `mounted` is a path of the Pod and
    /// the directory that stands in for it.
    fn server(&self, mounted: (&str, &Path)) -> ServerPair {
        let mut pair = ServerPair::prepare(&[], &[]);
        let home = "/api/v1/namespaces/external-secrets";
        let sources = self.get(&format!("{home}/configmaps/onepassword-connect-sources"));
        let sources = sources["data"]["sources.yaml"].as_str().unwrap();
        assert!(sources.contains(mounted.0), "{sources}");
        let files = [
            (
                "SIDEVAULT_SYNC_CONFIG",
                sources.replace(mounted.0, &mounted.1.display().to_string()),
            ),
            (
                "OP_SESSION",
                self.secret("external-secrets", "op-credentials", "1password-credentials.json"),
            ),
            (
                "SOPS_AGE_KEY_FILE",
                self.secret("external-secrets", "sops-age", "age.agekey"),
            ),
        ];
        for (variable, content) in files {
            let path = pair.path(variable);
            fs::write(&path, content).unwrap();
            pair.set(variable, &path.display().to_string());
        }
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        pair
    }

    fn secret(&self, namespace: &str, name: &str, key: &str) -> String {
        let column = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
        self.cluster
            .must(&["get", "secret", name, "-n", namespace, "-o", &column])
    }

    fn operator(&self) -> Running {
        let deployment = self.get("/apis/apps/v1/namespaces/external-secrets/deployments/external-secrets");
        let pod = &deployment["spec"]["template"]["spec"];
        let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
        let address = self.cluster.address();
        let mut command = Command::new(binary());
        command.arg("operator").args(
            arguments
                .iter()
                .map(|argument| argument.replace("=:", &format!("={address}:"))),
        );
        let account = pod["serviceAccountName"].as_str().unwrap();
        command.env("KUBECONFIG", self.cluster.kubeconfig_for("external-secrets", account));
        self.cluster.run("operator", &mut command)
    }

    /// Runs the commands, with server and operator from the store on, and returns the output of the last part.
    fn go(&self, directory: &Path, way: &str, mounted: (&str, &Path)) -> String {
        let (to_the_release, from_the_store) = way.split_at(way.find("kubectl apply -f -").unwrap());
        self.bash(directory, to_the_release);
        let pair = self.server(mounted);
        let _operator = self.operator();
        // There is no DNS for Services here, so the store gets the server's address.
        let address = format!("http://{}", pair.address());
        let service = "http://onepassword-connect.external-secrets:8080";
        assert!(from_the_store.contains(service));
        self.bash(directory, &from_the_store.replace(service, &address))
    }
}

#[test]
fn the_readmes_commands_lead_to_a_secret() {
    let Some(desk) = Desk::set() else { return };
    let checkout: PathBuf = desk.root.path().join("checkout");
    fs::create_dir(&checkout).unwrap();
    symlink(deploy("").canonicalize().unwrap(), checkout.join("deploy")).unwrap();
    let way = commands("README.md", "Secrets in Kubernetes");
    let shown = desk.go(&checkout, &way, ("/vaults/secrets", &checkout.join("secrets")));
    assert!(shown.contains("correct-horse-battery"), "{shown}");
    let file = fs::read_to_string(checkout.join("secrets/postgres.sops.yaml")).unwrap();
    let stored = desk.get("/api/v1/namespaces/external-secrets/configmaps/vault-secrets");
    assert_eq!(stored["data"]["postgres.sops.yaml"], file);
}

#[test]
fn the_commands_for_git_lead_to_a_secret_a_revocation_list_and_an_upgrade() {
    let Some(desk) = Desk::set() else { return };
    symlink(deploy("..").canonicalize().unwrap(), desk.root.path().join("sidevault")).unwrap();
    let at = |below: &str| desk.root.path().join(below);
    let prepare = "git init -q --bare -b main origin.git && git clone -q origin.git clone && cd clone \
                   && git checkout -q -B main && git config user.email a@example.test && git config user.name A";
    desk.bash(desk.root.path(), prepare);
    let way = commands("docs/kubernetes.md", "From Git to a Secret");
    let fetch = "kubectl apply -f -";
    // Stands in for git-sync.
    let way = way.replacen(
        fetch,
        &format!("git clone -q \"$(git remote get-url origin)\" ../fetched\n{fetch}"),
        1,
    );
    let shown = desk.go(&at("clone"), &way, ("/git/current", &at("fetched")));
    assert!(shown.ends_with("correct-horse-battery"), "{shown}");
    let deployment = desk.get("/apis/apps/v1/namespaces/external-secrets/deployments/onepassword-connect");
    let address = format!("--repo={}", at("origin.git").display());
    assert!(deployment.to_string().contains(&address), "{deployment}");

    let first = commands("docs/kubernetes.md", "From Git to a Secret");
    let is_variable = |line: &&str| line.starts_with("SIDEVAULT=") || line.starts_with("chart=");
    let variables: Vec<&str> = first.lines().filter(is_variable).collect();
    let variables = variables.join("\n");
    let leaked = commands("docs/kubernetes.md", "When a token has leaked");
    desk.bash(&at("clone"), &format!("{variables}\n{leaked}"));
    let upgrade = commands("docs/upgrade.md", "Kubernetes");
    desk.bash(&at("clone"), &format!("{variables}\n{upgrade}\necho $tag > tag"));
    let tag = fs::read_to_string(at("clone/tag")).unwrap();
    let deployment = desk.get("/apis/apps/v1/namespaces/external-secrets/deployments/onepassword-connect");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], format!("sidevault-api:{}", tag.trim()));
    assert!(pod["volumes"].to_string().contains("sidevault-revoked"), "{pod}");
    let list = desk.get("/api/v1/namespaces/external-secrets/configmaps/sidevault-revoked");
    assert!(list["data"]["revoked-tokens"].as_str().unwrap().len() > 20, "{list}");
}

#[test]
fn the_commands_for_postgresql_make_the_secrets_that_the_pods_mount() {
    let Some(desk) = Desk::set() else { return };
    let checkout: PathBuf = desk.root.path().join("checkout");
    fs::create_dir(&checkout).unwrap();
    symlink(deploy("").canonicalize().unwrap(), checkout.join("deploy")).unwrap();
    desk.bash(&checkout, "sidevault init --out keys; echo authority > ca.crt");
    desk.bash(&checkout, &commands("docs/kubernetes.md", "Many Pods with PostgreSQL"));

    let home = "/apis/apps/v1/namespaces/external-secrets";
    for workload in [
        "deployments/onepassword-connect",
        "statefulsets/onepassword-connect-sync",
    ] {
        let workload = desk.get(&format!("{home}/{workload}"));
        let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
        let store = volumes.iter().find(|volume| volume["name"] == "store").unwrap();
        let mounted = |path: &str| {
            let sources = store["projected"]["sources"].as_array().unwrap();
            let mut secrets = sources.iter().map(|source| &source["secret"]);
            let secret = secrets.find(|secret| secret["items"][0]["path"] == path).unwrap();
            let (name, key) = (&secret["name"], &secret["items"][0]["key"]);
            desk.secret("external-secrets", name.as_str().unwrap(), key.as_str().unwrap())
        };
        assert!(mounted("url").starts_with("postgres://sidevault:"), "{store}");
        assert!(
            mounted("url")
                .trim_end()
                .ends_with("sslrootcert=/etc/sidevault-store/ca.crt")
        );
        assert_eq!(mounted("ca.crt").trim(), "authority");
    }
}

#[test]
fn antons_readme_can_be_run_twice_beside_external_secrets_definitions() {
    let Some(controllers) = controllers() else { return };
    let Some(desk) = Desk::set() else { return };
    let checkout: PathBuf = desk.root.path().join("checkout");
    fs::create_dir(&checkout).unwrap();
    symlink(deploy("").canonicalize().unwrap(), checkout.join("deploy")).unwrap();
    desk.cluster.install_definitions(&definitions(&controllers[0]));
    let own_definitions = "kubectl apply -k deploy/crds\n";
    let way = commands("deploy/examples/anton/README.md", "# A whole home cluster");
    assert!(way.contains(own_definitions), "{way}");
    let way = way.replace(own_definitions, "");
    desk.bash(&checkout, &way);
    let listed = desk.bash(&checkout, &way);
    assert!(listed.contains("postgres-credentials"), "{listed}");
    let mode = desk.bash(&checkout, "stat -c %a keys/token");
    assert_eq!(mode.trim(), "600");
}
