-- The tables of ../sqlite/0001_store.sql, which says what each column means, with PostgreSQL's types. Texts are ids and words,
-- which are compared by their bytes. Sealed values are encrypted and can't be compressed: PostgreSQL need not try (EXTERNAL).

CREATE TABLE store (
    one         BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    state       TEXT   NOT NULL,
    written_at  BIGINT NOT NULL,
    unwiped     BIGINT NOT NULL DEFAULT 0,
    min_version BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE vaults (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed            BYTEA            NOT NULL,
    attribute_version BIGINT           NOT NULL,
    content_version   BIGINT           NOT NULL,
    items             BIGINT           NOT NULL,
    created_at        BIGINT           NOT NULL,
    updated_at        BIGINT           NOT NULL
);

CREATE TABLE vault_keys (
    vault_id   TEXT COLLATE "C" NOT NULL,
    key_id     BIGINT           NOT NULL,
    purpose    TEXT             NOT NULL,
    wrapped    BYTEA            NOT NULL,
    seals      BIGINT           NOT NULL,
    created_at BIGINT           NOT NULL,
    PRIMARY KEY (vault_id, key_id)
);

CREATE TABLE retired_vault_ids (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    source TEXT             NOT NULL
);

CREATE TABLE items (
    vault_id   TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    state      TEXT,
    title_hash BYTEA            NOT NULL,
    path_hash  BYTEA,
    origin     TEXT COLLATE "C",
    commit_id  TEXT COLLATE "C",
    commit_at  BIGINT,
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    summary    BYTEA            NOT NULL,
    detail     BYTEA            NOT NULL,
    PRIMARY KEY (vault_id, id)
);
ALTER TABLE items ALTER COLUMN summary SET STORAGE EXTERNAL, ALTER COLUMN detail SET STORAGE EXTERNAL;
CREATE INDEX items_by_title ON items (vault_id, title_hash, created_at, id);
CREATE INDEX items_by_path ON items (vault_id, path_hash) WHERE path_hash IS NOT NULL;
CREATE INDEX items_in_order ON items (vault_id, created_at, id);
CREATE INDEX items_by_origin ON items (vault_id, origin);

CREATE TABLE item_versions (
    vault_id   TEXT COLLATE "C" NOT NULL,
    item_id    TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    commit_id  TEXT COLLATE "C",
    commit_at  BIGINT,
    detail     BYTEA            NOT NULL,
    PRIMARY KEY (vault_id, item_id, version)
);
ALTER TABLE item_versions ALTER COLUMN detail SET STORAGE EXTERNAL;

CREATE TABLE files (
    vault_id   TEXT COLLATE "C" NOT NULL,
    item_id    TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    content_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (vault_id, item_id, id)
);
CREATE INDEX files_by_content ON files (content_id);
CREATE TABLE file_chunks (
    content_id TEXT COLLATE "C" NOT NULL,
    n          BIGINT           NOT NULL,
    sealed     BYTEA            NOT NULL,
    PRIMARY KEY (content_id, n)
);
ALTER TABLE file_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE changes (
    seq              BIGINT           NOT NULL PRIMARY KEY,
    at               BIGINT           NOT NULL,
    kind             TEXT             NOT NULL,
    vault_id         TEXT COLLATE "C" NOT NULL,
    item_id          TEXT COLLATE "C" NOT NULL,
    version          BIGINT           NOT NULL,
    title_hash       BYTEA,
    other_title_hash BYTEA,
    path_hash        BYTEA,
    commit_id        TEXT COLLATE "C",
    commit_at        BIGINT
);

CREATE TABLE activity (
    seq      BIGINT           NOT NULL PRIMARY KEY,
    handover BIGINT           NOT NULL,
    vault_id TEXT COLLATE "C" NOT NULL,
    token    BYTEA            NOT NULL,
    kind     BIGINT           NOT NULL,
    records  BIGINT           NOT NULL,
    bytes    BIGINT           NOT NULL,
    sealed   BYTEA            NOT NULL
);
ALTER TABLE activity ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX activity_by_vault ON activity (vault_id, handover);
CREATE INDEX activity_by_share ON activity (token, vault_id, kind, seq, bytes);

CREATE TABLE tokens (
    jti        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed     BYTEA            NOT NULL,
    revoked_at BIGINT
);
