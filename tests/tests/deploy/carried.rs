//! Values of the original charts: each has an effect here, is refused, or is listed in docs/kubernetes.md, "Values that do
//! nothing".

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;

use serde_json::Value;

use super::{deploy, helm, kinds, template, values};

/// The rendered manifests, or Helm's error.
type Rendered = Result<String, String>;

/// One value of an original chart, and a change of it.
struct Leaf {
    /// The file with the chart's own values.
    file: String,
    path: String,
    /// Values, as `PATH=JSON`, without which the change has no effect.
    with: Vec<String>,
    change: String,
}

impl Leaf {
    fn all() -> Vec<Self> {
        let mut file = String::new();
        let mut leaves = Vec::new();
        for line in fs::read_to_string(values("leaves.txt")).unwrap().lines() {
            match line.strip_prefix("# ") {
                Some(title) if title.starts_with("1Password") => file = values("values-1password.yaml"),
                Some(title) if title.starts_with("External") => file = values("values-external-secrets.yaml"),
                Some(_) => {}
                None if line.is_empty() => {}
                None => {
                    let mut parts = line.split(" | ").map(|part| part.replacen(' ', "=", 1));
                    let change = parts.next().unwrap();
                    leaves.push(Self {
                        file: file.clone(),
                        path: change.split('=').next().unwrap().to_owned(),
                        with: parts.collect(),
                        change,
                    });
                }
            }
        }
        leaves
    }
}

fn render(file: &str, set: &[&String]) -> Rendered {
    let mut arguments = vec!["-f", file];
    for one in set {
        arguments.extend(["--set-json", one]);
    }
    let output = template(&arguments).unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The values that the documentation says do nothing.
fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string(deploy("../docs/kubernetes.md")).unwrap();
    let section = text
        .split("\n## ")
        .find(|part| part.starts_with("Values that do nothing"));
    let rows = section.unwrap().lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

fn below(path: &str, entry: &str) -> bool {
    path.strip_prefix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[test]
fn each_value_of_the_original_charts_has_an_effect_is_refused_or_is_listed() {
    if helm(&["version"]).is_none() {
        return;
    }
    let listed = listed();
    let leaves = Leaf::all();
    let bases: Mutex<BTreeMap<Vec<String>, Rendered>> = Mutex::default();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let judge = |leaf: &Leaf| {
        let key = [&[leaf.file.clone()][..], &leaf.with].concat();
        let known = bases.lock().unwrap().get(&key).cloned();
        let base = known.unwrap_or_else(|| render(&leaf.file, &leaf.with.iter().collect::<Vec<_>>()));
        bases.lock().unwrap().insert(key, base.clone());
        let set: Vec<&String> = leaf.with.iter().chain([&leaf.change]).collect();
        let changed = render(&leaf.file, &set);
        let silent = listed.iter().any(|entry| below(&leaf.path, entry));
        let complaint = match &changed {
            // `fail` in a template says "execution error at"; a mistake in a template does not.
            Err(error) if !error.contains("execution error at") => Some(error.clone()),
            Err(_) if silent => Some("is refused, and listed as doing nothing".to_owned()),
            Ok(_) if silent && changed != base => Some("has an effect, and is listed as doing nothing".to_owned()),
            Ok(_) if !silent && changed == base => Some("has no effect, and is not listed".to_owned()),
            _ => None,
        };
        if let Some(complaint) = complaint {
            wrong.lock().unwrap().push(format!("{}: {complaint}", leaf.change));
        }
    };
    std::thread::scope(|scope| {
        for half in leaves.chunks(leaves.len() / 2 + 1) {
            scope.spawn(|| half.iter().for_each(judge));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused: Vec<_> = listed
        .iter()
        .filter(|entry| !leaves.iter().any(|leaf| below(&leaf.path, entry)))
        .collect();
    assert!(unused.is_empty(), "listed, but no value of theirs: {unused:?}");
}

/// The paths of all values that are not maps.
fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                paths(value, &format!("{path}{dot}{key}"), into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}

#[test]
fn every_value_of_the_original_charts_is_tested_or_listed() {
    let leaves = Leaf::all();
    let listed = listed();
    for file in ["values-1password.yaml", "values-external-secrets.yaml"] {
        let text = fs::read_to_string(values(file)).unwrap();
        let mut all = Vec::new();
        paths(&serde_saphyr::from_str(&text).unwrap(), "", &mut all);
        let missing: Vec<_> = all
            .iter()
            .filter(|path| {
                !leaves
                    .iter()
                    .any(|leaf| below(path, &leaf.path) || below(&leaf.path, path))
            })
            .filter(|path| !listed.iter().any(|entry| below(path, entry)))
            .collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

#[test]
fn values_that_limit_the_operators_rights_have_their_effect() {
    let owned = |more: &[&str]| -> Option<Vec<Value>> {
        let arguments = [&["--set=operator.create=true"][..], more].concat();
        Some(super::documents(&super::rendered(&arguments)?))
    };
    let Some(one) = owned(&["--set=operator.watchNamespace={team-a}"]) else {
        return;
    };
    assert!(kinds(&one, "ClusterRole").is_empty() && kinds(&one, "ClusterRoleBinding").is_empty());
    let role = kinds(&one, "Role")[0];
    assert_eq!(role["metadata"]["namespace"], "team-a");
    let operator = kinds(&one, "Deployment")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "external-secrets")
        .unwrap();
    let arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("--namespace=team-a"), "{arguments}");
    assert!(
        arguments.contains("--enable-cluster-store-reconciler=false"),
        "{arguments}"
    );

    let none = owned(&["--set=operator.clusterRole.create=false"]).unwrap();
    assert!(kinds(&none, "ClusterRole").is_empty());

    let apart = owned(&["--set=operator.rbac.aggregateToAdmin=false"]).unwrap();
    for role in kinds(&apart, "ClusterRole") {
        let label = &role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"];
        assert!(label.is_null(), "{role}");
    }

    let without = owned(&["--set=operator.serviceAccount.create=false"]).unwrap();
    let account = without
        .iter()
        .find(|object| object["kind"] == "ClusterRoleBinding")
        .map(|binding| &binding["subjects"][0]["name"]);
    assert_eq!(
        account.unwrap(),
        "default",
        "the account that exists in every namespace"
    );
}
