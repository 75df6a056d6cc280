//! Reads the ConfigMaps and Secrets that a `templateFrom` names.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::index::TemplateKind;
use crate::secret::TemplateTexts;
use crate::templates::TemplateWatches;
use crate::types::Template;

/// Reads the ConfigMaps and Secrets that a `templateFrom` names, and has their kinds watched from then on.
pub(crate) struct TemplateReader {
    pub(crate) client: Client,
    pub(crate) watches: TemplateWatches,
    /// The left and right delimiter of template actions.
    pub(crate) delimiters: (String, String),
}

impl TemplateReader {
    /// The texts that a template of an object in `namespace` names; without a template, none.
    ///
    /// # Errors
    /// When one of them does not exist or can't be read.
    pub(crate) async fn read(
        &self,
        namespace: &str,
        template: Option<&Template>,
    ) -> Result<TemplateTexts, kube::Error> {
        let mut texts = TemplateTexts {
            delimiters: self.delimiters.clone(),
            ..TemplateTexts::default()
        };
        for from in template.iter().flat_map(|template| &template.template_from) {
            if let Some(reference) = &from.config_map {
                self.watches.follow(TemplateKind::ConfigMap);
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                let data = api.get(&reference.name).await?.data.unwrap_or_default();
                texts.config_maps.insert(reference.name.clone(), data);
            }
            if let Some(reference) = &from.secret {
                self.watches.follow(TemplateKind::Secret);
                let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                let data = api.get(&reference.name).await?.data.unwrap_or_default();
                let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
                texts.secrets.insert(reference.name.clone(), data);
            }
        }
        Ok(texts)
    }
}
