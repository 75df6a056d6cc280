//! Compares Sidevault's CustomResourceDefinitions with External Secrets': they have the same fields, types, patterns, defaults,
//! columns and names, but for a short list of intended differences.
//!
//! The definitions of older releases come with the controllers that `tests/cluster/build.sh` builds. v2.9.0 can't be had as a Go
//! module, so `deploy/external-secrets-2.9.0.json` records its definitions, without descriptions. To record them again:
//! `EXTERNAL_SECRETS=<its source> cargo test --test crds -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sidevault_tests::cluster::{controllers, definitions};

const PLURALS: [&str; 5] = [
    "secretstores",
    "clustersecretstores",
    "externalsecrets",
    "clusterexternalsecrets",
    "pushsecrets",
];
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/external-secrets-2.9.0.json");

/// A definition as a map from paths to schemas: `.spec.data[].secretKey` → `{"type":"string",…}`.
type Facts = BTreeMap<String, Value>;

/// The intended differences: a path, and the part of it that differs (`+`: only Sidevault has it).
const INTENDED: [(&str, &str); 6] = [
    // Some manifests spell it connectToken. So neither spelling is required, and a rule demands exactly one of them.
    (".spec.provider.onepassword.auth.secretRef", "required"),
    (".spec.provider.onepassword.auth.secretRef", "x-kubernetes-validations"),
    (".spec.provider.onepassword.auth.secretRef.connectToken", "+"),
    // Some manifests set target.type instead of target.template.type.
    (".spec.target.type", "+"),
    (".spec.externalSecretSpec.target.type", "+"),
    // Providers of v0.9.11 that v2.9.0 no longer has, so that stores of these providers stay valid.
    ("providers", "+"),
];

fn ours(plural: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/helm/sidevault/files/crds/{plural}.yaml"));
    definition(&path)
}

fn definition(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version<'a>(crd: &'a Value, name: &str) -> Option<&'a Value> {
    crd["spec"]["versions"]
        .as_array()?
        .iter()
        .find(|version| version["name"] == name)
}

/// One version of a definition: names, scope, columns, selectable fields, and the schema, flattened.
fn facts(crd: &Value, name: &str) -> Facts {
    let version = version(crd, name).unwrap_or_else(|| panic!("no version {name}"));
    let mut facts = Facts::new();
    facts.insert("names".into(), crd["spec"]["names"].clone());
    facts.insert("group".into(), crd["spec"]["group"].clone());
    facts.insert("scope".into(), crd["spec"]["scope"].clone());
    facts.insert("labels".into(), crd["metadata"]["labels"].clone());
    facts.insert("columns".into(), version["additionalPrinterColumns"].clone());
    facts.insert("subresources".into(), version["subresources"].clone());
    facts.insert("selectable".into(), version["selectableFields"].clone());
    flatten(&version["schema"]["openAPIV3Schema"], String::new(), &mut facts);
    facts
}

/// Adds an entry for each field. Descriptions are left out. Of the providers other than onepassword only the names are kept.
fn flatten(schema: &Value, path: String, facts: &mut Facts) {
    let mut keywords = Map::new();
    for (key, value) in schema.as_object().unwrap() {
        match (key.as_str(), value) {
            ("description", Value::String(_)) => {}
            ("properties", Value::Object(fields)) if path == ".spec.provider" => {
                facts.insert("providers".into(), json!(fields.keys().collect::<BTreeSet<_>>()));
                flatten(&fields["onepassword"], format!("{path}.onepassword"), facts);
            }
            ("properties", Value::Object(fields)) => {
                for (name, field) in fields {
                    flatten(field, format!("{path}.{name}"), facts);
                }
            }
            ("items", Value::Object(_)) => flatten(value, format!("{path}[]"), facts),
            ("additionalProperties", Value::Object(_)) => flatten(value, format!("{path}{{}}"), facts),
            _ => {
                keywords.insert(key.clone(), value.clone());
            }
        }
    }
    facts.insert(path, Value::Object(keywords));
}

/// Where two definitions differ: the path, and the part of it (`+`: only the left has it, `-`: only the right has it).
fn differences(left: &Facts, right: &Facts) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (place, mine) in left {
        match (mine, right.get(place)) {
            (_, None) => {
                found.insert((place.clone(), "+".to_owned()));
            }
            (Value::Object(mine), Some(Value::Object(theirs))) => {
                let keys = mine.keys().chain(theirs.keys());
                found.extend(
                    keys.filter(|key| mine.get(*key) != theirs.get(*key))
                        .map(|key| (place.clone(), key.clone())),
                );
            }
            (Value::Array(mine), Some(Value::Array(theirs))) if place == "providers" => {
                if mine.iter().any(|name| !theirs.contains(name)) {
                    found.insert((place.clone(), "+".to_owned()));
                }
                if theirs.iter().any(|name| !mine.contains(name)) {
                    found.insert((place.clone(), "-".to_owned()));
                }
            }
            (mine, Some(theirs)) if mine != theirs => {
                found.insert((place.clone(), "value".to_owned()));
            }
            _ => {}
        }
    }
    let missing = right.keys().filter(|place| !left.contains_key(*place));
    found.extend(missing.map(|place| (place.clone(), "-".to_owned())));
    found
}

fn is_intended((place, part): &(String, String)) -> bool {
    INTENDED
        .iter()
        .any(|(path, what)| part == what && (place == path || (*what == "+" && place.starts_with(&format!("{path}.")))))
}

fn storage_version(plural: &str) -> &'static str {
    if plural == "pushsecrets" { "v1alpha1" } else { "v1" }
}

fn recorded() -> BTreeMap<String, Facts> {
    serde_json::from_str(&std::fs::read_to_string(RECORDED).unwrap()).unwrap()
}

/// An older release's definition.
fn older(controller: &Path, plural: &str) -> Value {
    definition(&definitions(controller).join(format!("external-secrets.io_{plural}.yaml")))
}

#[test]
fn every_field_is_the_same_as_in_external_secrets_2_9_0() {
    let recorded = recorded();
    for plural in PLURALS {
        let ours = facts(&ours(plural), storage_version(plural));
        let found: Vec<_> = differences(&ours, &recorded[plural])
            .into_iter()
            .filter(|difference| !is_intended(difference))
            .collect();
        assert!(found.is_empty(), "{plural}: {found:#?}");
    }
}

#[test]
fn every_intended_difference_exists() {
    let recorded = recorded();
    let found: BTreeSet<_> = PLURALS
        .iter()
        .flat_map(|plural| differences(&facts(&ours(plural), storage_version(plural)), &recorded[*plural]))
        .collect();
    for (place, part) in INTENDED {
        assert!(
            found.contains(&(place.to_owned(), part.to_owned())),
            "no longer so: {place} {part}"
        );
    }
}

#[test]
fn an_older_release_differs_only_where_2_9_0_differs_from_it() {
    let Some(controllers) = controllers() else { return };
    let recorded = recorded();
    for plural in PLURALS {
        let old = facts(&older(&controllers[0], plural), storage_version(plural));
        let theirs = differences(&recorded[plural], &old);
        let found: Vec<_> = differences(&facts(&ours(plural), storage_version(plural)), &old)
            .into_iter()
            .filter(|difference| !theirs.contains(difference) && !is_intended(difference))
            .collect();
        assert!(found.is_empty(), "{plural}: {found:#?}");
    }
}

#[test]
fn manifests_for_older_releases_are_still_valid() {
    let Some(controllers) = controllers() else { return };
    for (controller, plural) in controllers
        .iter()
        .flat_map(|controller| PLURALS.map(|plural| (controller, plural)))
    {
        let release = controller.display();
        let old = older(controller, plural);
        let versions = old["spec"]["versions"].as_array().unwrap().iter();
        for version in versions.filter(|version| version["served"] == true && version["deprecated"] != true) {
            let name = version["name"].as_str().unwrap();
            let (old, new) = (facts(&old, name), facts(&ours(plural), name));
            for (place, before) in &old {
                let now = new
                    .get(place)
                    .unwrap_or_else(|| panic!("{release}: {plural} {name}: {place} is gone"));
                let values = |keywords: &Value| keywords["enum"].as_array().cloned().unwrap_or_default();
                let (was, is) = (values(before), values(now));
                // v2.9.0 has dropped template engine v1, too.
                let is_gone = |value: &Value| place.ends_with(".engineVersion") && value == "v1";
                let is_kept = |value: &Value| is.contains(value) || is_gone(value);
                let kept = is.is_empty() || was.iter().all(is_kept);
                assert!(kept, "{release}: {plural} {name}: {place} takes {is:?}, took {was:?}");
            }
        }
    }
}

#[test]
fn v1_and_v1beta1_are_served_with_the_same_schema() {
    for plural in PLURALS.into_iter().filter(|plural| *plural != "pushsecrets") {
        let crd = ours(plural);
        let found = differences(&facts(&crd, "v1"), &facts(&crd, "v1beta1"));
        assert!(found.is_empty(), "{plural}: {found:#?}");
        assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
        for (name, stored) in [("v1", true), ("v1beta1", false)] {
            let version = version(&crd, name).unwrap();
            assert_eq!(version["served"], true, "{plural} {name}");
            assert_eq!(version["storage"], stored, "{plural} {name}");
        }
    }
}

#[test]
fn stores_of_other_providers_keep_all_fields() {
    for plural in ["secretstores", "clustersecretstores"] {
        let crd = ours(plural);
        let provider = version(&crd, "v1")
            .unwrap()
            .pointer("/schema/openAPIV3Schema/properties/spec/properties/provider")
            .unwrap()
            .clone();
        assert_eq!(
            (&provider["minProperties"], &provider["maxProperties"]),
            (&json!(1), &json!(1))
        );
        for (name, schema) in provider["properties"].as_object().unwrap() {
            if name != "onepassword" {
                let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                assert_eq!(*schema, open, "{name}");
            }
        }
    }
}

#[test]
fn each_definition_fits_the_annotation_of_kubectl_apply() {
    for plural in PLURALS {
        let size = ours(plural).to_string().len();
        assert!(
            size < 64 * 1024,
            "{plural}: {size} bytes of the 256 KiB that annotations may have"
        );
    }
}

#[test]
#[ignore = "records v2.9.0 anew, from the source that EXTERNAL_SECRETS names"]
fn record() {
    let source = PathBuf::from(std::env::var_os("EXTERNAL_SECRETS").expect("EXTERNAL_SECRETS"));
    let mut lines = Vec::new();
    for plural in PLURALS {
        let crd = definition(&source.join(format!("config/crds/bases/external-secrets.io_{plural}.yaml")));
        let facts = facts(&crd, storage_version(plural));
        let facts: Vec<_> = facts
            .iter()
            .map(|(place, keywords)| format!("{}: {keywords}", json!(place)))
            .collect();
        lines.push(format!("{}: {{\n{}\n}}", json!(plural), facts.join(",\n")));
    }
    std::fs::write(RECORDED, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
}
