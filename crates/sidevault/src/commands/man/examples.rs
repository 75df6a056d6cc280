//! Examples for the manual pages of commands whose `--help` has none. A test parses each of them.

/// The examples of a command's page, by the page's name: what to type, and what it does. Empty without any.
pub(super) fn of(page: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES
        .iter()
        .find(|(name, _)| *name == page)
        .map_or(&[], |(_, examples)| examples)
}

type Examples = &'static [(&'static str, &'static str)];

/// By page, in alphabetical order.
pub(super) const EXAMPLES: &[(&str, Examples)] = &[
    (
        "sidevault-api",
        &[(
            "sidevault api",
            "serves reads on port 8080, and listens for sync on port 11220",
        )],
    ),
    (
        "sidevault-backup-list",
        &[(
            "sidevault backup list s3://backups/home",
            "lists the backups in a bucket, oldest first",
        )],
    ),
    (
        "sidevault-backup-verify",
        &[(
            "sidevault backup verify /backups",
            "checks the newest backup in a directory, and what was backed up continuously since",
        )],
    ),
    (
        "sidevault-document",
        &[(
            "sidevault document get ca.pem --vault infra",
            "prints the file of an item",
        )],
    ),
    (
        "sidevault-document-get",
        &[
            (
                "sidevault document get ca.pem --vault infra",
                "prints the file of an item",
            ),
            (
                "sidevault document get tls --vault infra --file tls.key -o tls.key",
                "writes one of several files",
            ),
        ],
    ),
    (
        "sidevault-init",
        &[(
            "sidevault init --out keys",
            "makes the credentials of a new server, and the issuer of its tokens",
        )],
    ),
    (
        "sidevault-item",
        &[
            ("sidevault item list --vault apps", "lists the items of a vault"),
            (
                "sidevault item get db --vault apps --field password",
                "prints one value and nothing else",
            ),
        ],
    ),
    (
        "sidevault-item-create",
        &[
            (
                "sidevault item create --vault apps --title db --field username=app --field password=-",
                "makes an item; reads the password from standard input",
            ),
            (
                "sidevault item create --vault apps --title db --field password[generate]=letters,digits,32",
                "makes an item with a new password",
            ),
            (
                "sidevault item create --vault apps --from-file item.json",
                "makes an item from JSON",
            ),
        ],
    ),
    (
        "sidevault-item-delete",
        &[(
            "sidevault item delete db --vault apps --yes",
            "deletes an item without asking",
        )],
    ),
    (
        "sidevault-item-edit",
        &[
            (
                "sidevault item edit db --vault apps --field replica.host=db2",
                "sets a field in a section",
            ),
            (
                "sidevault item edit db --vault apps --field tls\\.key=@tls.key",
                "sets a field to a file's content",
            ),
            (
                "sidevault item edit db --vault apps --field code[delete]=",
                "removes a field",
            ),
        ],
    ),
    (
        "sidevault-item-get",
        &[
            (
                "sidevault item get db --vault apps",
                "shows an item; concealed values are masked",
            ),
            (
                "sidevault item get db --vault apps --field replica.host",
                "prints one value and nothing else",
            ),
            (
                "sidevault item get db --vault apps --otp",
                "prints the current one-time password",
            ),
        ],
    ),
    (
        "sidevault-item-history",
        &[(
            "sidevault item history db --vault apps",
            "lists the versions of an item",
        )],
    ),
    (
        "sidevault-item-list",
        &[(
            "sidevault item list --vault apps --tag prod --category login",
            "lists the logins that have a tag",
        )],
    ),
    (
        "sidevault-item-restore",
        &[(
            "sidevault item restore db --vault apps --version 3",
            "makes a new version with an earlier content",
        )],
    ),
    (
        "sidevault-keys",
        &[(
            "sidevault keys status",
            "shows which keys are in use, and how old they are",
        )],
    ),
    (
        "sidevault-keys-rotate",
        &[
            (
                "sidevault keys rotate root --out keys/both.json",
                "begins to replace the root key",
            ),
            (
                "sidevault keys rotate data",
                "replaces the keys that seal the rows of the store",
            ),
        ],
    ),
    (
        "sidevault-keys-status",
        &[(
            "sidevault keys status --json",
            "shows fingerprints and ages of the keys, for programs",
        )],
    ),
    (
        "sidevault-man",
        &[(
            "sidevault man --out man",
            "writes the page of each command into a directory",
        )],
    ),
    (
        "sidevault-migrate",
        &[(
            "sidevault migrate k8s -n database --vault apps --plan",
            "shows what would become an item",
        )],
    ),
    (
        "sidevault-op",
        &[
            ("sidevault op read op://apps/db/password", "does what `op read` does"),
            (
                "sidevault op item get db --vault apps --format json",
                "prints an item in the JSON of `op`",
            ),
        ],
    ),
    (
        "sidevault-operator",
        &[
            (
                "sidevault operator --namespace apps",
                "follows one namespace of the cluster that KUBECONFIG names",
            ),
            (
                "sidevault operator --default-store ClusterSecretStore/connect",
                "serves ExternalSecrets that name no store",
            ),
        ],
    ),
    (
        "sidevault-sops",
        &[("sidevault sops check", "compares the files here with .sops.yaml")],
    ),
    (
        "sidevault-source",
        &[(
            "sidevault source preview secrets",
            "shows which items the files of a directory become",
        )],
    ),
    (
        "sidevault-source-preview",
        &[
            (
                "sidevault source preview git=secrets --age-key-file age-key.txt",
                "shows the items; those of the files at the top are in the vault git",
            ),
            (
                "sidevault source preview secrets --strict",
                "fails if a file can't be served, before a commit",
            ),
        ],
    ),
    (
        "sidevault-store",
        &[("sidevault store check", "checks the database that holds everything")],
    ),
    (
        "sidevault-store-check",
        &[("sidevault store check", "decrypts every row of the store")],
    ),
    (
        "sidevault-store-init",
        &[("sidevault store init", "makes an empty store")],
    ),
    (
        "sidevault-store-migrate",
        &[(
            "sidevault store migrate",
            "brings the store to the form that this version reads",
        )],
    ),
    (
        "sidevault-sync",
        &[
            (
                "sidevault sync --vault apps",
                "has a local vault, and carries out the writes of apis",
            ),
            (
                "sidevault sync --dir secrets --git infra=https://git.example.com/infra.git#main:secrets",
                "serves the files of a directory, and of a directory in a repository",
            ),
            (
                "sidevault sync --vault apps --backup-to /backups --backup-continuous --backup-every 1d --backup-keep 7d",
                "makes a backup every day, and backs up every change within about a second",
            ),
        ],
    ),
    (
        "sidevault-token",
        &[
            (
                "sidevault token create ci --vault apps=read --expires 90d --out ci.token",
                "makes a token",
            ),
            ("sidevault token list", "shows the tokens, and what each of them may do"),
        ],
    ),
    (
        "sidevault-token-inspect",
        &[(
            "sidevault token inspect -",
            "shows what a token on standard input grants, and whether it is valid",
        )],
    ),
    (
        "sidevault-token-list",
        &[("sidevault token list --json", "shows the tokens, for programs")],
    ),
    (
        "sidevault-token-revoke",
        &[(
            "sidevault token revoke ci",
            "makes the server refuse a token from now on",
        )],
    ),
    (
        "sidevault-token-revoked",
        &[(
            "sidevault token revoked --out revoked-tokens",
            "writes the revocation list into a file",
        )],
    ),
    (
        "sidevault-vault",
        &[("sidevault vault create apps", "makes a local vault")],
    ),
    (
        "sidevault-vault-create",
        &[("sidevault vault create apps", "makes a local vault")],
    ),
    (
        "sidevault-vault-delete",
        &[(
            "sidevault vault delete apps --yes",
            "deletes a vault with its items, without asking",
        )],
    ),
    (
        "sidevault-vault-list",
        &[("sidevault vault list --json", "shows the vaults, for programs")],
    ),
    (
        "sidevault-vault-rename",
        &[(
            "sidevault vault rename apps services",
            "gives a vault another name; its id stays",
        )],
    ),
    (
        "sidevault-verify",
        &[(
            "sidevault verify export.1pux",
            "compares an export with what the server returns",
        )],
    ),
];
