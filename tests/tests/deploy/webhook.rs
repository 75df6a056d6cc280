//! The example for External Secrets' `webhook` provider, with the real controller and the real server.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidevault_tests::cluster::{Cluster, controllers, definitions};
use sidevault_tests::pair::{ServerPair, wait_until};
use sidevault_tests::tools::skipped;

use super::deploy;

#[test]
fn external_secrets_webhook_provider_makes_the_secret_of_the_example() {
    let Some(controllers) = controllers() else { return };
    let vault = deploy("examples/anton/vaults/infrastructure").display().to_string();
    let key = deploy("examples/anton/age-key.txt").display().to_string();
    let pair = ServerPair::start(&["--dir", &vault], &[("SOPS_AGE_KEY_FILE", &key)]);
    let token = pair.token("webhook", &["infrastructure=read"]);

    for controller in controllers {
        let Some(cluster) = Cluster::start() else { return };
        cluster.install_definitions(&definitions(&controller));
        for namespace in ["external-secrets", "database"] {
            cluster.must(&["create", "namespace", namespace]);
        }
        let literal = format!("--from-literal=token={token}");
        cluster.must(&[
            "create",
            "secret",
            "generic",
            "webhook-token",
            "-n",
            "external-secrets",
            &literal,
        ]);
        let label = "external-secrets.io/type=webhook";
        cluster.must(&["label", "secret", "webhook-token", "-n", "external-secrets", label]);
        // Old releases know v1beta1 only.
        let known = cluster.kubectl(&["api-resources", "--api-group=external-secrets.io", "-o", "wide"]);
        let has_v1 = String::from_utf8_lossy(&known.stdout).contains("external-secrets.io/v1 ");
        let version = if has_v1 { "v1" } else { "v1beta1" };
        let recipe = |file: &str| {
            let text = fs::read_to_string(deploy("examples/webhook").join(file)).unwrap();
            let here = format!("http://{}", pair.address());
            text.replace("http://onepassword-connect.external-secrets:8080", &here)
                .replace("external-secrets.io/v1\n", &format!("external-secrets.io/{version}\n"))
        };
        cluster.apply(&recipe("store.yaml"));
        cluster.apply(&recipe("external-secret.yaml"));
        let running = cluster.run_external_secrets(&controller, &[]);

        let unknown = "failed to find registered store backend";
        let path = "/api/v1/namespaces/database/secrets/postgres-webhook";
        let found = wait_until(|| {
            let left_out = running.log().contains(unknown).then_some(None);
            left_out.or_else(|| cluster.get(path).map(Some))
        });
        match found {
            Some(Some(secret)) => {
                let value = |key: &str| STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
                assert_eq!(value("username"), b"anton");
                assert_eq!(value("password"), b"correct-horse-battery");
            }
            Some(None) => {
                skipped(&format!(
                    "{} was built without the webhook provider",
                    controller.display()
                ));
            }
            None => panic!("{}: no Secret\n{}", controller.display(), running.log()),
        }
    }
}
