//! Errors of `object_store` in words. Its own texts quote whole requests and answers, which may hold an access key.

use std::error::Error;

use super::super::RemoteFault;

/// The longest text of a server that is repeated, in characters.
const LONGEST: usize = 200;

pub(super) struct Fault {
    pub(super) kind: RemoteFault,
    pub(super) words: String,
    /// Whether the server answered.
    pub(super) is_answer: bool,
}

impl Fault {
    pub(super) fn of(error: &object_store::Error) -> Self {
        let chain = || std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
        // The crate's type with the answer is private, so its text is taken apart.
        let answer = chain().map(ToString::to_string).find_map(|text| answer(&text));
        if let Some(words) = answer {
            let kind = match error {
                object_store::Error::NotFound { .. } => RemoteFault::Missing,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    RemoteFault::Denied
                }
                _ => RemoteFault::Other,
            };
            return Self {
                kind,
                words,
                is_answer: true,
            };
        }
        let innermost = chain()
            .last()
            .map(|error| innermost_io(error).unwrap_or_else(|| error.to_string()));
        Self {
            kind: RemoteFault::Unreachable,
            words: format!(
                "the server can't be reached, or stopped answering: {}",
                shortened(&innermost.unwrap_or_default())
            ),
            is_answer: false,
        }
    }
}

/// `source` of an I/O error skips the error that it wraps, such as that of a look-up of a name.
fn innermost_io(error: &(dyn Error + 'static)) -> Option<String> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner.to_string())
}

/// What a server said, from the crate's text about it: the status, and the code and the message of S3's XML.
fn answer(text: &str) -> Option<String> {
    if text.contains("redirect without LOCATION") {
        return Some("the bucket is in another region: set AWS_REGION".to_owned());
    }
    let after_status = text.split("non-2xx status code: ").nth(1);
    let after = after_status.or_else(|| text.split("Server returned error response: ").nth(1))?;
    let status = after_status.map(|rest| rest.split(": ").next().unwrap_or(rest).trim().trim_end_matches(':'));
    let between = |tag: &str| {
        let rest = after.split(&format!("<{tag}>")).nth(1)?;
        Some(rest.split(&format!("</{tag}>")).next()?.to_owned())
    };
    let parts = [status.map(str::to_owned), between("Code"), between("Message")];
    let words: Vec<String> = parts.into_iter().flatten().collect();
    Some(format!("the server answers {}", shortened(&words.join(", "))))
}

fn shortened(text: &str) -> String {
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_repeated_without_keys() {
        let text = "Error performing PUT http://s3/b/k in 1ms - Server returned non-2xx status code: 403 Forbidden: <?xml?><Error>\
                    <Code>SignatureDoesNotMatch</Code><Message>The signature does not match.</Message>\
                    <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>AWS4</StringToSign></Error>";
        assert_eq!(
            answer(text).as_deref(),
            Some("the server answers 403 Forbidden, SignatureDoesNotMatch, The signature does not match.")
        );
        let text = "Server returned non-2xx status code: 507 Insufficient Storage: ";
        assert_eq!(
            answer(text).as_deref(),
            Some("the server answers 507 Insufficient Storage")
        );
        assert_eq!(answer("connection refused"), None);
    }
}
