//! `sidevault read`, `run`, `inject`, `document` and the options of `item`.

use crate::calls::{Call, check, sidevault};
use crate::world::World;

#[test]
fn every_command_prints_values_and_its_errors_have_their_exit_status() {
    let world = World::start();
    std::fs::write(
        world.directory().join("one.env"),
        "# one\nA=op://apps/Database/host\nB='plain'\n",
    )
    .expect("a file");
    std::fs::write(
        world.directory().join("two.env"),
        "A=op://apps/Database/Replica/host\nURL=\"postgres://op://apps/$ITEM/username@x\"\n",
    )
    .expect("a file");
    std::fs::write(world.directory().join("bad.env"), "A=1\ns3cret\n").expect("a file");
    std::fs::write(world.directory().join("token"), &world.token).expect("a file");
    let large = std::fs::File::create(world.directory().join("large.yaml")).expect("a file");
    large.set_len((64 << 20) + 1).expect("a longer file");
    let calls: Vec<Call> = [read(), inject(), run(), item_and_document()]
        .into_iter()
        .flatten()
        .collect();
    check(&world, &calls);
}

fn read() -> Vec<Call> {
    vec![
        sidevault("read op://apps/Database/password").out("s3cret\n"),
        sidevault("read -n op://apps/Database/password").out("s3cret"),
        sidevault("read op://apps/Database/password --host {url} --token-file token")
            .env("OP_CONNECT_HOST", "")
            .env("OP_CONNECT_TOKEN", "")
            .out("s3cret\n"),
        sidevault("read -o out.txt op://apps/Database/password").out(""),
        sidevault("read -o out.txt op://apps/Database/password").ends(5, "out.txt exists already: --force replaces it"),
        sidevault("read -f -o out.txt op://apps/Database/password").out(""),
        sidevault("read op://apps/Database").ends(
            2,
            "invalid secret reference 'op://apps/Database': too few '/': secret references should have at least vault, item and \
             field specified",
        ),
        sidevault("read op://none/Database/x").ends(
            3,
            "op://none/Database/x: no vault that this token may read has the name or id \"none\"",
        ),
        sidevault("read op://apps/none/x")
            .ends(3, "op://apps/none/x: vault \"apps\" has no item with the title or id \"none\""),
        sidevault("read op://apps/Database/none").ends(
            3,
            "op://apps/Database/none: item 'apps/Database' does not have a field 'none'; it has username, password, host, host, \
             port, port, only here, code, odd, \"one\", lines and 2 more",
        ),
        sidevault("read op://apps/Twin/password").ends(
            5,
            "op://apps/Twin/password: 2 items of vault \"apps\" have the title \"Twin\"; use the id of one of them: {Twin}, \
             {Twin 2}",
        ),
        sidevault("read op://apps/Database/password?ssh-format=openssh").ends(
            1,
            "op://apps/Database/password?ssh-format=openssh: field 'password' of item 'apps/Database' can't be written in \
             OpenSSH's format: it is not a private key in PEM (PKCS#8)",
        ),
        sidevault("read op://apps/Database/password").env("OP_CONNECT_HOST", "http://127.0.0.1:1").ends(
            6,
            "http://127.0.0.1:1 can't be reached: connection refused; no server listens on this port",
        ),
    ]
}

fn inject() -> Vec<Call> {
    vec![
        sidevault("inject")
            .stdin("a: op://apps/Database/password\n")
            .out("a: s3cret\n"),
        sidevault("inject").stdin("{{ \"op://literal\" }}").out("op://literal"),
        sidevault("inject -o made.yaml")
            .stdin("op://apps/Database/username")
            .out(""),
        sidevault("inject -i made.yaml").out("app"),
        sidevault("inject -o made.yaml")
            .stdin("x")
            .ends(5, "made.yaml exists already: --force replaces it"),
        sidevault("inject -o never.yaml")
            .stdin("op://apps/Database/username op://apps/none/x")
            .ends(
                3,
                "op://apps/none/x: vault \"apps\" has no item with the title or id \"none\"",
            ),
        sidevault("inject -i large.yaml").ends(1, "large.yaml: it has more than 67108864 bytes, which is the limit"),
        sidevault("inject -i never.yaml").ends(1, "never.yaml: No such file or directory (os error 2)"),
        sidevault("inject").stdin("op://$NONE/x/y").ends(
            2,
            "the variable NONE in a secret reference is not set, and has no default: ${NONE:-default}",
        ),
    ]
}

fn run() -> Vec<Call> {
    let secret = |call: Call| call.env("SECRET", "op://apps/Database/password");
    vec![
        secret(sidevault("run -- printenv SECRET")).out("<concealed by Sidevault>\n"),
        secret(sidevault("run --no-masking -- printenv SECRET")).out("s3cret\n"),
        sidevault("run --env-file one.env --no-masking -- printenv A").out("db1\n"),
        sidevault("run --env-file one.env --env-file two.env --no-masking -- sh -c 'echo $A $B $URL'")
            .env("ITEM", "Database")
            .out("db2 plain postgres://app@x\n"),
        sidevault("run --env-file one.env --no-masking -- printenv A")
            .env("A", "op://apps/Database/password")
            .out("db1\n"),
        sidevault("run --env-file bad.env -- true").ends(1, "bad.env: line 2: it has no `=`"),
        sidevault("run --env-file one.env -- printenv B").out("plain\n"),
        secret(sidevault("run -- sh -c 'exit 7'")).ends(7, ""),
        secret(sidevault("run -- sh -c 'kill -TERM $$'")).ends(143, ""),
        secret(sidevault("run -- /no/such")).ends(127, "/no/such: No such file or directory (os error 2)"),
        secret(sidevault("run -- /etc/passwd")).ends(126, "/etc/passwd: Permission denied (os error 13)"),
        secret(sidevault("run -- cat"))
            .stdin("input s3cret\n")
            .out("input <concealed by Sidevault>\n"),
        sidevault("run -- true").env("X", "op://apps/none/x").ends(
            3,
            "op://apps/none/x: vault \"apps\" has no item with the title or id \"none\"",
        ),
    ]
}

fn item_and_document() -> Vec<Call> {
    vec![
        sidevault("item get Database --vault apps --field Replica.host").out("db2\n"),
        sidevault("item get Database --vault apps --token-file token --host {url} --field username").out("app\n"),
        sidevault("item get deploy --vault apps --otp")
            .ends(3, "item {deploy} \"deploy\" has no field with one-time passwords"),
        sidevault("item list --vault apps --category 'ssh key' --json").json("/0/title", "deploy"),
        sidevault("document get ca.pem --vault files").out("-----BEGIN CERTIFICATE-----\n"),
        sidevault("document get ca.pem --vault files --file none")
            .ends(3, "item {ca.pem} \"ca.pem\" has no such file; it has ca.pem"),
        sidevault("document get Database --vault apps").ends(3, "item {Database} \"Database\" has no files"),
        sidevault("document get ca.pem --vault files -o ca.pem --file-mode 644").out(""),
    ]
}
