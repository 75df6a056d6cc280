//! The `op` command, as its callers call it.

use crate::calls::{Call, check, op, sidevault};
use crate::world::World;

const TOO_FEW: &str = "too few '/': secret references should have at least vault, item and field specified";
const NO_ITEM: &str = "Specify the item with its UUID, name, or domain.";
const NO_VAULT: &str = "Specify the vault with its ID or name.";
const NOT_HERE: &str =
    "can't be had: this is Sidevault's op, which works with a Connect server and not with a 1Password account";

#[test]
fn every_call_prints_what_its_callers_expect() {
    let world = World::start();
    let calls: Vec<Call> = [
        about(),
        read(),
        inject(),
        run(),
        item_get(),
        lists(),
        account(),
        documents(),
        refusals(),
        writes(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(calls.len() >= 120, "{}", calls.len());
    check(&world, &calls);
}

fn about() -> Vec<Call> {
    vec![
        op("--version").out("2.32.0\n"),
        op("-v").out("2.32.0\n"),
        sidevault("op --version").out("2.32.0\n"),
        op("--help").has("independent implementation"),
        op("read --help").has("op read REFERENCE"),
        sidevault("op").has("op inject"),
    ]
}

fn read() -> Vec<Call> {
    vec![
        op("read op://apps/Database/password").out("s3cret\n"),
        op("read --no-newline op://apps/Database/password").out("s3cret"),
        op("read -n op://apps/Database/password").out("s3cret"),
        op("--account me read op://apps/Database/password").out("s3cret\n"),
        op("read op://APPS/database/PASSWORD --account=me --session x").out("s3cret\n"),
        op("read op://{apps}/{Database}/password").out("s3cret\n"),
        op("read op://apps/Database/replica/host").out("db2\n"),
        op("read 'op://apps/Database/only here'").out("yes\n"),
        op("read op://apps/Database/lines").out("one\ntwo\n"),
        op("read op://apps/Database/empty").out("\n"),
        op("read op://apps/Database/code?attribute=type").out("OTP\n"),
        op("read 'op://apps/Database/password?attr=purpose'").out("PASSWORD\n"),
        op("read 'op://apps/web%20%28prod%29/credential'").out("k3y\n"),
        op("read 'op://apps/deploy/private key?ssh-format=openssh'").has("-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        op("read op://files/ca.pem/ca.pem").out("-----BEGIN CERTIFICATE-----\n\n"),
        op("read op://files/blob.bin/blob.bin?attribute=size").out("256\n"),
        op("read -o secret.txt op://apps/Database/password").has("/secret.txt\n"),
        op("read --out-file=secret.txt op://apps/Database/password")
            .fails("secret.txt exists already: --force replaces it"),
        op("read --out-file=secret.txt -f --file-mode 0640 op://apps/Database/username").has("/secret.txt\n"),
        op("read op://apps/none/password").fails(&format!(
            "could not read secret 'op://apps/none/password': could not get item apps/none: \"none\" isn't an item in the \
             \"apps\" vault. {NO_ITEM}"
        )),
        op("read op://none/Database/password").fails(&format!(
            "could not read secret 'op://none/Database/password': could not get item none/Database: \"none\" isn't a vault in \
             this account. {NO_VAULT}"
        )),
        op("read op://apps/Database/none").fails(
            "could not read secret 'op://apps/Database/none': item 'apps/Database' does not have a field 'none'",
        ),
        op("read op://apps/Database/replica/none").fails(
            "could not read secret 'op://apps/Database/replica/none': item 'apps/Database' does not have a field \
             'replica.none'",
        ),
        op("read op://apps/Database/none/host").fails(
            "could not read secret 'op://apps/Database/none/host': item 'apps/Database' does not have a section 'none'; it has \
             Replica, Standby",
        ),
        op("read op://apps/Database/port").fails(
            "could not read secret 'op://apps/Database/port': item 'apps/Database' has 2 fields or files 'port'; name the \
             section, or the id of one of them: r2, r3",
        ),
        op("read op://apps/Twin/password").fails(
            "could not read secret 'op://apps/Twin/password': could not get item apps/Twin: More than one item matches \
             \"Twin\". Try again and specify the item by its ID:\n\t* for the item \"Twin\" in vault apps: {Twin}\n\t* for the \
             item \"Twin\" in vault apps: {Twin 2}",
        ),
        op("read op://apps/Database").fails(&format!(
            "could not read secret 'op://apps/Database': invalid secret reference 'op://apps/Database': {TOO_FEW}"
        )),
        op("read 'op://apps/web (prod)/credential'").fails(
            "could not read secret 'op://apps/web (prod)/credential': invalid secret reference 'op://apps/web \
             (prod)/credential': invalid character in secret reference: '('",
        ),
        op("read op://apps/Database/password").env("OP_CONNECT_TOKEN", "").fails(
            "could not read secret 'op://apps/Database/password': error initializing client: account is not signed in",
        ),
        op("read op://apps/Database/password?attribute=otp").fails(
            "could not read secret 'op://apps/Database/password?attribute=otp': field 'password' of item 'apps/Database' has \
             the type CONCEALED and gives no one-time password",
        ),
        op("read").fails("accepts 1 arg(s), received 0"),
        op("read --nonsense x").fails("unknown flag: --nonsense"),
    ]
}

fn inject() -> Vec<Call> {
    vec![
        op("inject").stdin("password: op://apps/Database/password\n").out("password: s3cret\n"),
        op("inject").stdin("A=op://apps/Database/username\nB=op://apps/Database/host\n").out("A=app\nB=db1\n"),
        op("inject --account me").stdin("x: \"{{ op://apps/Database/only here }}\"\n").out("x: \"yes\"\n"),
        op("inject --in-file=/dev/stdin").stdin("op://apps/Database/password").out("s3cret"),
        op("inject").stdin("no reference, $HOME {{ .Values.x }}\n").out("no reference, $HOME {{ .Values.x }}\n"),
        op("inject").stdin("no server needed").env("OP_CONNECT_TOKEN", "").out("no server needed"),
        op("inject").stdin("op://$VAULT/Database/${WHICH:-username}").env("VAULT", "apps").out("app"),
        op("inject")
            .stdin("postgres://op://apps/Database/username:op://apps/Database/password@db")
            .out("postgres://app:s3cret@db"),
        op("inject -o injected.yaml").stdin("p: op://apps/Database/password").has("/injected.yaml\n"),
        op("inject -i injected.yaml").out("p: s3cret"),
        op("inject -o injected.yaml").stdin("x").fails("injected.yaml exists already: --force replaces it"),
        op("inject -f -o injected.yaml").stdin("x").has("/injected.yaml\n"),
        op("inject").fails("expected data on stdin but none found"),
        op("inject -i none.tpl").fails("none.tpl: No such file or directory (os error 2)"),
        op("inject").stdin("a op://apps/none/password").fails(
            "could not resolve item UUID for item none: could not find item none in vault {apps}",
        ),
        op("inject").stdin("op://none/x/y").fails(&format!("\"none\" isn't a vault in this account. {NO_VAULT}")),
        op("inject").stdin("op://apps/Database/none").fails("item 'apps/Database' does not have a field 'none'"),
        op("inject").stdin("op://apps/x\n").fails(&format!("invalid secret reference 'op://apps/x': {TOO_FEW}")),
        op("inject").stdin("op://apps/Twin/password").fails(
            "could not resolve item UUID for item Twin: More than one item matches \"Twin\". Try again and specify the item by \
             its ID:\n\t* for the item \"Twin\" in vault apps: {Twin}\n\t* for the item \"Twin\" in vault apps: {Twin 2}",
        ),
        op("inject").stdin("op://apps/Database/password").env("OP_CONNECT_TOKEN", "").fails("account is not signed in"),
        op("inject").stdin("op://apps/Database/password").env("OP_CONNECT_TOKEN", "a.b.c").fails(
            "account is not signed in: (401) Unauthorized: Invalid bearer token: {url} does not accept the token",
        ),
    ]
}

fn run() -> Vec<Call> {
    let secret = |call: Call| call.env("SECRET", "op://apps/Database/password");
    vec![
        secret(op("run -- printenv SECRET")).out("<concealed by 1Password>\n"),
        secret(op("run --no-masking -- printenv SECRET")).out("s3cret\n"),
        secret(op("run --no-masking printenv SECRET")).out("s3cret\n"),
        secret(op("run -- printenv SECRET"))
            .env("OP_RUN_NO_MASKING", "true")
            .out("s3cret\n"),
        secret(op("run -- sh -c 'echo x${SECRET}y; exit 3'"))
            .out("x<concealed by 1Password>y\n")
            .ends(3, ""),
        op("run -- sh -c 'exit 4'").ends(4, ""),
        op("run -- true"),
        op("run").fails("a command to run is missing: op run -- COMMAND"),
        op("run -- /no/such/program").fails("/no/such/program: No such file or directory (os error 2)"),
        op("run -- true")
            .env("SECRET", "op://apps/none/x")
            .fails("could not resolve item UUID for item none: could not find item none in vault {apps}"),
        op("run -- true")
            .env("SECRET", "op://apps")
            .fails(&format!("invalid secret reference 'op://apps': {TOO_FEW}")),
        op("run --env-file none.env -- true").fails("none.env: No such file or directory (os error 2)"),
        op("env ls")
            .env("B", "op://apps/x/y")
            .env("A", "op://x")
            .env("C", "plain")
            .out("A\nB\n"),
        op("env ls").out(""),
    ]
}

fn item_get() -> Vec<Call> {
    let hidden = "[use 'op item get {Database} --reveal' to reveal]";
    vec![
        op("item get --format json Database --vault apps")
            .json("/id", "{Database}")
            .json("/title", "Database")
            .json("/vault/name", "apps")
            .json("/vault/id", "{apps}")
            .json("/category", "LOGIN")
            .json("/additional_information", "app")
            .json("/favorite", true)
            .json("/tags/1", "db")
            .json("/urls/0/href", "https://db.example.com")
            .json("/sections/0/label", "Replica")
            .json("/fields/1/value", "s3cret")
            .json("/fields/1/reference", "op://apps/Database/password")
            .json("/fields/3/reference", "op://apps/Database/Replica/host")
            .json("/fields/3/section/label", "Replica")
            .json("/fields/8/reference", "op://apps/Database/odd")
            .json("/fields/1/purpose", "PASSWORD")
            .json("/createdAt", serde_json::Value::Null),
        op("--format json item get {Database}").json("/title", "Database"),
        op("item get Database --format=json --vault={apps}").json("/id", "{Database}"),
        op("item get database --vault APPS").env("OP_FORMAT", "json").json("/title", "Database"),
        op("item get 'web (prod)' --vault apps --format json")
            .json("/fields/0/reference", "op://apps/{web (prod)}/credential"),
        op("item get {Database} --vault=apps --fields=label=username,label=password --format=json")
            .json("/0/value", "app")
            .json("/1/value", "s3cret"),
        op("item get Database --vault apps --fields username --format json").json("/value", "app"),
        op("item get Database --vault apps --fields type=otp --format json").json("/type", "OTP"),
        op("item get Database --vault apps --fields username").out("app\n"),
        op("item get Database --vault apps --fields username,host").out("app,db1,db2\n"),
        op("item get Database --vault apps --fields username,Replica.host").out("app,db2\n"),
        op("item get Database --vault apps --fields password").out(&format!("{hidden}\n")),
        op("item get Database --vault apps --fields password --reveal").out("s3cret\n"),
        op("item get Database --vault apps --fields odd").out("\"a,b \"\"c\"\"\"\n"),
        op("item get Database --vault apps --fields label=lines --reveal").out("\"one\ntwo\"\n"),
        op("item get Database --vault apps --fields none").fails("\"none\" isn't a field in the \"Database\" item"),
        op("item get Database --vault apps --fields type=date").fails("\"type=date\" isn't a field in the \"Database\" item"),
        op("item get Database --vault apps")
            .has("ID:          {Database}\nTitle:       Database\nVault:       apps ({apps})\n")
            .has("Favorite:    true\nTags:        prod, db\nVersion:     1\nCategory:    LOGIN\nFields:\n")
            .has(&format!("  password:    {hidden}\n"))
            .has("Section Replica\n  host:        db2\n")
            .has("URLs:\n  : https://db.example.com (primary)\n"),
        op("item get Database --vault apps --reveal").has("  password:    s3cret\n"),
        op("item get Twin --vault apps --otp").fails(
            "More than one item matches \"Twin\". Try again and specify the item by its ID:\n\t* for the item \"Twin\" in vault \
             apps: {Twin}\n\t* for the item \"Twin\" in vault apps: {Twin 2}",
        ),
        op("item get {Twin} --otp").fails("item \"Twin\" does not have a one-time password field"),
        op("item get none --vault apps").fails(&format!("\"none\" isn't an item in the \"apps\" vault. {NO_ITEM}")),
        op("item get none --format json").fails(&format!("\"none\" isn't an item. {NO_ITEM}")),
        op("item get Database --vault none").fails(&format!("\"none\" isn't a vault in this account. {NO_VAULT}")),
        op("item get - --format json").stdin("[{\"id\":\"{Database}\",\"vault\":{\"id\":\"{apps}\"}}]").json("/title", "Database"),
        op("item get -").stdin("nonsense").fails("standard input is no JSON of items"),
        op("item get -").fails("expected data on stdin but none found"),
        op("item get").fails("accepts 1 arg(s), received 0"),
        op("item get Database --format yaml --vault apps").fails("invalid value for --format: it is human-readable or json"),
    ]
}

fn lists() -> Vec<Call> {
    vec![
        op("vault list --format json")
            .json("/0/name", "apps")
            .json("/0/id", "{apps}")
            .json("/0/items", 5)
            .json("/1/name", "files")
            .json("/0/contentVersion", serde_json::Value::Null),
        op("vault list").has("ID                            NAME\n").has("{apps}    apps\n"),
        op("vault get apps --format=json").json("/id", "{apps}").json("/type", "USER_CREATED"),
        op("vault get {apps}").has("Name:                 apps\n"),
        op("vault get none").fails(&format!("\"none\" isn't a vault in this account. {NO_VAULT}")),
        op("item list --vault apps --format json").json("/0/title", "Database").json("/0/vault/name", "apps").json("/4/title", "deploy"),
        op("item list --vault apps --include-archive --format json").json("/4/title", "deploy"),
        op("item list --vault=apps --tags=db --format=json").json("/0/title", "Database").json("/1", serde_json::Value::Null),
        op("item list --vault apps --tags db,prod --format json").json("/1/title", "web (prod)"),
        op("item list --vault apps --categories 'SSH Key,Login' --format json").json("/1/title", "deploy"),
        op("item list --vault apps --categories API_CREDENTIAL --format json").json("/0/title", "web (prod)"),
        op("item list --vault apps --favorite --format json").json("/0/title", "Database").json("/1", serde_json::Value::Null),
        op("item list --vault apps --categories nonsense --format json").fails(
            "no category \"nonsense\"; there are LOGIN, PASSWORD, API_CREDENTIAL, SERVER, DATABASE, CREDIT_CARD, MEMBERSHIP, \
             PASSPORT, SOFTWARE_LICENSE, OUTDOOR_LICENSE, SECURE_NOTE, WIRELESS_ROUTER, BANK_ACCOUNT, DRIVER_LICENSE, IDENTITY, \
             REWARD_PROGRAM, DOCUMENT, EMAIL_ACCOUNT, SOCIAL_SECURITY_NUMBER, MEDICAL_RECORD, SSH_KEY, CUSTOM",
        ),
        op("item list").has("ID ").has("{deploy}    deploy").has("ca.pem"),
        op("item list --vault none").fails(&format!("\"none\" isn't a vault in this account. {NO_VAULT}")),
    ]
}

fn account() -> Vec<Call> {
    vec![
        op("whoami").has("URL:          {url}\n"),
        op("whoami --format=json")
            .json("/url", "{url}")
            .json("/user_type", "CONNECT"),
        op("whoami")
            .env("OP_CONNECT_TOKEN", "")
            .fails("account is not signed in"),
        op("whoami")
            .env("OP_CONNECT_TOKEN", "a.b.c")
            .fails("account is not signed in"),
        op("account list --format=json").json("/0/url", "{url}"),
        op("account list").has("{url}"),
        op("account list --format json").env("OP_CONNECT_TOKEN", "").out("[]\n"),
        op("account get --account me").has("Type:      CONNECT\n"),
        op("signin --account me --raw").out("connect\n"),
        op("signin").out(""),
        op("signout").out(""),
        op("user get --me").has("CONNECT"),
        op("user get --me --format json").json("/state", "ACTIVE"),
    ]
}

fn documents() -> Vec<Call> {
    vec![
        op("document get ca.pem --vault files").out("-----BEGIN CERTIFICATE-----\n"),
        op("--format json document get ca.pem --vault files").out("-----BEGIN CERTIFICATE-----\n"),
        op("document get ca.pem --vault files -o ca.out").has("/ca.out\n"),
        op("document list --vault files --format json").json("/0/category", "DOCUMENT"),
        op("document get Database --vault apps").fails("item \"Database\" is not a document: it has no file"),
        op("document get none --vault files")
            .fails(&format!("\"none\" isn't an item in the \"files\" vault. {NO_ITEM}")),
    ]
}

fn refusals() -> Vec<Call> {
    vec![
        op("environment read abc").fails(&format!("1Password Environments {NOT_HERE}")),
        op("run --environment abc -- true").fails(&format!("1Password Environments {NOT_HERE}")),
        op("service-account create x").fails(&format!("service accounts {NOT_HERE}")),
        op("account add --address x").fails("unknown flag: --address"),
        op("account forget x").fails(&format!("accounts and biometric unlock {NOT_HERE}")),
        op("user get ann").fails(&format!("users {NOT_HERE}")),
        op("user list").fails(&format!("`op user` {NOT_HERE}")),
        op("group list").fails(&format!("`op group` {NOT_HERE}")),
        op("plugin list").fails(&format!("`op plugin` {NOT_HERE}")),
        op("connect server list")
            .fails("this op does not manage Connect servers: use `sidevault token` and `sidevault vault`"),
        op("vault create x").fails("the Connect API does not change vaults: use `sidevault vault`"),
        op("document create x").fails("the Connect API does not write files: documents come from directory vaults"),
        op("nonsense").fails("unknown command \"nonsense\" for \"op\""),
        op("item share x").fails("unknown command \"item share x\" for \"op\""),
        op("item get --vault").fails("flag needs an argument: --vault"),
    ]
}

fn writes() -> Vec<Call> {
    vec![
        op("item create --vault apps --category=login --title New --tags a,b --url https://x.example username=ann password=one --format=json")
            .json("/title", "New")
            .json("/fields/0/purpose", "USERNAME")
            .json("/fields/1/value", "one")
            .json("/tags/1", "b")
            .json("/urls/0/primary", true),
        op("item edit New --vault apps 'password=two' 'Extra.key[concealed]=k' --format json")
            .json("/fields/1/value", "two")
            .json("/fields/3/section/label", "Extra")
            .json("/version", 2),
        op("item edit New --vault apps 'Extra.key=k2' --format json").json("/fields/3/value", "k2"),
        op("read op://apps/New/Extra/key").out("k2\n"),
        op("item edit New --vault apps 'Extra.key[delete]' --title Newer --format json").json("/title", "Newer").json("/fields/3", serde_json::Value::Null),
        op("item edit Newer --vault apps --favorite=true --format json").json("/favorite", true),
        op("item edit Newer --vault apps --generate-password=letters,digits,20 --fields password").has("Newer"),
        op("item create --vault apps - --format json")
            .stdin("{\"title\":\"Piped\",\"category\":\"API_CREDENTIAL\",\"sections\":[{\"id\":\"s\",\"label\":\"S\"}],\"fields\":[{\"id\":\"k\",\"type\":\"CONCEALED\",\"label\":\"k\",\"value\":\"v\",\"section\":{\"id\":\"s\"}}]}")
            .json("/title", "Piped")
            .json("/fields/0/reference", "op://apps/Piped/S/k"),
        op("item create --vault apps -").fails("expected data on stdin but none found"),
        op("item create --vault apps -").stdin("{").fails("standard input: the body is cut short: its JSON ends at line 1 column 1"),
        op("item create --vault apps --title x a=b").fails("provide the item category with --category, or a template"),
        op("item create --vault apps --category login --title x =b").fails(
            "cannot process assignment of field \"\": it is [section.]field[[type]]=value",
        ),
        op("item create --vault apps --category login --title x 'a[nonsense]=s3cret'").fails(
            "cannot process assignment of field \"a[nonsense]\": it is [section.]field[[type]]=value",
        ),
        op("item create --vault apps --category login --title x 'a[file]=/etc/passwd'").fails("the Connect API does not write files"),
        op("item create --category login --title x a=b").fails("provide the vault with --vault: the token may use several"),
        op("item create --vault files --category login --title x a=b").fails(
            "(403) Authorization: vault {files} is read-only: it mirrors the source \"files\". Change the files of that source",
        ),
        op("item create --vault apps --category login --title x --dry-run a=b").fails(
            "--dry-run can't be had: the server decides what an item becomes",
        ),
        op("item delete Newer --vault apps --archive").fails(
            "the Connect API can't archive items; without --archive the item is deleted",
        ),
        op("item delete Newer --vault apps").out(""),
        op("item delete Newer --vault apps").fails(&format!("\"Newer\" isn't an item in the \"apps\" vault. {NO_ITEM}")),
        op("item delete Piped --vault {apps}").out(""),
    ]
}
