//! Uploads whose process was killed. Their parts are no backup, but they take room, which most providers charge for.

use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as Key;
use object_store::signer::{SignedUrlOptions, Signer as _};
use serde::Deserialize;
use sidevault_model::Timestamp;

use super::super::segments::{SegmentName, stem_of};
use super::{S3, is_abandoned, time_of};

/// The largest list that is read, in bytes. A list of S3 has at most a thousand uploads.
const LARGEST_LIST: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default)]
    upload: Vec<Upload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl S3 {
    /// Aborts the uploads of backups that began more than a day ago. A server that has no list of uploads, or does not show it to this
    /// client, keeps them: that is no reason to make no backup.
    pub(super) async fn abort_abandoned(&self) {
        let uploads = match self.uploads().await {
            Ok(uploads) => uploads,
            Err(cause) => {
                tracing::debug!(cause, "the server's unfinished uploads can't be listed");
                return;
            }
        };
        for upload in uploads {
            let Ok(key) = Key::parse(&upload.key) else { continue };
            let is_ours = key.filename().is_some_and(|name| {
                let is_backup = self.key(name) == key && time_of(name).is_some();
                // The name before the last one is that of the directory of a segment.
                let is_segment = name.parse::<SegmentName>().is_ok();
                let directory = key.parts().rev().nth(1);
                let below = directory
                    .map(|directory| directory.as_ref().to_owned())
                    .unwrap_or_default();
                is_backup || (is_segment && stem_of(&below).is_some() && self.key(&format!("{below}/{name}")) == key)
            });
            let began = Timestamp::parse(&upload.initiated);
            if !is_ours || !began.is_some_and(|began| is_abandoned(began, Timestamp::now())) {
                continue;
            }
            let client: &AmazonS3 = &self.client;
            if client.abort_multipart(&key, &upload.upload_id).await.is_ok() {
                tracing::info!(key = %key, began = upload.initiated, "an unfinished upload was aborted");
            }
        }
    }

    /// The uploads that were begun and neither completed nor aborted. The crate has no request for it, but signs one.
    async fn uploads(&self) -> Result<Vec<Upload>, &'static str> {
        let query = [("uploads", String::new()), ("prefix", self.prefix.to_string())];
        let options = SignedUrlOptions::new().with_query(query);
        let (bucket, minute) = (Key::default(), Duration::from_secs(60));
        let signed = self
            .client
            .signed_url_opts(http::Method::GET, &bucket, minute, &options);
        let url = signed.await.map_err(|_| "the request can't be signed")?;
        let mut answer = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|_| "the server can't be reached")?;
        if !answer.status().is_success() {
            return Err("the server refuses it");
        }
        let mut text = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(|_| "the answer ends too early")? {
            text.extend_from_slice(&bytes);
            if text.len() > LARGEST_LIST {
                return Err("the list is too large");
            }
        }
        let text = String::from_utf8(text).map_err(|_| "the answer is not UTF-8")?;
        let uploads: Uploads = quick_xml::de::from_str(&text).map_err(|_| "the answer is no list of uploads")?;
        Ok(uploads.upload)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_uploads_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><IsTruncated>false</IsTruncated>
            <Upload><Key>p/a</Key><UploadId>1</UploadId><Initiated>2026-11-30T10:00:00.000Z</Initiated></Upload>
            <Upload><Key>p/b</Key><UploadId>2</UploadId><Initiator><ID>x</ID></Initiator><Initiated>2026-11-30T11:00:00Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let uploads: Uploads = quick_xml::de::from_str(text).unwrap();
        let found: Vec<_> = uploads
            .upload
            .iter()
            .map(|upload| (&*upload.key, &*upload.upload_id))
            .collect();
        assert_eq!(found, [("p/a", "1"), ("p/b", "2")]);
        assert!(Timestamp::parse(&uploads.upload[0].initiated).is_some());
        let none: Uploads = quick_xml::de::from_str("<ListMultipartUploadsResult/>").unwrap();
        assert!(none.upload.is_empty());
    }
}
