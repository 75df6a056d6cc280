// Programs that run `op`, or that take its place when they know a Connect server: varlock, fnox, chezmoi, and 1Password's action for
// GitHub. The last two are in no registry.
"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");

const modules = process.env.NODE_PATH;
const host = process.env.OP_CONNECT_HOST;
const token = process.env.OP_CONNECT_TOKEN;

function directory(name, files) {
    const made = path.resolve(name);
    for (const [file, text] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(made, file)), { recursive: true });
        fs.writeFileSync(path.join(made, file), text);
    }
    return made;
}

function run(program, args, options) {
    const done = spawnSync(program, args, { encoding: "utf8", ...options });
    assert.equal(done.error, undefined);
    return done;
}

const SECRETS = `# ---
DB_PASSWORD=op(op://secrets/postgres-database/password)
DB_USER=op(op://secrets/postgres-database/username)
MISSING=fallback(op(op://secrets/none/x, allowMissing=true), "default")
`;

function varlock(init, environment) {
    const cwd = directory("varlock", {
        "package.json": '{"name":"app","private":true}',
        ".env.schema": `# @plugin(@varlock/1password-plugin)\n# @initOp(${init})\n${SECRETS}`,
    });
    fs.rmSync(path.join(cwd, "node_modules"), { force: true });
    fs.symlinkSync(modules, path.join(cwd, "node_modules"));
    const env = { PATH: process.env.PATH, VARLOCK_TELEMETRY_DISABLED: "true", ...environment };
    const done = run(path.join(modules, ".bin/varlock"), ["load", "--format", "json"], { cwd, env });
    assert.equal(done.status, 0, done.stdout + done.stderr);
    const { DB_PASSWORD, DB_USER, MISSING } = JSON.parse(done.stdout);
    assert.deepEqual([DB_PASSWORD, DB_USER, MISSING], ["s3cr3t-pg", "app", "default"]);
}

// A home directory whose last quickstart is the server.
function quickstart() {
    return directory("home", {
        ".local/share/sidevault/quickstart.url": host,
        ".local/share/sidevault/quickstart.token": token,
    });
}

test("varlock reads through op, which it gives no variables of a server", () => {
    varlock("allowAppAuth=true, account=acmeco", { HOME: quickstart() });
});

test("varlock reads from the server", () => {
    varlock(`connectHost="${host}", connectToken="${token}"`, { HOME: directory("empty", { x: "" }) });
});

test("fnox reads one secret, and many at once", () => {
    const cwd = directory("fnox", {
        "fnox.toml": `[providers.op]
type = "1password"
vault = "secrets"
[secrets]
DB_PASSWORD = { provider = "op", value = "postgres-database/password" }
DB_USER = { provider = "op", value = "op://secrets/postgres-database/username" }
`,
    });
    const fnox = (...args) => {
        const done = run("fnox", args, { cwd });
        assert.equal(done.status, 0, done.stdout + done.stderr);
        return done.stdout.trim();
    };
    assert.equal(fnox("get", "DB_PASSWORD"), "s3cr3t-pg");
    assert.equal(fnox("exec", "--", "sh", "-c", "echo $DB_PASSWORD $DB_USER"), "s3cr3t-pg app");
});

const action = process.env.SIDEVAULT_LOAD_SECRETS_ACTION;
test("1Password's load-secrets-action", { skip: !action && "SIDEVAULT_LOAD_SECRETS_ACTION names no copy of it" }, () => {
    const cwd = directory("action", { env: "", output: "" });
    const load = (reference) =>
        run(process.execPath, [path.join(action, "dist/index.js")], {
            cwd,
            env: {
                ...process.env,
                DB_PASSWORD: reference,
                "INPUT_EXPORT-ENV": "true",
                "INPUT_UNSET-PREVIOUS": "false",
                INPUT_VERSION: "latest",
                GITHUB_ENV: path.join(cwd, "env"),
                GITHUB_OUTPUT: path.join(cwd, "output"),
            },
        });
    const done = load("op://secrets/postgres-database/password");
    assert.equal(done.status, 0, done.stdout + done.stderr);
    assert.match(done.stdout, /::add-mask::s3cr3t-pg/);
    assert.match(fs.readFileSync(path.join(cwd, "env"), "utf8"), /^DB_PASSWORD<<.*\ns3cr3t-pg\n/);
    const failed = load("op://secrets/none/password");
    assert.equal(failed.status, 1);
    assert.match(failed.stdout, /::error::could not read secret 'op:\/\/secrets\/none\/password'/);
});

const chezmoi = process.env.SIDEVAULT_CHEZMOI;
test("chezmoi's templates", { skip: !chezmoi && "SIDEVAULT_CHEZMOI names no chezmoi" }, () => {
    const template = (env, text) => {
        const done = run(chezmoi, ["execute-template", text], { env });
        assert.equal(done.status, 0, done.stdout + done.stderr);
        return done.stdout;
    };
    const connect = directory("connect", { ".config/chezmoi/chezmoi.toml": '[onepassword]\nmode = "connect"\n' });
    const environments = [
        { ...process.env, HOME: connect },
        // Without the mode chezmoi signs in, and refuses the variables of a server.
        { PATH: process.env.PATH, HOME: quickstart() },
    ];
    for (const env of environments) {
        assert.equal(template(env, '{{ onepasswordRead "op://secrets/postgres-database/password" }}'), "s3cr3t-pg");
        assert.equal(template(env, '{{ (onepassword "postgres-database" "secrets").title }}'), "postgres-database");
        const field = '(index (onepasswordDetailsFields "postgres-database" "secrets") "password").value';
        assert.equal(template(env, `{{ ${field} }}`), "s3cr3t-pg");
    }
    assert.equal(template(environments[1], '{{ onepasswordDocument "blob.bin" "secrets" | len }}'), "256");
});
