//! Every kind of age key: files that the real sops encrypted to it must open with it.

use std::os::unix::fs::PermissionsExt as _;

use sidevault_sops::{Format, Identities, SopsError, read};

use crate::first_json;
use crate::tools::World;

/// Encrypts a file to these recipients.
fn sealed(world: &World, recipients: &str) -> Vec<u8> {
    world.encrypt("a.yaml", b"a: 1\n", &[&format!("age: '{recipients}'")])
}

fn opens(sealed: &[u8], identities: &Identities) {
    assert_eq!(
        first_json(&read(Format::Yaml, sealed, identities).unwrap()),
        r#"{"a":1}"#
    );
}

fn parsed(keys: &str) -> Identities {
    let (identities, unusable) = Identities::parse(keys.as_bytes(), None);
    assert_eq!(unusable, []);
    identities
}

#[test]
fn post_quantum_keys_open_what_sops_encrypts_to_them() {
    let Some(world) = World::new(1) else { return };
    for _ in 0..10 {
        let (key, recipient) = world.post_quantum_key();
        let identities = parsed(&key);
        assert_eq!(identities.recipients(), [recipient.as_str()]);
        opens(&sealed(&world, &recipient), &identities);
        // Both kinds in one file, and either key opens it.
        let both = sealed(&world, &format!("{recipient},{}", world.recipient(0)));
        opens(&both, &identities);
        opens(&both, &world.identities(&[0]));
        let other = parsed(&world.post_quantum_key().0);
        let error = read(Format::Yaml, &both, &other).unwrap_err();
        assert!(matches!(error, SopsError::NoMatchingIdentity { .. }), "{error}");
        let told = error.to_string();
        assert!(
            told.contains("age1pq1") && told.len() < 600,
            "{} bytes: {told}",
            told.len()
        );
    }
}

#[test]
fn a_key_file_that_age_encrypted_with_a_passphrase_opens() {
    let Some(world) = World::new(1) else { return };
    let (key, recipient) = world.post_quantum_key();
    std::fs::write(world.home().join("keys.txt"), &key).unwrap();
    // The plugin of age's own distribution is not needed: age asks on a terminal, which `script` gives it.
    let typed = "printf 'open sesame\\nopen sesame\\n' | script -qec 'age -p -a -o protected keys.txt' /dev/null";
    let output = world.run("sh", &["-c", typed]);
    let Ok(protected) = std::fs::read(world.home().join("protected")) else {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: age could not be given a passphrase: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        return;
    };
    let (identities, unusable) = Identities::parse(&protected, Some("open sesame"));
    assert_eq!(unusable, []);
    opens(&sealed(&world, &recipient), &identities);
}

#[test]
fn ssh_keys_open_what_sops_encrypts_to_them() {
    let Some(world) = World::new(1) else { return };
    for (name, kind, passphrase) in [
        ("ed", &["-t", "ed25519"][..], None),
        ("ed-locked", &["-t", "ed25519"], Some("long enough")),
        ("rsa", &["-t", "rsa", "-b", "2048"], None),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"], None),
    ] {
        let arguments = [
            kind,
            &[
                "-q",
                "-a",
                "1",
                "-N",
                passphrase.unwrap_or(""),
                "-C",
                "me@host",
                "-f",
                name,
            ],
        ]
        .concat();
        let output = world.run("ssh-keygen", &arguments);
        if !output.status.success() {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "SKIPPED: ssh-keygen is missing");
            return;
        }
        let key = std::fs::read(world.home().join(name)).unwrap();
        let public = std::fs::read_to_string(world.home().join(format!("{name}.pub"))).unwrap();
        let public = public.trim().trim_end_matches(" me@host");
        let sealed = sealed(&world, public);
        let (identities, unusable) = Identities::parse(&key, passphrase);
        assert_eq!(unusable, [], "{name}");
        assert_eq!(identities.recipients(), [public], "{name}");
        opens(&sealed, &identities);
        if passphrase.is_some() {
            for (given, word) in [
                (None, "SIDEVAULT_AGE_PASSPHRASE_FILE"),
                (Some("no"), "does not decrypt this SSH key"),
            ] {
                let (identities, unusable) = Identities::parse(&key, given);
                assert!(
                    identities.is_empty() && unusable[0].to_string().contains(word),
                    "{unusable:?}"
                );
            }
        }
    }
}

/// An age plugin that hides nothing: its stanza has the file key itself.
const PLUGIN: &str = r#"#!/bin/sh
body=
while read -r line; do
    case $line in
    "-> wrap-file-key"*) read -r body ;;
    "-> recipient-stanza 0 sidetest"*) read -r body ;;
    "-> done"*) read -r _; break ;;
    esac
done
case $1 in
*recipient-v1) printf -- '-> recipient-stanza 0 sidetest\n%s\n' "$body" ;;
*identity-v1) [ -z "$body" ] || printf -- '-> file-key 0\n%s\n' "$body" ;;
esac
[ -z "$body" ] || { read -r _; read -r _; }
printf -- '-> done\n\n'
"#;

/// The half of [`a_plugins_program_opens_what_sops_encrypts_to_its_recipient`] that needs a `PATH` of its own.
#[test]
fn in_a_process_with_the_plugin_on_its_path() {
    let Some(home) = std::env::var_os("SIDEVAULT_PLUGIN_HOME").map(std::path::PathBuf::from) else {
        return;
    };
    let identities = parsed(&std::fs::read_to_string(home.join("identity")).unwrap());
    opens(&std::fs::read(home.join("sealed.yaml")).unwrap(), &identities);
    println!("opened through the plugin");
}

#[test]
fn a_plugins_program_opens_what_sops_encrypts_to_its_recipient() {
    let Some(world) = World::new(1) else { return };
    let program = world.home().join("age-plugin-sidetest");
    std::fs::write(&program, PLUGIN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bech32 = |prefix: &str| age_core::primitives::bech32_encode(bech32::Hrp::parse_unchecked(prefix), &[1, 2, 3]);
    let (recipient, identity) = (bech32("age1sidetest"), bech32("age-plugin-sidetest-").to_uppercase());
    let sealed = sealed(&world, &recipient);
    // The plugin is looked for on this process's PATH, which a test can't change while others run. So another process of this
    // program opens the file.
    std::fs::write(world.home().join("sealed.yaml"), &sealed).unwrap();
    std::fs::write(world.home().join("identity"), &identity).unwrap();
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this)
        .args([
            "--exact",
            "keys::in_a_process_with_the_plugin_on_its_path",
            "--nocapture",
        ])
        .env("SIDEVAULT_PLUGIN_HOME", world.home())
        .env("PATH", format!("{}:/usr/bin:/bin", world.home().display()))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("opened through the plugin"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (without, unusable) = Identities::parse(identity.as_bytes(), None);
    assert!(without.is_empty());
    let told = unusable[0].to_string();
    assert!(told.contains("age-plugin-sidetest is not on the PATH"), "{told}");
    let error = read(Format::Yaml, &sealed, &world.identities(&[0]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("(a key of an age plugin)"), "{error}");
}
