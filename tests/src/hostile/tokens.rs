//! Tokens that must be refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Case, HostileFixture, case};
use crate::forge::{hs256, now, unsigned};
use crate::wire::Request;

const FORM: &str = "Invalid bearer token";
const SIGNATURE: &str = "Invalid token signature";
const TARGET: &str = "/v1/vaults";

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [
        algorithms(fixture),
        keys(fixture),
        claims(fixture),
        texts(fixture),
        schemes(fixture),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn with(name: impl Into<String>, token: &str, message: &str) -> Case {
    case(name, Request::new("GET", TARGET).bearer(token), 401, message)
}

/// The object with one member changed, or taken away if the value is null.
fn but(mut object: Value, member: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        match value {
            Value::Null => drop(members.remove(member)),
            value => drop(members.insert(member.to_owned(), value)),
        }
    }
    object
}

fn algorithms(fixture: &HostileFixture) -> Vec<Case> {
    let (forge, header, claims) = (
        &fixture.forge,
        fixture.forge.header(),
        fixture.forge.claims(&fixture.own),
    );
    let mut cases = Vec::new();
    for spelling in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let header = but(header.clone(), "alg", spelling.into());
        let bare = format!("{}.", unsigned(&header, &claims));
        cases.push(with(format!("alg {spelling:?}, no signature"), &bare, FORM));
        cases.push(with(
            format!("alg {spelling:?}, good signature"),
            &forge.sign(&header, &claims),
            FORM,
        ));
    }
    for (n, key) in forge.public_forms().iter().enumerate() {
        let header = but(header.clone(), "alg", "HS256".into());
        cases.push(with(
            format!("HS256 with the public key, form {n}"),
            &hs256(&header, &claims, key),
            SIGNATURE,
        ));
    }
    for algorithm in ["HS384", "HS512", "ES384", "RS256", "RS512", "PS256", "EdDSA"] {
        let header = but(header.clone(), "alg", algorithm.into());
        cases.push(with(
            format!("alg {algorithm} over an ES256 signature"),
            &forge.sign(&header, &claims),
            SIGNATURE,
        ));
    }
    for (name, algorithm) in [
        ("absent", Value::Null),
        ("a list", json!(["ES256"])),
        ("a number", json!(256)),
        ("lower", json!("es256")),
    ] {
        let header = but(header.clone(), "alg", algorithm);
        cases.push(with(format!("alg is {name}"), &forge.sign(&header, &claims), FORM));
    }
    cases
}

fn keys(fixture: &HostileFixture) -> Vec<Case> {
    let (forge, header, claims) = (
        &fixture.forge,
        fixture.forge.header(),
        fixture.forge.claims(&fixture.own),
    );
    let mut cases = Vec::new();
    let long = "k".repeat(4000);
    for (name, kid) in [
        ("unknown", json!("aaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("missing", Value::Null),
        ("empty", json!("")),
        ("a path", json!("../../../../dev/null")),
        ("SQL", json!("x' OR '1'='1' --")),
        ("a command", json!("|/bin/true")),
        ("with a NUL", json!("a\u{0}b")),
        ("with a new line", json!("a\nb\r\nc")),
        ("long", json!(long)),
    ] {
        cases.push(with(
            format!("kid is {name}"),
            &forge.sign(&but(header.clone(), "kid", kid), &claims),
            SIGNATURE,
        ));
    }
    for (name, kid) in [("a number", json!(1)), ("a list", json!([forge.header()["kid"]]))] {
        cases.push(with(
            format!("kid is {name}"),
            &forge.sign(&but(header.clone(), "kid", kid), &claims),
            FORM,
        ));
    }
    let stranger = crate::forge::Forge::new(
        json!({ "kid": header["kid"], "d": URL_SAFE_NO_PAD.encode([7; 32]) })
            .to_string()
            .as_bytes(),
    );
    cases.push(with(
        "a stranger's key under the right kid",
        &stranger.sign(&header, &claims),
        SIGNATURE,
    ));
    let jwk: Value = serde_json::from_slice(&stranger.public_forms()[2]).unwrap_or_default();
    let carried = but(header.clone(), "jwk", jwk);
    cases.push(with(
        "a stranger's key carried in jwk",
        &stranger.sign(&carried, &claims),
        SIGNATURE,
    ));
    for link in ["jku", "x5u"] {
        let header = but(header.clone(), link, "http://127.0.0.1:1/keys.json".into());
        cases.push(with(
            format!("a stranger's key behind {link}"),
            &stranger.sign(&header, &claims),
            SIGNATURE,
        ));
    }
    let critical = but(header, "crit", json!(["b64"]));
    cases.push(with(
        "an unknown critical extension",
        &forge.sign(&critical, &claims),
        FORM,
    ));
    cases
}

fn claims(fixture: &HostileFixture) -> Vec<Case> {
    let (forge, header, claims) = (
        &fixture.forge,
        fixture.forge.header(),
        fixture.forge.claims(&fixture.own),
    );
    let vts = "1password.com/vts";
    let vault = &fixture.own;
    let changes = [
        ("expired", "exp", json!(now() - 1)),
        ("expiring this second", "exp", json!(now())),
        ("expired in 1970", "exp", json!(0)),
        ("exp negative", "exp", json!(-1)),
        ("exp text", "exp", json!("2999")),
        ("exp beyond all years", "exp", json!(u64::MAX)),
        ("exp a fraction too large", "exp", json!(1e30)),
        ("nbf in an hour", "nbf", json!(now() + 3600)),
        ("iat in an hour", "iat", json!(now() + 3600)),
        ("iat missing", "iat", Value::Null),
        ("iat negative", "iat", json!(-5)),
        ("another aud", "aud", json!(["com.example"])),
        ("aud missing", "aud", Value::Null),
        ("aud empty", "aud", json!([])),
        ("another iss", "iss", json!("com.1password.b5")),
        ("iss missing", "iss", Value::Null),
        ("iss a list of others", "iss", json!(["x", "y"])),
        ("jti missing", "jti", Value::Null),
        ("jti a number", "jti", json!(5)),
        ("vts missing", vts, Value::Null),
        ("vts an object", vts, json!({ "u": vault, "a": 48 })),
        ("vts text", vts, json!(vault)),
        ("vts a list of texts", vts, json!([vault])),
        ("vts without rights", vts, json!([{ "u": vault }])),
        ("vts with a negative right", vts, json!([{ "u": vault, "a": -1 }])),
        ("vts with rights as text", vts, json!([{ "u": vault, "a": "48" }])),
        ("vts with rights as a fraction", vts, json!([{ "u": vault, "a": 48.5 }])),
        ("vts with a star", vts, json!([{ "u": "*", "a": 48 }])),
        ("vts with a path", vts, json!([{ "u": "../..", "a": 48 }])),
    ];
    let mut cases: Vec<Case> = changes
        .into_iter()
        .map(|(name, member, value)| with(name, &forge.sign(&header, &but(claims.clone(), member, value)), FORM))
        .collect();
    for (name, whole) in [
        ("null", Value::Null),
        ("a list", json!([1])),
        ("text", json!("x")),
        ("empty", json!({})),
    ] {
        cases.push(with(format!("claims are {name}"), &forge.sign(&header, &whole), FORM));
    }
    cases
}

fn texts(fixture: &HostileFixture) -> Vec<Case> {
    let (forge, header, claims) = (
        &fixture.forge,
        fixture.forge.header(),
        fixture.forge.claims(&fixture.own),
    );
    let good = forge.sign(&header, &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let others = forge.sign(&header, &but(claims, "jti", "otherotherotherotherother2".into()));
    let mut cases = Vec::new();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    flipped[10] ^= 1;
    let flipped = URL_SAFE_NO_PAD.encode(flipped);
    let of = |bytes: &[u8]| format!("{head}.{payload}.{}", URL_SAFE_NO_PAD.encode(bytes));
    cases.push(with(
        "one bit of the signature flipped",
        &format!("{head}.{payload}.{flipped}"),
        SIGNATURE,
    ));
    cases.push(with("a signature of zeros", &of(&[0; 64]), SIGNATURE));
    cases.push(with("a signature of ones", &of(&[0xff; 64]), SIGNATURE));
    cases.push(with("a short signature", &of(&[1; 63]), SIGNATURE));
    cases.push(with("a long signature", &of(&[1; 65]), SIGNATURE));
    cases.push(with("no signature", &format!("{head}.{payload}."), SIGNATURE));
    let swapped = others.split('.').nth(1).unwrap_or_default();
    cases.push(with(
        "another token's payload",
        &format!("{head}.{swapped}.{signature}"),
        SIGNATURE,
    ));
    cases.push(with("cut at 83", &good[..83], FORM));
    cases.push(with("cut by one", &good[..good.len() - 1], ""));
    cases.push(with("cut after the second dot", &format!("{head}.{payload}"), FORM));
    cases.push(with("five parts", &format!("{good}.x.y"), ""));
    cases.push(with("four parts", &format!("{good}.x"), ""));
    for text in [
        "null",
        "undefined",
        "a.b.c",
        "..",
        ".",
        "{\"a\":1}",
        "%00",
        "../../etc/passwd",
        "' OR 1=1 --",
    ] {
        cases.push(with(format!("the text {text:?}"), text, FORM));
    }
    cases.push(with("a blank within", &format!("{head}. {payload}.{signature}"), ""));
    cases.push(with("padded base64", &format!("{head}.{payload}=.{signature}=="), ""));
    cases.push(with(
        "a header that is not JSON",
        &format!("{}.{payload}.{signature}", STANDARD.encode("hi")),
        FORM,
    ));
    let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"ES256"}"#);
    cases.push(with("alg twice", &format!("{twice}.{payload}.{signature}"), ""));
    cases.push(with("longer than a token can be", &"a".repeat(17_000), FORM));
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(8000));
    cases.push(with(
        "a deeply nested header",
        &format!("{deep}.{payload}.{signature}"),
        FORM,
    ));
    cases
}

fn schemes(fixture: &HostileFixture) -> Vec<Case> {
    let token = &fixture.token;
    let auth = |name: &str, value: &[u8]| {
        case(
            name,
            Request::new("GET", TARGET).header("Authorization", value),
            401,
            FORM,
        )
    };
    vec![
        case("no Authorization", Request::new("GET", TARGET), 401, FORM),
        auth("an empty Authorization", b""),
        auth("Bearer and nothing", b"Bearer"),
        auth("Bearer and a blank", b"Bearer "),
        auth(
            "Basic",
            format!("Basic {}", STANDARD.encode(format!("x:{token}"))).as_bytes(),
        ),
        auth("another scheme", format!("Token {token}").as_bytes()),
        auth("the token alone", token.as_bytes()),
        auth("a tab between", format!("Bearer\t{token}").as_bytes()),
        auth("Bearer twice", format!("Bearer Bearer {token}").as_bytes()),
        auth(
            "two tokens in one header",
            format!("Bearer {token}, Bearer {token}").as_bytes(),
        ),
        auth("not ASCII", "Bearer tökén".as_bytes()),
        auth("not UTF-8", b"Bearer \xff\xfe\x80"),
        case(
            "two Authorization headers, the second good",
            Request::new("GET", TARGET)
                .header("Authorization", "Bearer x")
                .bearer(token),
            401,
            FORM,
        ),
        case(
            "two Authorization headers, the first good",
            Request::new("GET", TARGET)
                .bearer(token)
                .header("Authorization", "Bearer x"),
            401,
            FORM,
        ),
        case(
            "the token in the query",
            Request::new("GET", format!("{TARGET}?access_token={token}")),
            401,
            FORM,
        ),
        case(
            "the token in a cookie",
            Request::new("GET", TARGET).header("Cookie", format!("token={token}")),
            401,
            FORM,
        ),
        case(
            "the token in another header",
            Request::new("GET", TARGET).header("X-Authorization", format!("Bearer {token}")),
            401,
            FORM,
        ),
        case(
            "a NUL in the token",
            Request::new("GET", TARGET).header("Authorization", b"Bearer a\0b"),
            400,
            "",
        ),
        case("no token for activity", Request::new("GET", "/v1/activity"), 401, FORM),
        case("no token for events", Request::new("GET", "/v1/events"), 401, FORM),
        case(
            "no token for a write",
            Request::new("POST", fixture.items()).body("{}"),
            401,
            FORM,
        ),
        case(
            "no token for a delete",
            Request::new("DELETE", fixture.item_path()),
            401,
            FORM,
        ),
        case(
            "no token for a content",
            Request::new("GET", fixture.content()),
            401,
            FORM,
        ),
    ]
}
