use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use sidevault_model::{Access, Timestamp, VaultId};

use super::*;
use crate::index_key::hmac_sha256;
use crate::{Credentials, Issuer, TokenSpec};

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

/// A server's verifier, the issuer that the server trusts, and a token of that issuer.
struct Fixture {
    verifier: Verifier,
    issuer: Issuer,
    jwt: String,
}

fn fixture() -> Fixture {
    let (credentials, issuer) = Credentials::generate();
    let vaults = BTreeMap::from([(vault(1), Access::READ), (vault(2), Access::READ_WRITE)]);
    let spec = TokenSpec {
        name: "ci".into(),
        vaults,
        ..TokenSpec::default()
    };
    let jwt = issuer.issue(&spec, NOW).unwrap().0.to_string();
    Fixture {
        verifier: credentials.verifier(),
        issuer,
        jwt,
    }
}

fn vault(n: u8) -> VaultId {
    VaultId::from_digest(&[n; 32])
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

/// The parts of a JWT: header, payload, signature.
fn parts(jwt: &str) -> [String; 3] {
    let parts: Vec<String> = jwt.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Fixture {
    /// The result for a token whose claims were changed before it was signed by the right issuer.
    fn verdict(&self, change: impl FnOnce(&mut Value)) -> Result<Token, TokenError> {
        let mut claims = decoded(&parts(&self.jwt)[1]);
        change(&mut claims);
        self.verifier.verify(&self.issuer.sign(&claims).unwrap(), NOW)
    }

    fn refused(&self, jwt: &str) -> TokenError {
        self.verifier.verify(jwt, NOW).unwrap_err()
    }
}

#[test]
fn a_valid_token_grants_what_it_lists() {
    let fixture = fixture();
    let token = fixture.verifier.clone().verify(&fixture.jwt, NOW).unwrap();
    assert_eq!((token.name.as_str(), token.kid.as_str()), ("ci", fixture.issuer.kid()));
    assert_eq!(token.vaults[&vault(1)], Access::READ);
    assert_eq!(token.vaults[&vault(2)], Access::READ_WRITE);
    assert_eq!((token.issued_at, token.expires_at, token.jti.len()), (NOW, None, 26));
    // Without `exp` a token does not expire.
    assert!(fixture.verifier.verify(&fixture.jwt, after(1_000_000_000)).is_ok());
}

#[test]
fn the_claims_are_those_of_connects_tokens() {
    let fixture = fixture();
    let [header, payload, _] = parts(&fixture.jwt);
    assert_eq!(
        decoded(&header),
        json!({"typ": "JWT", "alg": "ES256", "kid": fixture.issuer.kid()})
    );
    let mut claims = decoded(&payload);
    let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert!(
        jti.as_str()
            .unwrap()
            .bytes()
            .all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7'))
    );
    let expected = json!({
        "iss": "sidevault",
        "aud": ["com.1password.connect"],
        "sub": fixture.issuer.kid(),
        "iat": 1_750_000_000,
        "name": "ci",
        "1password.com/fts": ["vaultaccess"],
        "1password.com/vts": claims["1password.com/vts"],
    });
    assert_eq!(claims, expected);
    let bits: BTreeMap<&str, i64> = claims["1password.com/vts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["u"].as_str().unwrap(), entry["a"].as_i64().unwrap()))
        .collect();
    assert_eq!(bits, BTreeMap::from([(vault(1).as_str(), 16), (vault(2).as_str(), 48)]));
}

#[test]
fn a_vault_may_be_granted_by_its_name() {
    let fixture = fixture();
    let spec = TokenSpec {
        name: "offline".into(),
        vaults: BTreeMap::from([(vault(1), Access::READ), (vault(2), Access::READ)]),
        by_name: BTreeSet::from([vault(2)]),
        ..TokenSpec::default()
    };
    let (jwt, token) = fixture.issuer.issue(&spec, NOW).unwrap();
    assert_eq!(fixture.verifier.verify(&jwt, NOW).unwrap(), token);
    assert_eq!(token.by_name, BTreeSet::from([vault(2)]));
    assert_eq!(
        decoded(&parts(&jwt)[1])["1password.com/vts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["by"] == "name")
            .count(),
        1
    );
    // If a token has two grants for a vault and one is by name, both count as by name, which is stricter.
    let vts = |by: Value| json!([{"u": vault(3).as_str(), "a": 16}, {"u": vault(3).as_str(), "a": 32, "by": by}]);
    let token = fixture.verdict(|claims| claims["1password.com/vts"] = vts("name".into()));
    assert_eq!(token.unwrap().by_name, BTreeSet::from([vault(3)]));
    // An unknown `by` must not widen what the token opens.
    for unknown in [json!("path"), json!(1), json!([])] {
        let token = fixture.verdict(|claims| claims["1password.com/vts"] = vts(unknown));
        assert_eq!(token.unwrap_err(), TokenError::Malformed);
    }
}

#[test]
fn vaults_are_read_in_capitals_and_foreign_bits_ignored() {
    let token = fixture()
        .verdict(|claims| {
            claims["1password.com/vts"] = json!([
                {"u": vault(3).as_str().to_uppercase(), "a": 49152 + 32},
                {"u": vault(4).as_str(), "a": 49152},
            ]);
        })
        .unwrap();
    assert_eq!(token.vaults[&vault(3)], Access::WRITE);
    assert_eq!(token.vaults[&vault(4)], Access::default());
}

#[test]
fn alg_none_is_refused() {
    let fixture = fixture();
    let payload = &parts(&fixture.jwt)[1];
    for (alg, signature) in [("none", ""), ("none", "AAAA"), ("None", "")] {
        let header = encoded(&json!({"alg": alg, "typ": "JWT", "kid": fixture.issuer.kid()}));
        fixture.refused(&format!("{header}.{payload}.{signature}"));
    }
}

#[test]
fn hs256_with_the_public_key_as_its_secret_is_refused() {
    let fixture = fixture();
    let payload = &parts(&fixture.jwt)[1];
    let header = encoded(&json!({"alg": "HS256", "typ": "JWT", "kid": fixture.issuer.kid()}));
    let public = fixture.issuer.verification_key();
    let point = [
        vec![4],
        URL_SAFE_NO_PAD.decode(&public.x).unwrap(),
        URL_SAFE_NO_PAD.decode(&public.y).unwrap(),
    ]
    .concat();
    for secret in [point.as_slice(), &point[1..], public.x.as_bytes()] {
        let mac = hmac_sha256(secret)
            .chain_update(format!("{header}.{payload}"))
            .finalize()
            .into_bytes();
        let error = fixture.refused(&format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(mac)));
        assert_eq!(
            (error.clone(), error.public_message()),
            (TokenError::Algorithm, "Invalid token signature")
        );
    }
}

#[test]
fn an_unknown_key_is_refused_and_named() {
    let fixture = fixture();
    let (_, foreign) = Credentials::generate();
    let jwt = foreign.sign(&decoded(&parts(&fixture.jwt)[1])).unwrap();
    let error = fixture.refused(&jwt);
    assert_eq!(
        error,
        TokenError::UnknownKey {
            kid: foreign.kid().into()
        }
    );
    assert_eq!(error.public_message(), "Invalid token signature");

    // With the known key's id the foreign signature is wrong.
    let [_, payload, signature] = parts(&jwt);
    let header = &parts(&fixture.jwt)[0];
    assert_eq!(
        fixture.refused(&format!("{header}.{payload}.{signature}")),
        TokenError::Signature
    );

    // A missing or hostile key id does not reach the log.
    for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": "a\nb"})] {
        let error = fixture.refused(&format!("{}.{payload}.{signature}", encoded(&header)));
        assert_eq!(error, TokenError::UnknownKey { kid: String::new() });
    }
}

#[test]
fn a_key_inside_the_token_is_not_trusted() {
    let fixture = fixture();
    let (_, foreign) = Credentials::generate();
    let [_, payload, signature] = parts(&foreign.sign(&decoded(&parts(&fixture.jwt)[1])).unwrap());
    let public = foreign.verification_key();
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": public.x, "y": public.y});
    let header = encoded(&json!({"alg": "ES256", "kid": fixture.issuer.kid(), "jwk": jwk}));
    assert_eq!(
        fixture.refused(&format!("{header}.{payload}.{signature}")),
        TokenError::Signature
    );
}

#[test]
fn a_swapped_payload_or_changed_signature_is_refused() {
    let fixture = fixture();
    let [header, payload, signature] = parts(&fixture.jwt);
    let mut claims = decoded(&payload);
    claims["1password.com/vts"][0]["a"] = json!(48);
    assert_eq!(
        fixture.refused(&format!("{header}.{}.{signature}", encoded(&claims))),
        TokenError::Signature
    );

    let mut bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    bytes[40] ^= 1;
    let error = fixture.refused(&format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(&bytes)));
    assert_eq!(
        (error.clone(), error.public_message()),
        (TokenError::Signature, "Invalid token signature")
    );
    for degenerate in [vec![0; 64], vec![0xFF; 64], vec![], bytes[..63].to_vec()] {
        let jwt = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(degenerate));
        assert_eq!(fixture.refused(&jwt), TokenError::Signature);
    }
}

#[test]
fn a_cut_token_is_malformed() {
    let fixture = fixture();
    let error = fixture.refused(&fixture.jwt[..83]);
    assert_eq!(
        (error.clone(), error.public_message()),
        (TokenError::Malformed, "Invalid bearer token")
    );
    for garbage in ["", ".", "..", "...", "a.b.c", "ops_abc", &format!("{}.x", fixture.jwt)] {
        assert_eq!(fixture.refused(garbage), TokenError::Malformed, "{garbage}");
    }
    assert_eq!(fixture.refused(&"a".repeat(MAX_TOKEN_LEN + 1)), TokenError::TooLong);
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let fixture = fixture();
    let [_, payload, signature] = parts(&fixture.jwt);
    let header = encoded(&json!({"alg": "ES256", "kid": fixture.issuer.kid(), "crit": ["b64"], "b64": false}));
    assert_eq!(
        fixture.refused(&format!("{header}.{payload}.{signature}")),
        TokenError::Malformed
    );
}

#[test]
fn expiry_has_no_leeway() {
    let fixture = fixture();
    let expires_at = Some(after(10));
    let spec = TokenSpec {
        name: "short".into(),
        expires_at,
        ..TokenSpec::default()
    };
    let (jwt, token) = fixture.issuer.issue(&spec, NOW).unwrap();
    assert_eq!(token.expires_at, expires_at);
    assert!(fixture.verifier.verify(&jwt, after(9)).is_ok());
    let error = fixture.verifier.verify(&jwt, after(10)).unwrap_err();
    assert_eq!(
        error,
        TokenError::Expired {
            name: "short".into(),
            jti: token.jti.clone(),
            at: after(10)
        }
    );
    assert_eq!(error.public_message(), "Invalid bearer token");
    let log = error.to_string();
    assert!(
        log.contains("short") && log.contains(&token.jti) && log.contains("2025-06-15T15:06:50"),
        "{log}"
    );
}

#[test]
fn a_token_from_more_than_a_minute_ahead_is_refused() {
    let fixture = fixture();
    for claim in ["nbf", "iat"] {
        assert!(fixture.verdict(|claims| claims[claim] = json!(1_750_000_060)).is_ok());
        let error = fixture
            .verdict(|claims| claims[claim] = json!(1_750_000_061))
            .unwrap_err();
        assert!(
            matches!(&error, TokenError::NotYetValid { at, .. } if *at == after(61)),
            "{error}"
        );
    }
}

#[test]
fn audience_and_issuer_must_fit() {
    let fixture = fixture();
    assert!(
        fixture
            .verdict(|claims| claims["aud"] = json!("com.1password.connect"))
            .is_ok()
    );
    assert!(
        fixture
            .verdict(|claims| claims["aud"] = json!(["other", "com.1password.connect"]))
            .is_ok()
    );
    for aud in [json!(["other"]), json!([]), Value::Null] {
        let error = fixture.verdict(|claims| claims["aud"] = aud).unwrap_err();
        assert_eq!(
            (error.clone(), error.public_message()),
            (TokenError::Audience, "Invalid bearer token")
        );
    }
    assert_eq!(
        fixture
            .verdict(|claims| claims["iss"] = json!("com.1password.b5"))
            .unwrap_err(),
        TokenError::Issuer
    );
    let without_issuer = fixture.verdict(|claims| _ = claims.as_object_mut().unwrap().remove("iss"));
    assert_eq!(without_issuer.unwrap_err(), TokenError::Issuer);
}

#[test]
fn signed_tokens_with_invalid_claims_are_refused() {
    let fixture = fixture();
    let changes = [
        ("1password.com/vts", json!("all")),
        ("1password.com/vts", json!([{"u": "short", "a": 16}])),
        ("1password.com/vts", json!([{"u": vault(1).as_str(), "a": -1}])),
        ("exp", json!("tomorrow")),
        ("exp", json!(i64::MAX)),
        ("iat", json!(-1)),
        ("iat", Value::Null),
        ("jti", Value::Null),
        ("jti", json!("a".repeat(65))),
    ];
    for (claim, value) in changes {
        let verdict = fixture.verdict(|claims| claims[claim] = value.clone());
        assert_eq!(verdict.unwrap_err(), TokenError::Malformed, "{claim}: {value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_changed_character_is_noticed(at in 0_usize..10_000, with in "[A-Za-z0-9_.-]") {
        let fixture = fixture();
        let at = at % fixture.jwt.len();
        let mut jwt = fixture.jwt.clone();
        jwt.replace_range(at..=at, &with);
        prop_assert_eq!(fixture.verifier.verify(&jwt, NOW).is_ok(), jwt == fixture.jwt);
    }

    #[test]
    fn no_text_makes_verify_panic(text in "\\PC{0,300}") {
        prop_assert!(fixture().verifier.verify(&text, NOW).is_err());
    }
}
