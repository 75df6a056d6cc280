-- Everything a user would call content is sealed (AES-256-GCM) before it gets here.
-- Plain are only ids, versions, states, times and numbers that order things; those that reads of items and
-- tokens go by are bound to the row's seal, so that a row does not open in which one of them was changed.
-- Times are Unix milliseconds. The SQL stays within what SQLite and PostgreSQL share.

-- One row. A reader that finds another `opening` than it knew, or a lower number of the newest change, has a store
-- before it that went back or was replaced, and reads everything anew.
CREATE TABLE store (
    one        BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    opening    TEXT   NOT NULL,                  -- random, other for each time that a writer opened the store
    written_at BIGINT NOT NULL,                  -- when a writer last tried whether it can write
    unwiped    BIGINT NOT NULL DEFAULT 0         -- 1: the write-ahead log may still hold the keys of a deleted vault
);

CREATE TABLE vaults (
    id                TEXT   NOT NULL PRIMARY KEY,
    sealed            BLOB   NOT NULL,           -- name, description, and which source owns the vault
    attribute_version BIGINT NOT NULL,
    content_version   BIGINT NOT NULL,
    items             BIGINT NOT NULL,           -- active items
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL
);

-- A vault's keys, wrapped by the store's key-encryption key. The vault id '' stands for the store itself.
CREATE TABLE vault_keys (
    vault_id   TEXT   NOT NULL,
    key_id     BIGINT NOT NULL,
    purpose    TEXT   NOT NULL,                  -- 'seal' or 'index'
    wrapped    BLOB   NOT NULL,
    seals      BIGINT NOT NULL,                  -- how often this key has sealed
    created_at BIGINT NOT NULL,
    PRIMARY KEY (vault_id, key_id)
);

-- Ids that follow from the name of a vault that was since renamed or deleted. No new local vault gets one, and tokens
-- that were made by the name do not open the vault that has one: docs/tokens.md, "What a token opens".
CREATE TABLE retired_vault_ids (
    id     TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL                         -- 'local': for ever; else the directory source whose vault had it, and
);                                               -- a directory of this name may have it again

CREATE TABLE items (
    vault_id   TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    state      TEXT,                             -- NULL is active
    title_hash BLOB   NOT NULL,                  -- HMAC-SHA-256 of the folded title under the vault's index key
    origin     TEXT,                             -- keyed hash of the source file it comes from; NULL if local
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    summary    BLOB   NOT NULL,                  -- sealed: what lists answer
    detail     BLOB   NOT NULL,                  -- sealed: what GET item answers
    PRIMARY KEY (vault_id, id)
);
CREATE INDEX items_by_title ON items (vault_id, title_hash, created_at, id);
CREATE INDEX items_in_order ON items (vault_id, created_at, id);
CREATE INDEX items_by_origin ON items (vault_id, origin);

-- Versions an item had before its present one.
CREATE TABLE item_versions (
    vault_id   TEXT   NOT NULL,
    item_id    TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    detail     BLOB   NOT NULL,
    PRIMARY KEY (vault_id, item_id, version)
);

-- Which contents are in use: what no file points at is dropped. Reads go by the content ids that are sealed with the
-- item, as a file's name and size are.
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

-- Every change has a number. Item changes name the item; vault and token changes don't.
CREATE TABLE changes (
    seq      BIGINT NOT NULL PRIMARY KEY,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    vault_id TEXT   NOT NULL,
    item_id  TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    title_hash       BLOB,                       -- the item's title, and the one it had before,
    other_title_hash BLOB                        -- so that caches by title know what to forget
);

-- Requests to the API, in sealed batches of one vault, one token and one kind (reads, writes, refusals) each.
CREATE TABLE activity (
    seq      BIGINT NOT NULL PRIMARY KEY,
    handover BIGINT NOT NULL,                    -- the lowest seq of the batches that were written together
    vault_id TEXT   NOT NULL,
    token    BLOB   NOT NULL,                    -- keyed hash of the token's id: whose share of the log it is
    kind     BIGINT NOT NULL,
    records  BIGINT NOT NULL,
    bytes    BIGINT NOT NULL,                    -- what the batch takes of the log's room
    sealed   BLOB   NOT NULL
);
CREATE INDEX activity_by_vault ON activity (vault_id, handover);
CREATE INDEX activity_by_share ON activity (token, vault_id, kind, seq, bytes);

-- Tokens that are known by name, and those that are revoked. The seal says which: a row that does not open refuses its
-- token.
CREATE TABLE tokens (
    jti        TEXT   NOT NULL PRIMARY KEY,
    sealed     BLOB   NOT NULL,
    revoked_at BIGINT
);
