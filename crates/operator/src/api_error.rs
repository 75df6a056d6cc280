//! What of the API server's refusals may be shown in a log, an event or a condition.
//!
//! The API server quotes the object that it refuses: a 422 shows the value of a label, a decoding error shows the text
//! that could not be decoded, and an admission webhook or policy says whatever its author put together. The object may
//! be a Secret. So [`api_message`] shows the object's name, names of fields, webhooks and policies, and words of its own.
//! Of the API server's texts it shows those of RBAC and of quotas alone. It is the one place where a [`kube::Error`]
//! becomes text.

use kube::client::AuthError;
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};

/// How many fields of one refusal are named.
const NAMED_FIELDS: usize = 8;
/// The longest name or path of a field that is shown, in bytes.
const LONGEST_NAME: usize = 253;
/// The longest message of the API server that is shown as it is, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// Why a request to the API server failed, without anything of the object that was sent or received.
pub(crate) fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status_message(status),
        // The JSON library quotes the text that it could not read.
        kube::Error::SerdeError(error) => format!(
            "the API server's answer could not be read: line {}, column {}",
            error.line(),
            error.column()
        ),
        // What a credential plugin printed may be a credential.
        kube::Error::Auth(AuthError::AuthExecRun { cmd, out }) => {
            format!("the credential plugin {cmd:?} failed: {}", out.status)
        }
        kube::Error::Auth(AuthError::AuthExecParse(_)) => "the credential plugin's output could not be read".to_owned(),
        other => other.to_string(),
    }
}

/// As [`api_message`], of a status that came in a watch.
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

/// The object's kind and name: `secrets "db"`.
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

/// A 403. RBAC's text names the user, the verb and the object, and a quota's text names numbers: people need those, and
/// nothing of the object's content is in them. Admission plugins use the same status for texts of their own.
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

/// A 422: which fields are wrong, and in what way.
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

/// A field and what is wrong with it. Keys of maps stand in brackets, and a key may be a rendered value: brackets are
/// shown for a missing field alone, whose name is the API server's own.
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

/// The admission webhook or policy that refused, by name.
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

/// A name as Kubernetes' own are, or the path of a field.
fn name(text: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    (!text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(fits)).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    const VALUE: &str = "hunter2!S3CRET#VALUE";

    fn told(status: Value) -> String {
        api_message(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    fn of_secret(code: u16, reason: &str, message: &str, causes: Value) -> String {
        told(json!({
            "status": "Failure", "code": code, "reason": reason, "message": message,
            "details": { "name": "db", "kind": "Secret", "causes": causes },
        }))
    }

    /// The texts are those of kube-apiserver 1.35, with a value where it puts values.
    #[test]
    fn no_text_that_quotes_the_object_is_shown() {
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
    fn an_answer_that_cannot_be_read_is_not_quoted() {
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
    fn what_people_need_is_shown() {
        let rbac = "secrets \"db\" is forbidden: User \"system:serviceaccount:a:b\" cannot get resource \"secrets\" in \
                    API group \"\" in the namespace \"apps\"";
        assert_eq!(of_secret(403, "Forbidden", rbac, json!([])), rbac);
        let quota = "secrets \"db\" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=2, limited: \
                     secrets=2";
        assert_eq!(of_secret(403, "Forbidden", quota, json!([])), quota);
        let missing = json!({ "code": 404, "reason": "NotFound", "details": { "name": "t", "kind": "configmaps" } });
        assert_eq!(told(missing), "configmaps \"t\" not found");
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
            told(json!({ "code": 503, "reason": "ServiceUnavailable" })),
            "the API server answered 503 ServiceUnavailable"
        );
        let many: Vec<Value> = (0..20)
            .map(|n| json!({ "reason": "", "field": format!("f{n}"), "message": "" }))
            .collect();
        assert!(of_secret(422, "Invalid", "x", json!(many)).ends_with("f7 (refused) and 12 more"));
    }
}
