//! Templates of a Secret: `spec.target.template`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use sidevault_template as engine;

use crate::types::{DecodingStrategy, Template, TemplateFrom, TemplateRef, TemplateScope};
use crate::values::{Values, decode};

/// How many bytes of a literal template's text an error shows in place of a name.
const LONGEST_NAME: usize = 200;

/// Why a template could not be rendered. The text may quote the template, and never a value. If the template is a key
/// of a Secret, the text does not quote the template either.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(pub(crate) String);

/// The contents of the ConfigMaps and Secrets that `templateFrom` names, by the name of the object, and the delimiters
/// that all templates use.
#[derive(Default)]
pub(crate) struct TemplateTexts {
    /// The left and right delimiter of template actions; an empty one stands for `{{` or `}}`.
    pub(crate) delimiters: (String, String),
    /// Texts by ConfigMap and key.
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Texts by Secret and key.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// The part of the Secret that a template fills.
#[derive(Clone, Copy)]
enum Part {
    Data,
    Labels,
    Annotations,
}

/// Renders the templates into the data, labels and annotations of `secret`. `templateFrom` is rendered first, so that a
/// key of `data` replaces the same key of `templateFrom`. Templates see `now` as the current time.
///
/// Blocks for up to [`MAX_TIME`](engine::limits::MAX_TIME).
///
/// # Errors
/// The first template that fails; `secret` is then filled in part.
pub(crate) fn fill(
    template: &Template,
    texts: &TemplateTexts,
    values: &Values,
    now: SystemTime,
    secret: &mut Secret,
) -> Result<(), TemplateError> {
    let mut filler = Filler {
        delimiters: &texts.delimiters,
        budget: engine::Budget::default(),
        now,
        values: values
            .iter()
            .map(|(key, value)| (key.clone(), engine::Value::from(value.clone())))
            .collect(),
        secret,
    };
    filler.fill(template, texts)
}

struct Filler<'a> {
    delimiters: &'a (String, String),
    /// Shared by all templates of the Secret.
    budget: engine::Budget,
    now: SystemTime,
    values: engine::Values,
    secret: &'a mut Secret,
}

impl Filler<'_> {
    fn fill(&mut self, template: &Template, texts: &TemplateTexts) -> Result<(), TemplateError> {
        for from in &template.template_from {
            self.from(from, texts)
                .map_err(|error| TemplateError(format!("error fetching templateFrom data: {error}")))?;
        }
        let metadata = &template.metadata;
        let parts = [
            (&template.data, Part::Data),
            (&metadata.labels, Part::Labels),
            (&metadata.annotations, Part::Annotations),
        ];
        for (templates, part) in parts {
            for (key, text) in templates {
                self.value(key, text, part, DecodingStrategy::None)
                    // External Secrets wraps the error twice: for the map and for the template.
                    .map_err(|error| {
                        TemplateError(format!(
                            "could not execute template: could not execute template: {error}"
                        ))
                    })?;
            }
        }
        Ok(())
    }

    fn from(&mut self, from: &TemplateFrom, texts: &TemplateTexts) -> Result<(), TemplateError> {
        let (part, strategy) = (part(&from.target)?, from.values_decoding_strategy);
        if let Some(reference) = &from.config_map {
            let data = texts.config_maps.get(&reference.name);
            let texts = |key: &str| data.and_then(|data| data.get(key)).cloned();
            self.items(reference, "configmap", texts, part, strategy)?;
        }
        if let Some(reference) = &from.secret {
            let data = texts.secrets.get(&reference.name);
            let texts = |key: &str| {
                let value = data.and_then(|data| data.get(key))?;
                Some(String::from_utf8_lossy(value).into_owned())
            };
            self.items(reference, "secret", texts, part, strategy)?;
        }
        match &from.literal {
            Some(text) => self.mapping(text, part, strategy),
            None => Ok(()),
        }
    }

    fn items(
        &mut self,
        reference: &TemplateRef,
        kind: &str,
        text: impl Fn(&str) -> Option<String>,
        part: Part,
        strategy: DecodingStrategy,
    ) -> Result<(), TemplateError> {
        for item in &reference.items {
            let (name, key) = (&reference.name, &item.key);
            let text = text(key).ok_or_else(|| TemplateError(format!("error in {kind} {name}: missing key {key}")))?;
            let filled = match item.template_as {
                TemplateScope::Values => self.value(key, &text, part, strategy),
                TemplateScope::KeysAndValues => self.mapping(&text, part, strategy),
            };
            filled.map_err(|error| match kind {
                // A user who may read events may not be allowed to read the Secret.
                "secret" => TemplateError(format!(
                    "error in secret {name}: the template at key {key} fails; the reason is not shown, because it would \
                     quote the Secret (to see the reason, put the template into a ConfigMap)"
                )),
                _ => error,
            })?;
        }
        Ok(())
    }

    /// Renders a template whose output is one value.
    fn value(&mut self, key: &str, text: &str, part: Part, strategy: DecodingStrategy) -> Result<(), TemplateError> {
        let value = decode::decode(strategy, self.render(key, text)?).map_err(|error| {
            TemplateError(format!(
                "failed to decode rendered template value for key {key}: {error}"
            ))
        })?;
        self.put(key, value, part);
        Ok(())
    }

    /// Renders a template whose output is a YAML mapping of keys to values. No error names a key, because keys are
    /// rendered too and may hold values.
    fn mapping(&mut self, text: &str, part: Part, strategy: DecodingStrategy) -> Result<(), TemplateError> {
        let refuse = |why: String| TemplateError(format!("could not unmarshal template to 'map[string][]byte': {why}"));
        // External Secrets names such a template by its whole text, which may be 1 MiB long.
        let name = &text[..text.floor_char_boundary(LONGEST_NAME)];
        let yaml = self.render(name, text)?;
        let yaml = String::from_utf8(yaml).map_err(|_| refuse("the output is not UTF-8".to_owned()))?;
        let mapping = engine::yaml_string_map(&yaml).map_err(|error| refuse(error.to_string()))?;
        for (index, (key, value)) in mapping.into_iter().enumerate() {
            let value = decode::decode(strategy, value.into_bytes()).map_err(|error| {
                TemplateError(format!(
                    "failed to decode rendered template value {} of the mapping: {error}",
                    index + 1
                ))
            })?;
            self.put(&key, value, part);
        }
        Ok(())
    }

    fn render(&mut self, key: &str, text: &str) -> Result<Vec<u8>, TemplateError> {
        // The words around the engine's error are External Secrets'.
        let failed = |what: &str, error: engine::TemplateError| {
            TemplateError(format!(
                "unable to execute template at key {key}: unable to {what} template at key {key}: {error}"
            ))
        };
        let (left, right) = self.delimiters;
        let template =
            engine::Template::parse_with_delimiters(key, text, left, right).map_err(|error| failed("parse", error))?;
        template
            .render_with(&self.values, self.now, &mut self.budget)
            .map_err(|error| failed("execute", error))
    }

    fn put(&mut self, key: &str, value: Vec<u8>, part: Part) {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let metadata = &mut self.secret.metadata;
        match part {
            Part::Data => {
                let data = self.secret.data.get_or_insert_default();
                data.insert(key.to_owned(), ByteString(value));
            }
            Part::Labels => {
                metadata
                    .labels
                    .get_or_insert_default()
                    .insert(key.to_owned(), text(value));
            }
            Part::Annotations => {
                let annotations = metadata.annotations.get_or_insert_default();
                annotations.insert(key.to_owned(), text(value));
            }
        }
    }
}

fn part(target: &str) -> Result<Part, TemplateError> {
    match target.to_lowercase().as_str() {
        "" | "data" => Ok(Part::Data),
        "labels" => Ok(Part::Labels),
        "annotations" => Ok(Part::Annotations),
        _ => Err(TemplateError(format!(
            "templateFrom target={target:?} is not allowed when targeting a Secret, must be one of \"Data\", \
             \"Annotations\" or \"Labels\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const VALUE: &str = "hunter2!S3CRET";

    /// The error of a template that gets the value `VALUE`, and may be a key of a Secret whose text holds `VALUE`.
    fn error_of(template: Value) -> String {
        let template: Template = serde_json::from_value(template).unwrap();
        let values = Values::from([("password".to_owned(), VALUE.as_bytes().to_vec())]);
        let texts = [
            ("unparsable", format!("{{{{ .password {VALUE:?} ")),
            ("unknown", format!("{{{{ {} }}}} {VALUE}", "nosuch .password")),
            ("missing", format!("{{{{ .nothing }}}} {VALUE}")),
            ("list", format!("{VALUE}: [1]")),
            ("plain", format!("a: {VALUE}")),
        ];
        let texts = texts.map(|(key, text)| (key.to_owned(), text.into_bytes()));
        let texts = TemplateTexts {
            delimiters: ("{{".to_owned(), "}}".to_owned()),
            secrets: [("t".to_owned(), texts.into())].into(),
            ..TemplateTexts::default()
        };
        let now = SystemTime::UNIX_EPOCH;
        let filled = fill(&template, &texts, &values, now, &mut Secret::default());
        filled.unwrap_err().to_string()
    }

    #[test]
    fn templates_see_the_given_time() {
        let template: Template = serde_json::from_value(json!({ "data": { "year": "{{ now.Year }}" } })).unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let mut secret = Secret::default();
        fill(&template, &TemplateTexts::default(), &Values::new(), now, &mut secret).unwrap();
        assert_eq!(secret.data.unwrap()["year"].0, b"1970");
    }

    #[test]
    fn an_error_of_a_long_template_is_short() {
        let text = format!("{}{{{{ .nothing }}}}", "a: b\n".repeat(1000));
        let error = error_of(json!({ "templateFrom": [{ "literal": text }] }));
        assert!(error.len() < 2000, "{error}");
    }

    #[test]
    fn no_error_shows_a_value_or_the_text_of_a_secret() {
        let from_secret = |key: &str, how: &str, strategy: &str| {
            json!({ "templateFrom": [{ "valuesDecodingStrategy": strategy,
                "secret": { "name": "t", "items": [{ "key": key, "templateAs": how }] } }] })
        };
        let literal = |text: &str, strategy: &str| json!({ "templateFrom": [{ "literal": text, "valuesDecodingStrategy": strategy }] });
        let templates = [
            literal("\"{{ .password }}\": [1]", "None"),
            literal("\"{{ .password }}\": \"!\"", "Base64"),
            literal("a: \"{{ .password }}\"", "Base64"),
            literal("{{ .password }}", "None"),
            from_secret("unparsable", "Values", "None"),
            from_secret("unparsable", "KeysAndValues", "None"),
            from_secret("unknown", "Values", "None"),
            from_secret("unknown", "KeysAndValues", "None"),
            from_secret("missing", "Values", "None"),
            from_secret("missing", "KeysAndValues", "None"),
            from_secret("list", "KeysAndValues", "None"),
            from_secret("plain", "KeysAndValues", "Base64"),
        ];
        for template in templates {
            let error = error_of(template.clone());
            assert!(!error.contains("hunter2"), "{template}: {error}");
        }
    }
}
