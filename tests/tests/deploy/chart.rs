//! The Helm chart: what it makes of people's values, and what it refuses.

use serde_json::json;
use sidevault_tests::pair::files_below;

use super::{accepted, cluster, deploy, documents, helm, kinds, pods_pass_restricted, rendered, template, values};

#[test]
fn the_chart_is_sound() {
    let chart = deploy("helm/sidevault").display().to_string();
    let Some(output) = helm(&["lint", "--strict", &chart]) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains("WARNING"), "{said}");
}

#[test]
fn whatever_values_people_bring_the_api_server_takes_what_the_chart_makes() {
    let Some(cluster) = cluster() else { return };
    let example = |name: &str| {
        deploy(&format!("helm/sidevault/examples/{name}.yaml"))
            .display()
            .to_string()
    };
    let everything = values("values-all.yaml");
    let own = values("values-1password.yaml");
    let theirs = values("values-external-secrets.yaml");
    let (git, pvc, operator) = (example("git"), example("pvc"), example("operator"));
    let operator_on = "--set=operator.create=true";
    let cases: [(&str, Vec<&str>); 11] = [
        ("nothing set", vec![]),
        ("git", vec!["-f", &git]),
        ("a claim", vec!["-f", &pvc]),
        ("operator", vec!["-f", &operator]),
        ("git and operator", vec!["-f", &git, "-f", &operator]),
        ("1Password's values", vec!["-f", &own]),
        ("External Secrets' values", vec!["-f", &theirs]),
        ("everything", vec!["-f", &everything]),
        ("one namespace", vec![operator_on, "--set=operator.scopedRBAC=true"]),
        ("poke only", vec![operator_on, "--set=operator.pokeOnly=true"]),
        ("operator alone", vec![operator_on, "--set=connect.create=false"]),
    ];
    for (what, arguments) in cases {
        let Some(manifests) = rendered(&arguments) else { return };
        accepted(cluster, what, &manifests);
        // The priority class of the system is for its own namespace.
        pods_pass_restricted(
            cluster,
            what,
            &manifests.replace("priorityClassName: system-cluster-critical", ""),
        );
    }
}

#[test]
fn values_that_would_go_wrong_later_are_refused_with_the_way_out() {
    let cases: [(&[&str], &str); 13] = [
        (&["--set=conect.create=true"], "'conect' not allowed"),
        (&["--set=connect.api.prot=1"], "'prot' not allowed"),
        (&["--set-string=connect.replicas=two"], "/connect/replicas"),
        (
            &["--set=connect.api.logLevel=loud"],
            "must be one of 'trace', 'debug', 'info'",
        ),
        (&["--set=connect.api.httpPort=99999"], "/connect/api/httpPort"),
        (
            &["--set=sources[0].directory.path=relative"],
            "/sources/0/directory/path",
        ),
        (&["--set=sources[0].s3.bucket=b"], "/sources/0"),
        (
            &["--set=sources[0].local.vaults[0]=apps"],
            "connect.dataVolume.claim.create=true",
        ),
        (
            &[
                "--set=sources[0].local.vaults[0]=apps",
                "--set=connect.dataVolume.claim.create=true",
                "--set=connect.hpa.enabled=true",
            ],
            "one writer",
        ),
        (
            &["--set=connect.dataVolume.claim.create=true", "--set=connect.replicas=2"],
            "connect.dataVolume.type=emptyDir",
        ),
        (
            &["--set=connect.api.imageRepository=docker.io/1password/connect-api"],
            "1Password's own image",
        ),
        (
            &["--set=operator.create=true", "--set=operator.replicaCount=2"],
            "operator.leaderElect=true",
        ),
        (
            &["--set=connect.credentials=a", "--set=connect.credentials_base64=YQ=="],
            "give one of them",
        ),
    ];
    for (arguments, reason) in cases {
        let Some(output) = template(arguments) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} is taken");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    let lossy = [
        "--set=sources[0].local.vaults[0]=apps",
        "--set=connect.dataVolume.acknowledgeEphemeral=true",
    ];
    let Some(manifests) = rendered(&lossy) else { return };
    assert!(manifests.contains("allowEphemeral: true"));
}

#[test]
fn the_chart_makes_no_keys() {
    let Some(manifests) = rendered(&["-f", &values("values-all.yaml"), "--set=operator.token.value="]) else {
        return;
    };
    assert!(kinds(&documents(&manifests), "Secret").is_empty());
    for (template, text) in files_below(&deploy("helm/sidevault/templates")) {
        let text = String::from_utf8(text).unwrap();
        let made = [
            "lookup ",
            "genPrivateKey",
            "genCA",
            "genSelfSignedCert",
            "randAlpha",
            "randBytes",
            "uuidv4",
        ];
        assert!(!made.iter().any(|word| text.contains(word)), "{}", template.display());
    }
}

#[test]
fn names_and_labels_are_those_that_existing_manifests_and_commands_select() {
    let Some(manifests) = rendered(&["--set=operator.create=true"]) else {
        return;
    };
    let documents = documents(&manifests);
    let deployments = kinds(&documents, "Deployment");
    let named = |name: &str| {
        let found = deployments.iter().find(|object| object["metadata"]["name"] == name);
        &found.unwrap()["spec"]["template"]
    };
    let pair = named("onepassword-connect");
    assert_eq!(pair["metadata"]["labels"]["app"], "onepassword-connect");
    let containers: Vec<_> = pair["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(containers, ["connect-api", "connect-sync"]);
    let operator = named("external-secrets");
    assert_eq!(
        operator["metadata"]["labels"]["app.kubernetes.io/name"],
        "external-secrets"
    );
    let service = kinds(&documents, "Service")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "onepassword-connect")
        .unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "onepassword-connect"}));
    assert!(
        service["spec"]["ports"]
            .as_array()
            .unwrap()
            .iter()
            .any(|port| port["port"] == 8080)
    );
}
