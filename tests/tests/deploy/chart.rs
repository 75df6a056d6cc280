//! The Helm chart: the manifests that it renders from values, and the values that it refuses.

use std::fs;

use serde_json::{Value, json};
use sidevault_tests::pair::files_below;

use super::{
    accepted, cluster, deploy, documents, helm, kinds, pods_pass_restricted, rendered, template, template_of, values,
};

#[test]
fn helm_lint_has_no_warnings() {
    let chart = deploy("helm/sidevault").display().to_string();
    let Some(output) = helm(&["lint", "--strict", &chart]) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !report.contains("WARNING"), "{report}");
}

/// Helm logs a line with every command for a symbolic link that leads out of the chart.
#[test]
fn helm_logs_nothing_and_the_packaged_chart_renders_the_same_manifests() {
    let everything = values("values-all.yaml");
    let Some(rendered) = template(&["-f", &everything]) else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&rendered.stderr), "");

    let directory = tempfile::tempdir().unwrap();
    let destination = directory.path().display().to_string();
    let chart = deploy("helm/sidevault").display().to_string();
    let packaged = helm(&["package", &chart, "--destination", &destination]).unwrap();
    assert_eq!(String::from_utf8_lossy(&packaged.stderr), "");
    let archive = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap();
    let archive = archive.path().display().to_string();
    let unpacked = template_of(&archive, &["-f", &everything]).unwrap();
    assert_eq!(
        String::from_utf8(unpacked.stdout).unwrap(),
        String::from_utf8(rendered.stdout).unwrap()
    );
}

#[test]
fn the_api_server_accepts_the_rendered_manifests() {
    let Some(cluster) = cluster() else { return };
    let example = |name: &str| {
        deploy(&format!("helm/sidevault/examples/{name}.yaml"))
            .display()
            .to_string()
    };
    let everything = values("values-all.yaml");
    let own = values("values-1password.yaml");
    let theirs = values("values-external-secrets.yaml");
    let more_own = values("values-1password-more.yaml");
    let more_theirs = values("values-external-secrets-more.yaml");
    let (git, pvc, operator) = (example("git"), example("pvc"), example("operator"));
    let postgres = example("postgres");
    let without_claim = "--set=connect.dataVolume.claim.create=false";
    let operator_on = "--set=operator.create=true";
    let cases: [(&str, Vec<&str>); 15] = [
        ("nothing set", vec![]),
        ("git", vec!["-f", &git]),
        ("a claim", vec!["-f", &pvc]),
        ("PostgreSQL", vec!["-f", &postgres]),
        (
            "everything with PostgreSQL",
            vec!["-f", &everything, "-f", &postgres, without_claim],
        ),
        ("operator", vec!["-f", &operator]),
        ("git and operator", vec!["-f", &git, "-f", &operator]),
        ("1Password's values", vec!["-f", &own]),
        ("External Secrets' values", vec!["-f", &theirs]),
        ("more of 1Password's values", vec!["-f", &own, "-f", &more_own]),
        (
            "more of External Secrets' values",
            vec!["-f", &theirs, "-f", &more_theirs],
        ),
        ("everything", vec!["-f", &everything]),
        ("one namespace", vec![operator_on, "--set=operator.scopedRBAC=true"]),
        ("poke only", vec![operator_on, "--set=operator.pokeOnly=true"]),
        ("operator alone", vec![operator_on, "--set=connect.create=false"]),
    ];
    for (what, arguments) in cases {
        let Some(manifests) = rendered(&arguments) else { return };
        accepted(cluster, what, &manifests);
        // Pods with this priority class may run in kube-system only.
        pods_pass_restricted(
            cluster,
            what,
            &manifests.replace("priorityClassName: system-cluster-critical", ""),
        );
    }
}

#[test]
fn rendering_fails_with_a_hint_for_values_that_could_not_work() {
    let operator = "--set=operator.create=true";
    let cases: [(&[&str], &str); 25] = [
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
            &[
                "--set=store.postgres.existingSecret.name=store",
                "--set=connect.dataVolume.claim.create=true",
            ],
            "leave store.postgres out",
        ),
        (
            &["--set=store.postgres.ca.secretName=authority"],
            "without store.postgres.existingSecret.name",
        ),
        (
            &["--set=store.postgres.url=postgres://user:password@host/database"],
            "'url' not allowed",
        ),
        (
            &["--set=connect.api.imageRepository=mirror.test/1password/connect-api"],
            "your copy of sidevault-api",
        ),
        (&["--set=connect.version=1.8.1"], "leave connect.version out"),
        (
            &[operator, "--set=operator.image.tag=v2.9.0"],
            "leave operator.image.tag out",
        ),
        (
            &[operator, "--set=operator.image.tag=v0.9.11"],
            "leave operator.image.tag out",
        ),
        (
            &[operator, "--set=operator.watchNamespace={a,b}"],
            "not several: a, b.\nInstall the chart once for each",
        ),
        (
            &[operator, "--set=operator.hpa.enabled=true"],
            "raise operator.concurrent",
        ),
        (
            &[operator, "--set=operator.metrics.listen.secure.enabled=true"],
            "plain HTTP only",
        ),
        (
            &[operator, "--set=operator.metrics.listen.auth.enabled=true"],
            "networkPolicy.metricsFrom",
        ),
        (
            &[
                "--set=networkPolicy.enabled=true",
                "--set=connect.api.serviceMonitor.enabled=true",
            ],
            "the policy would keep Prometheus out",
        ),
        (
            &[operator, "--set=operator.replicaCount=2"],
            "operator.leaderElect=true",
        ),
        (
            &["--set=connect.credentials=a", "--set=connect.credentials_base64=YQ=="],
            "give one of them",
        ),
        (
            &[
                "--set=connect.revoked.configMapName=a",
                "--set=connect.revoked.secretName=b",
            ],
            "only one revocation list",
        ),
    ];
    for (arguments, reason) in cases {
        let Some(output) = template(arguments) else { return };
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} is accepted");
        assert!(error.contains(reason), "{arguments:?}: {error}");
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
fn poke_only_makes_an_operator_and_a_server_only_for_sources() {
    let poke = "--set=operator.create=true,operator.pokeOnly=true";
    let made = |more: &[&str]| {
        let manifests = documents(&rendered(&[&[poke][..], more].concat())?);
        let made: Vec<_> = manifests
            .iter()
            .map(|object| {
                let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
                format!("{} {}", kind.as_str().unwrap(), name.as_str().unwrap())
            })
            .collect();
        Some(made)
    };
    let Some(alone) = made(&[]) else { return };
    let expected = [
        "ServiceAccount sidevault-operator",
        "ClusterRole sidevault-operator-controller",
        "ClusterRoleBinding sidevault-operator-controller",
        "Service sidevault-operator-metrics",
        "Deployment sidevault-operator",
    ];
    assert_eq!(alone, expected);
    let git = deploy("helm/sidevault/examples/git.yaml").display().to_string();
    let with_sources = made(&["-f", &git]).unwrap();
    assert!(
        with_sources.contains(&"Deployment onepassword-connect".to_owned()),
        "{with_sources:?}"
    );
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

/// The peers that a NetworkPolicy lets reach a port.
fn let_in(documents: &[Value], policy: &str, port: u16) -> Vec<Value> {
    let policy = kinds(documents, "NetworkPolicy")
        .into_iter()
        .find(|object| object["metadata"]["name"] == policy)
        .unwrap();
    let rules = policy["spec"]["ingress"].as_array().unwrap().iter();
    let rules = rules.filter(|rule| rule["ports"].as_array().unwrap().iter().any(|one| one["port"] == port));
    rules
        .flat_map(|rule| rule["from"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn the_network_policy_admits_the_operator_and_the_listed_peers_only() {
    let theirs = "--set-json=networkPolicy.metricsFrom=[{\"podSelector\": {\"matchLabels\": {\"a\": \"prometheus\"}}}]";
    let base = ["--set=operator.create=true", "--set=networkPolicy.enabled=true", theirs];
    let peer = |namespace: &str| {
        json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "external-secrets"}},
        })
    };
    let test = json!({"podSelector": {"matchLabels": {
        "app.kubernetes.io/instance": "sidevault", "app.kubernetes.io/component": "test"}}});
    let prometheus = || json!({"podSelector": {"matchLabels": {"a": "prometheus"}}});
    let policy = "onepassword-connect-access";

    let Some(manifests) = rendered(&base) else { return };
    let here = peer("external-secrets");
    assert_eq!(
        let_in(&documents(&manifests), policy, 8080),
        [here.clone(), test.clone()]
    );
    assert_eq!(let_in(&documents(&manifests), policy, 8081), [prometheus()]);
    assert!(
        let_in(&documents(&manifests), policy, 11220).is_empty(),
        "the bus is open"
    );

    let watched = rendered(&[&base[..], &["--set=connect.api.serviceMonitor.enabled=true"]].concat()).unwrap();
    assert_eq!(
        let_in(&documents(&watched), policy, 8080),
        [here.clone(), test.clone(), prometheus()]
    );
    let elsewhere = rendered(&[&base[..], &["--set=networkPolicy.externalSecretsNamespace=eso"]].concat()).unwrap();
    assert_eq!(let_in(&documents(&elsewhere), policy, 8080), [here, peer("eso"), test]);
}

#[test]
fn no_object_has_the_name_of_one_of_external_secrets() {
    for more in [
        &[][..],
        &["--set=operator.pokeOnly=true", "--set=operator.leaderElect=true"],
    ] {
        let Some(manifests) = rendered(&[&["--set=operator.create=true"][..], more].concat()) else {
            return;
        };
        let documents = documents(&manifests);
        let wide = documents.iter().filter(|object| {
            let kind = object["kind"].as_str().unwrap();
            kind.starts_with("ClusterRole")
        });
        for object in wide {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(name.starts_with("sidevault-"), "{name}");
        }
        // With pokeOnly External Secrets stays installed, so no object may have the name of one of its objects.
        let beside = !more.is_empty();
        let kept = ["Namespace", "CustomResourceDefinition"];
        for object in documents
            .iter()
            .filter(|object| !kept.iter().any(|kind| object["kind"] == *kind))
        {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(
                !beside || !name.starts_with("external-secrets"),
                "{} {name}",
                object["kind"]
            );
        }
        assert!(!beside || manifests.contains("--leader-election-id=sidevault-operator"));
    }
}

#[test]
fn image_pull_secrets_are_names_or_references() {
    for written in ["[\"registry\"]", "[{\"name\": \"registry\"}]"] {
        let values = [
            "--set=operator.create=true",
            &format!("--set-json=connect.imagePullSecrets={written}"),
            &format!("--set-json=operator.imagePullSecrets={written}"),
        ];
        let Some(manifests) = rendered(&values) else { return };
        let documents = documents(&manifests);
        let deployments = kinds(&documents, "Deployment");
        assert_eq!(deployments.len(), 2);
        for deployment in deployments {
            let named = &deployment["spec"]["template"]["spec"]["imagePullSecrets"];
            assert_eq!(named, &json!([{"name": "registry"}]), "{written}");
        }
        assert_eq!(
            kinds(&documents, "Pod")[0]["spec"]["imagePullSecrets"],
            json!([{"name": "registry"}])
        );
    }
}

#[test]
fn extra_args_keep_values_such_as_false_and_zero() {
    let values = [
        "--set=operator.create=true",
        "--set-json=operator.extraArgs={\"enable-flood-gate\": false, \"concurrent\": 0, \"poke-only\": \"\"}",
    ];
    let Some(manifests) = rendered(&values) else { return };
    for flag in ["- --enable-flood-gate=false\n", "- --concurrent=0\n", "- --poke-only\n"] {
        assert!(manifests.contains(flag), "{flag}");
    }
}

/// Without a claim a new Pod serves before the old one ends. With one the old Pod has to end first, and a pause would only be longer.
#[test]
fn the_api_serves_on_while_a_new_pod_replaces_it_unless_that_waits_for_the_claim() {
    for (more, overlap) in [
        (&[][..], true),
        (&["--set=connect.dataVolume.claim.create=true"][..], false),
    ] {
        let Some(manifests) = rendered(more) else { return };
        let manifests = documents(&manifests);
        let pod = &kinds(&manifests, "Deployment")[0]["spec"]["template"]["spec"];
        let api = &pod["containers"][0];
        assert_eq!(api["name"], "connect-api");
        assert_eq!(api["lifecycle"]["preStop"].is_object(), overlap, "{api}");
        assert_eq!(pod["terminationGracePeriodSeconds"] == 40, overlap, "{pod}");
    }
}
