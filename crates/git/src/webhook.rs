//! Checks that a webhook's request comes from the forge that knows the secret.

use ring::hmac;

/// Whether the request has a right signature or token:
///
/// * GitHub: `X-Hub-Signature-256: sha256=HMAC`. Gitea and Forgejo send this too;
/// * Gitea and Forgejo: `X-Gitea-Signature: HMAC`, `X-Forgejo-Signature: HMAC`;
/// * GitLab: `X-Gitlab-Token: SECRET`.
///
/// HMAC is the HMAC-SHA-256 of the body under the secret, in hexadecimal digits. All comparisons take the same time for
/// every wrong value.
pub fn is_genuine<'a>(secret: &[u8], header: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let github = header("x-hub-signature-256").map(|value| value.strip_prefix("sha256=").unwrap_or_default());
    let others = [github, header("x-forgejo-signature"), header("x-gitea-signature")];
    if let Some(shown) = others.into_iter().flatten().next() {
        return bytes_of(shown).is_some_and(|shown| hmac::verify(&key, body, &shown).is_ok());
    }
    header("x-gitlab-token").is_some_and(|token| {
        let expected = hmac::sign(&key, secret);
        hmac::verify(&key, token.as_bytes(), expected.as_ref()).is_ok()
    })
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || hex.len() % 2 == 1 {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in GitHub's documentation of webhooks.
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn genuine(headers: &[(&str, &str)], body: &[u8]) -> bool {
        let find = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        is_genuine(b"It's a Secret to Everybody", find, body)
    }

    #[test]
    fn each_forges_header_is_checked() {
        let github = format!("sha256={SIGNATURE}");
        let body = b"Hello, World!";
        assert!(genuine(&[("x-hub-signature-256", &github)], body));
        assert!(genuine(&[("x-gitea-signature", SIGNATURE)], body));
        assert!(genuine(&[("x-forgejo-signature", SIGNATURE)], body));
        assert!(genuine(&[("x-gitlab-token", "It's a Secret to Everybody")], body));
    }

    #[test]
    fn a_wrong_signature_token_or_body_is_refused() {
        let github = format!("sha256={SIGNATURE}");
        assert!(!genuine(&[("x-hub-signature-256", &github)], b"Hello, world!"));
        for (name, value) in [
            ("x-hub-signature-256", SIGNATURE),
            ("x-hub-signature-256", "sha256="),
            ("x-hub-signature-256", "sha256=zz"),
            ("x-gitea-signature", "75"),
            ("x-gitlab-token", ""),
            ("x-gitlab-token", "It's a secret to everybody"),
        ] {
            assert!(!genuine(&[(name, value)], b"Hello, World!"), "{name}: {value}");
        }
        assert!(!genuine(&[], b"Hello, World!"));
        // A right token does not make up for a wrong signature.
        let both = [
            ("x-hub-signature-256", "sha256=00"),
            ("x-gitlab-token", "It's a Secret to Everybody"),
        ];
        assert!(!genuine(&both, b"Hello, World!"));
    }
}
