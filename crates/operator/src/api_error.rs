//! Turns errors of the Kubernetes API into texts for logs, events and conditions.
//!
//! The API server quotes the object that it refuses: a 422 contains the value of a label, a decoding error contains the
//! text that could not be decoded, and the message of an admission webhook or policy may contain anything. The object
//! may be a Secret. So [`api_message`] shows only the name of the object and the names of fields, webhooks and
//! policies, in a sentence of its own. The only messages of the API server that it shows unchanged are those of RBAC
//! and of quotas. No other code may turn a [`kube::Error`] into text.

use kube::client::AuthError;
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};

/// How many invalid fields one text names.
const NAMED_FIELDS: usize = 8;
/// The longest name or field path that a text shows, in bytes.
const LONGEST_NAME: usize = 253;
/// How many bytes of an API server's message are shown.
const LONGEST_MESSAGE: usize = 1024;

/// Says why a request to the API server failed, without any content of the object that was sent or received.
pub(crate) fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status_message(status),
        // The error's own text quotes the JSON that could not be parsed.
        kube::Error::SerdeError(error) => format!(
            "the API server's answer could not be read: line {}, column {}",
            error.line(),
            error.column()
        ),
        // The output of a credential plugin may contain a credential.
        kube::Error::Auth(AuthError::AuthExecRun { cmd, out }) => {
            format!("the credential plugin {cmd:?} failed: {}", out.status)
        }
        kube::Error::Auth(AuthError::AuthExecParse(_)) => "the credential plugin's output could not be read".to_owned(),
        other => match network_message(other) {
            Some(why) => format!("the API server does not answer: {why}"),
            None => other.to_string(),
        },
    }
}

/// What the network or TLS said, if they are why a request failed: `Connection refused (os error 111)`. It is in an
/// [`std::io::Error`]; the errors around that only name layers of libraries.
pub(crate) fn network_message(error: &kube::Error) -> Option<String> {
    let mut cause: &(dyn std::error::Error + 'static) = match error {
        kube::Error::Service(error) => error.as_ref(),
        kube::Error::HyperError(error) => error,
        _ => return None,
    };
    let mut message = None;
    loop {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            message = Some(error.to_string());
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return message,
        }
    }
}

/// As [`api_message`], for a `Status` that a watch delivered.
pub(crate) fn status_message(status: &Status) -> String {
    let object = object(status.details.as_ref());
    match status.code {
        _ if names_terminating_namespace(status) => "the namespace is being deleted".to_owned(),
        401 => "Unauthorized: the API server does not accept the operator's credentials".to_owned(),
        403 => forbidden(status, &object),
        404 => format!("{object} not found"),
        409 if status.reason == "AlreadyExists" => format!("{object} already exists"),
        409 => format!("{object} was changed by another client at the same time"),
        413 => format!("{object} is too large for the API server"),
        422 => invalid(status, &object),
        code => {
            let reason = name(&status.reason).unwrap_or("without a reason");
            match denier(&status.message) {
                Some(denier) => format!("{object} was refused ({code} {reason}) by {denier}"),
                None => format!("the API server answered {code} {reason}"),
            }
        }
    }
}

/// Whether a request was refused because its namespace is being deleted.
pub(crate) fn names_terminating_namespace(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// The kind and name of the object, such as `secrets "db"`.
fn object(details: Option<&StatusDetails>) -> String {
    let Some(details) = details else {
        return "the object".to_owned();
    };
    let kind = match (name(&details.kind), name(&details.group)) {
        (None, _) => "the object".to_owned(),
        (Some(kind), None) => kind.to_owned(),
        (Some(kind), Some(group)) => format!("{kind}.{group}"),
    };
    match name(&details.name) {
        None => kind,
        Some(name) => format!("{kind} {name:?}"),
    }
}

/// The text for a 403. The messages of RBAC (user, verb, object) and of quotas (numbers) are shown unchanged: users
/// need them, and they contain no content of the object. The messages of other admission plugins may.
fn forbidden(status: &Status, object: &str) -> String {
    let message = status.message.as_str();
    let why = message
        .split_once(" is forbidden: ")
        .map(|(_, why)| why)
        .or_else(|| message.strip_prefix("forbidden: "))
        .unwrap_or_default();
    if why.starts_with("User \"") || why.starts_with("exceeded quota: ") {
        return message[..message.floor_char_boundary(LONGEST_MESSAGE)].to_owned();
    }
    match denier(message) {
        Some(denier) => format!("{object} is forbidden by {denier}"),
        None => format!("{object} is forbidden by an admission plugin"),
    }
}

/// The text for a 422: names the invalid fields and what is wrong with each.
fn invalid(status: &Status, object: &str) -> String {
    if let Some(denier) = denier(&status.message) {
        return format!("{object} is refused by {denier}");
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields: Vec<String> = Vec::new();
    for field in causes.filter_map(field) {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    let more = fields.len().saturating_sub(NAMED_FIELDS);
    fields.truncate(NAMED_FIELDS);
    let mut message = format!("{object} is invalid");
    if !fields.is_empty() {
        message = format!("{message}: {}", fields.join(", "));
    }
    if more > 0 {
        message = format!("{message} and {more} more");
    }
    message
}

/// An invalid field and what is wrong with it. A path contains keys of maps in brackets, and a key may be rendered from
/// a value. So the content of brackets is shown only if a required field is missing: the API server chose its name.
fn field(cause: &StatusCause) -> Option<String> {
    let what = match cause.reason.as_str() {
        "FieldValueNotFound" => "not found",
        "FieldValueRequired" => "required and missing",
        "FieldValueDuplicate" => "duplicate value",
        "FieldValueInvalid" => "invalid value",
        "FieldValueNotSupported" => "unsupported value",
        "FieldValueForbidden" => "must not be set or changed",
        "FieldValueTooLong" => "too long",
        "FieldValueTooMany" => "too many entries",
        "FieldValueTypeInvalid" => "wrong type",
        _ => "refused",
    };
    let path = cause.field.as_str();
    let path = match path.split_once('[') {
        Some((before, _)) if cause.reason != "FieldValueRequired" => format!("{}[…]", name(before)?),
        Some((before, after)) => format!(
            "{}[{}",
            name(before)?,
            name(&after.replace(['[', ']'], "")).map(|_| after)?
        ),
        None => name(path)?.to_owned(),
    };
    Some(format!("{path} ({what})"))
}

/// The admission webhook or policy that refused the request, if the message names one.
fn denier(message: &str) -> Option<String> {
    let quoted = |start: &str, quote: char| {
        let (quoted, _) = message.strip_prefix(start)?.split_once(quote)?;
        name(quoted)
    };
    let webhook = quoted("admission webhook \"", '"')
        .or_else(|| quoted("Internal error occurred: failed calling webhook \"", '"'));
    if let Some(webhook) = webhook {
        return Some(format!("the admission webhook {webhook:?}"));
    }
    let (_, why) = message.split_once(" is forbidden: ")?;
    let (policy, _) = why.strip_prefix("ValidatingAdmissionPolicy '")?.split_once('\'')?;
    Some(format!("the ValidatingAdmissionPolicy {:?}", name(policy)?))
}

/// Accepts a text only if it has the form of a Kubernetes name or a field path.
fn name(text: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    (!text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(fits)).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const VALUE: &str = "hunter2!S3CRET#VALUE";

    fn text_of(status: Value) -> String {
        api_message(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    fn of_secret(code: u16, reason: &str, message: &str, causes: Value) -> String {
        text_of(json!({
            "status": "Failure", "code": code, "reason": reason, "message": message,
            "details": { "name": "db", "kind": "Secret", "causes": causes },
        }))
    }

    /// The messages are those of kube-apiserver 1.35, with `VALUE` where they quote the object.
    #[test]
    fn no_message_that_quotes_the_object_is_shown() {
        let cause = |reason: &str, field: &str| json!({ "reason": reason, "field": field, "message": VALUE });
        let label = format!("Secret \"db\" is invalid: metadata.labels: Invalid value: {VALUE:?}: a valid label …");
        let causes = json!([
            cause("FieldValueInvalid", "metadata.labels"),
            cause("FieldValueInvalid", "metadata.labels"),
            cause("FieldValueInvalid", &format!("data[{VALUE}]")),
            cause("FieldValueTooLong", &format!("data[a]b[{VALUE}].c")),
            cause("FieldValueInvalid", VALUE),
            cause(VALUE, "type"),
        ]);
        assert_eq!(
            of_secret(422, "Invalid", &label, causes),
            "Secret \"db\" is invalid: metadata.labels (invalid value), data[…] (invalid value), data[…] (too long), \
             type (refused)"
        );
        for (code, reason, message) in [
            (
                400,
                "BadRequest",
                format!("admission webhook \"check.acme.org\" denied the request: {VALUE}"),
            ),
            (
                403,
                "Forbidden",
                format!("admission webhook \"check.acme.org\" denied the request: {VALUE}"),
            ),
            (
                422,
                "Invalid",
                format!("admission webhook \"check.acme.org\" denied the request: {VALUE}"),
            ),
            (
                500,
                "InternalError",
                format!("Internal error occurred: failed calling webhook \"check.acme.org\": {VALUE}"),
            ),
            (
                400,
                "BadRequest",
                format!("Secret in version \"v1\" cannot be handled as a Secret: json: {VALUE}"),
            ),
            (
                400,
                "BadRequest",
                format!("admission webhook \"{VALUE}\" denied the request: {VALUE}"),
            ),
            (403, "Forbidden", format!("secrets \"db\" is forbidden: {VALUE}")),
            (
                403,
                "Forbidden",
                format!("{VALUE} is forbidden: ValidatingAdmissionPolicy 'p' with binding: {VALUE}"),
            ),
            (
                409,
                "Conflict",
                format!("Operation cannot be fulfilled on secrets \"db\": {VALUE}"),
            ),
            (409, "AlreadyExists", VALUE.to_owned()),
            (404, "NotFound", VALUE.to_owned()),
            (413, "RequestEntityTooLarge", VALUE.to_owned()),
            (500, VALUE, VALUE.to_owned()),
            (502, "", format!("<html>{VALUE}")),
        ] {
            let shown = of_secret(code, reason, &message, json!([{ "message": VALUE }]));
            assert!(!shown.contains("hunter2"), "{message}: {shown}");
            if message.contains("check.acme.org") {
                assert!(
                    shown.ends_with("by the admission webhook \"check.acme.org\""),
                    "{shown}"
                );
            }
            if message.contains("ValidatingAdmissionPolicy") {
                assert!(shown.ends_with("by the ValidatingAdmissionPolicy \"p\""), "{shown}");
            }
        }
    }

    #[test]
    fn a_response_that_cannot_be_parsed_is_not_quoted() {
        let error = serde_json::from_value::<u8>(json!(VALUE)).unwrap_err();
        assert!(error.to_string().contains("hunter2"));
        let shown = api_message(&kube::Error::SerdeError(error));
        assert!(
            shown.starts_with("the API server's answer could not be read"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn rbac_quota_and_missing_fields_are_shown() {
        let rbac = "secrets \"db\" is forbidden: User \"system:serviceaccount:a:b\" cannot get resource \"secrets\" in \
                    API group \"\" in the namespace \"apps\"";
        assert_eq!(of_secret(403, "Forbidden", rbac, json!([])), rbac);
        let quota = "secrets \"db\" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=2, limited: \
                     secrets=2";
        assert_eq!(of_secret(403, "Forbidden", quota, json!([])), quota);
        let missing = json!({ "code": 404, "reason": "NotFound", "details": { "name": "t", "kind": "configmaps" } });
        assert_eq!(text_of(missing), "configmaps \"t\" not found");
        let going = json!([{ "reason": "NamespaceTerminating", "message": "x" }]);
        assert_eq!(
            of_secret(403, "Forbidden", "x", going),
            "the namespace is being deleted"
        );
        let required = json!([{ "reason": "FieldValueRequired", "field": "data[tls.crt]", "message": "" }]);
        assert_eq!(
            of_secret(422, "Invalid", "x", required),
            "Secret \"db\" is invalid: data[tls.crt] (required and missing)"
        );
        assert_eq!(
            text_of(json!({ "code": 503, "reason": "ServiceUnavailable" })),
            "the API server answered 503 ServiceUnavailable"
        );
        let many: Vec<Value> = (0..20)
            .map(|n| json!({ "reason": "", "field": format!("f{n}"), "message": "" }))
            .collect();
        assert!(of_secret(422, "Invalid", "x", json!(many)).ends_with("f7 (refused) and 12 more"));
    }
}
