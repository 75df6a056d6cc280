-- Everything that people would call content is sealed (AES-256-GCM) before it is written here. Plain are only ids (also of
-- Git commits), versions, states, times, and numbers that order or count rows. Plain columns that reads of items and tokens go by
-- are part of the seal's associated data: a row in which one of them was changed can't be decrypted.
-- Times are Unix milliseconds. The same tables exist in PostgreSQL: ../postgres.

-- One row.
CREATE TABLE store (
    one         BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    state       TEXT   NOT NULL,                 -- complete, incomplete copy, or replica (of a store in PostgreSQL)
    written_at  BIGINT NOT NULL,                 -- when a writer last checked that it can write
    unwiped     BIGINT NOT NULL DEFAULT 0,       -- 1: the write-ahead log may hold keys of a deleted vault
    min_version BIGINT NOT NULL DEFAULT 0        -- a changed item gets at least this version: higher than any before a restore
);

CREATE TABLE vaults (
    id                TEXT   NOT NULL PRIMARY KEY,
    sealed            BLOB   NOT NULL,           -- name, description, and the source that the vault comes from
    attribute_version BIGINT NOT NULL,
    content_version   BIGINT NOT NULL,
    items             BIGINT NOT NULL,           -- the number of active items
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL
);

-- The keys of each vault, wrapped with the key-encryption key of the credentials file. The vault id '' is the store itself.
CREATE TABLE vault_keys (
    vault_id   TEXT   NOT NULL,
    key_id     BIGINT NOT NULL,
    purpose    TEXT   NOT NULL,                  -- 'seal' or 'index'
    wrapped    BLOB   NOT NULL,
    seals      BIGINT NOT NULL,                  -- how often this key has sealed
    created_at BIGINT NOT NULL,
    PRIMARY KEY (vault_id, key_id)
);

-- Ids that were computed from the name of a vault that was since renamed or deleted. No new local vault gets such an id, and
-- tokens that were made by the name do not open a vault that has it: docs/tokens.md, "What a token opens".
CREATE TABLE retired_vault_ids (
    id     TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL                         -- 'local': retired for ever. Else the directory source whose vault had the
);                                               -- id: a directory of the same name gets the id again.

CREATE TABLE items (
    vault_id   TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    state      TEXT,                             -- NULL: active
    title_hash BLOB   NOT NULL,                  -- HMAC-SHA-256 of the folded title under the vault's index key
    path_hash  BLOB,                             -- the same of the path of the source file; NULL: local
    origin     TEXT,                             -- keyed hash of the source file that the item comes from; NULL: local
    commit_id  TEXT,                             -- the Git commit that this version comes from; NULL: none
    commit_at  BIGINT,                           -- when it was committed
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    summary    BLOB   NOT NULL,                  -- sealed: the item as an entry of a list
    detail     BLOB   NOT NULL,                  -- sealed: the whole item
    PRIMARY KEY (vault_id, id)
);
CREATE INDEX items_by_title ON items (vault_id, title_hash, created_at, id);
CREATE INDEX items_by_path ON items (vault_id, path_hash) WHERE path_hash IS NOT NULL;
CREATE INDEX items_in_order ON items (vault_id, created_at, id);
CREATE INDEX items_by_origin ON items (vault_id, origin);

-- Old versions of items.
CREATE TABLE item_versions (
    vault_id   TEXT   NOT NULL,
    item_id    TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    commit_id  TEXT,
    commit_at  BIGINT,
    detail     BLOB   NOT NULL,
    PRIMARY KEY (vault_id, item_id, version)
);

-- Which file has which content, so that contents without a file can be deleted. Reads do not use this table: the ids of the
-- contents are sealed with the item.
CREATE TABLE files (
    vault_id   TEXT NOT NULL,
    item_id    TEXT NOT NULL,
    id         TEXT NOT NULL,
    content_id TEXT NOT NULL,
    PRIMARY KEY (vault_id, item_id, id)
);
CREATE INDEX files_by_content ON files (content_id);
CREATE TABLE file_chunks (
    content_id TEXT   NOT NULL,
    n          BIGINT NOT NULL,
    sealed     BLOB   NOT NULL,
    PRIMARY KEY (content_id, n)
);

-- The change log. vault_id is '' for changes of tokens, item_id is '' for changes of vaults and tokens.
CREATE TABLE changes (
    seq      BIGINT NOT NULL PRIMARY KEY,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    vault_id TEXT   NOT NULL,
    item_id  TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    title_hash       BLOB,                       -- the hashes of the item's title before and after the change: readers drop
    other_title_hash BLOB,                       -- both from their caches
    path_hash        BLOB,                       -- the hash of the path of the item's file, for the same purpose
    commit_id        TEXT,                       -- the Git commit that the change comes from; NULL: none
    commit_at        BIGINT                      -- when it was committed
);

-- The activity log: requests to the API, in sealed batches. A batch has records of one vault, one token and one kind (reads,
-- writes or refusals).
CREATE TABLE activity (
    seq      BIGINT NOT NULL PRIMARY KEY,
    handover BIGINT NOT NULL,                    -- the lowest seq of the batches that were written together
    vault_id TEXT   NOT NULL,
    token    BLOB   NOT NULL,                    -- keyed hash of the token's id: the log's room is shared among tokens
    kind     BIGINT NOT NULL,
    records  BIGINT NOT NULL,
    bytes    BIGINT NOT NULL,                    -- how much of the log's room the batch takes
    sealed   BLOB   NOT NULL
);
CREATE INDEX activity_by_vault ON activity (vault_id, handover);
CREATE INDEX activity_by_share ON activity (token, vault_id, kind, seq, bytes);

-- The known tokens, and revoked ones. A token whose row can't be decrypted is refused: revoked_at is part of the seal's
-- associated data, so an erased revocation is noticed.
CREATE TABLE tokens (
    jti        TEXT   NOT NULL PRIMARY KEY,
    sealed     BLOB   NOT NULL,
    revoked_at BIGINT
);
