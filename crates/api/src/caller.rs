//! The token of a request, and what it may do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use sidevault_keys::{Token, TokenError};
use sidevault_model::activity::{
    Action, ActivityOutcome, Actor, ItemRef, RecordKind, Resource, ResourceType, VaultRef,
};
use sidevault_model::{Access, ApiRequest, ItemId, Timestamp, VaultId, filter};
use sidevault_store::{Command, CommandAnswer, Notice, Reader, Snapshot, TokenRecord, VaultEntry};

use crate::activity::shortened;
use crate::api::Api;
use crate::error::ApiError;
use crate::request_context::{RequestContext, SEQUENCE};

/// A request with a valid token, and the snapshot of the store that it sees.
pub(crate) struct Caller {
    pub(crate) api: Arc<Api>,
    pub(crate) token: Arc<Token>,
    pub(crate) snapshot: Arc<Snapshot>,
    context: Arc<RequestContext>,
    user_agent: Option<http::HeaderValue>,
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        // The middleware puts the context into each request.
        let context = parts.extensions.get().cloned();
        let context = context.ok_or_else(|| ApiError::internal("the request has no context"))?;
        Self::of(api, context, &parts.headers).await
    }
}

impl OptionalFromRequestParts<Arc<Api>> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Option<Self>, Self::Rejection> {
        if !parts.headers.contains_key(header::AUTHORIZATION) || api.open_store().is_none() {
            return Ok(None);
        }
        Ok(<Self as FromRequestParts<Arc<Api>>>::from_request_parts(parts, api)
            .await
            .ok())
    }
}

fn authenticate(api: &Api, headers: &HeaderMap, context: &RequestContext) -> Result<Arc<Token>, ApiError> {
    let refuse = |reason: &'static str, message: &'static str| {
        api.metrics.auth_failed(reason);
        unauthorized(message)
    };
    let Some(text) = bearer(headers) else {
        return Err(refuse("missing", "Invalid bearer token"));
    };
    match api.tokens.verify(text, Timestamp::now()) {
        Ok((token, _)) if api.revoked.contains(&token.jti) => Err(revoked(api, &token, context)),
        Ok((token, first_time)) => {
            context.token.get_or_init(|| token.clone());
            if first_time {
                api.metrics.token_seen(&token);
                announce(api, &token);
            }
            Ok(token)
        }
        Err(error) => {
            tracing::info!(request_id = %context.id, remote = %context.remote, reason = %error, "a token was refused");
            let reason = match error {
                TokenError::Expired { .. } => "expired",
                TokenError::Signature | TokenError::Algorithm | TokenError::UnknownKey { .. } => "signature",
                _ => "malformed",
            };
            Err(refuse(reason, error.public_message()))
        }
    }
}

fn revoked(api: &Api, token: &Token, context: &RequestContext) -> ApiError {
    tracing::info!(
        request_id = %context.id,
        remote = %context.remote,
        jti = token.jti,
        name = token.name,
        "a revoked token was refused"
    );
    api.metrics.auth_failed("revoked");
    unauthorized("Invalid bearer token")
}

/// The token of `Authorization: Bearer …`, with the scheme in upper or lower case (RFC 9110, 11.1). A request with two such
/// headers counts as without a token: a proxy before this server may have checked the other one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// The number in the header [`SEQUENCE`].
fn change_number(value: &HeaderValue) -> Result<i64, ApiError> {
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ApiError::bad_request("the header Sidevault-Sequence is not a number"))
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, message)
}

/// The issuer as a UUID, which Connect 1.7.1 documents as the form of an actor's id. A key id (`kid`) is none, so the UUID is
/// computed from it.
fn issuer_id(kid: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(kid)[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Tells sync about a token that was not seen before, so that `token list` shows it. The request does not wait for that.
fn announce(api: &Api, token: &Token) {
    let link = api.link.clone();
    let notice = Notice::TokenSeen(TokenRecord::from(token));
    tokio::spawn(async move {
        // Without sync, `token list` lacks the token until it is used after a restart of the api.
        let _ = link.notify(&notice).await;
    });
}

impl Caller {
    /// Checks the token in these headers.
    ///
    /// # Errors
    /// 401 if there is no token, or none that is valid; 500 if the store can't be read.
    pub(crate) async fn of(
        api: &Arc<Api>,
        context: Arc<RequestContext>,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let token = authenticate(api, headers, &context)?;
        let snapshot = match headers.get(SEQUENCE) {
            // Boxed, because few requests name a change, and each would be as large as one that waits.
            Some(sequence) => Box::pin(api.snapshot_at(change_number(sequence)?)).await?,
            None => api.store().await?.snapshot().await?,
        };
        if snapshot.is_revoked(&token.jti) {
            return Err(revoked(api, &token, &context));
        }
        let user_agent = headers.get(header::USER_AGENT).cloned();
        Ok(Self {
            api: api.clone(),
            token,
            snapshot,
            context,
            user_agent,
        })
    }

    pub(crate) async fn store(&self) -> Result<&Reader, ApiError> {
        self.api.store().await
    }

    /// Sends a write to sync, with the id of this request. After that, this api's reads see the write. See
    /// [`SyncLink::command`](crate::link::SyncLink::command). That nobody may make the write is recorded as `action`.
    pub(crate) async fn command(
        &self,
        action: Action,
        vault: VaultId,
        command: &Command,
    ) -> Result<CommandAnswer, ApiError> {
        let answer = self.api.link.command(command, &self.context.id).await;
        if answer.as_ref().is_err_and(ApiError::is_forbidden) {
            self.record(action, ActivityOutcome::Deny, vault, None, None);
        }
        let answer = answer?;
        self.see_write().await?;
        Ok(answer)
    }

    /// The same for a write that changes no vault, and has no record in the activity log.
    pub(crate) async fn command_without_vault(&self, command: &Command) -> Result<CommandAnswer, ApiError> {
        let answer = self.api.link.command(command, &self.context.id).await?;
        self.see_write().await?;
        Ok(answer)
    }

    async fn see_write(&self) -> Result<(), ApiError> {
        if let Err(error) = self.store().await?.catch_up().await {
            tracing::warn!(%error, "a write was carried out, but the store can't be read at the moment");
            self.context.is_unseen.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a new snapshot of the store, after everything that was committed before this call.
    pub(crate) async fn renew(&mut self) -> Result<(), ApiError> {
        let store = self.store().await?;
        store.catch_up().await?;
        self.snapshot = store.snapshot().await?;
        Ok(())
    }

    /// While sync reads its sources for the first time, an item or a vault that is not found may come yet. Waits until sync has
    /// read them, and then takes a new snapshot. Returns false if there was nothing to wait for.
    pub(crate) async fn retry_after_initial_sync(&mut self) -> Result<bool, ApiError> {
        // Boxed, because nearly no request waits, and each would be as large as one that does.
        Box::pin(async {
            let is_later = self.api.wait_for_initial_sync().await;
            if is_later {
                self.renew().await?;
            }
            Ok(is_later)
        })
        .await
    }

    /// Whether a vault that the token names does not exist, or does not exist yet.
    pub(crate) fn misses_vaults(&self) -> bool {
        self.token.vaults.keys().any(|id| self.snapshot.vault(*id).is_none())
    }

    /// Whether a vault is in the token's scope. The vault need not exist.
    fn in_scope(&self, vault: VaultId) -> bool {
        self.snapshot.access(&self.token, vault).is_some()
    }

    /// What the token may do with a vault.
    pub(crate) fn access(&self, vault: VaultId) -> Access {
        self.snapshot.access(&self.token, vault).unwrap_or_default()
    }

    /// The vaults in the token's scope, in the order of their ids.
    pub(crate) fn vaults_in_scope(&self) -> impl Iterator<Item = &Arc<VaultEntry>> {
        self.snapshot.vaults().filter(|entry| self.in_scope(entry.vault.id))
    }

    /// The vault with this id or name, which the token must be allowed to read.
    ///
    /// # Errors
    /// Those of [`Self::vault`]; 403 without the right to read.
    pub(crate) async fn readable(&mut self, segment: &str) -> Result<Arc<VaultEntry>, ApiError> {
        let entry = self.vault(segment).await?;
        if self.access(entry.vault.id).read {
            return Ok(entry);
        }
        Err(self.deny(Action::Read, entry.vault.id, None, "read"))
    }

    /// The vault with this id or name, which the token must be allowed to write to. `action` goes into the activity log if it
    /// is not.
    ///
    /// # Errors
    /// Those of [`Self::vault`]; 403 without the right to write.
    pub(crate) async fn writable(&mut self, segment: &str, action: Action) -> Result<Arc<VaultEntry>, ApiError> {
        let entry = self.vault(segment).await?;
        if self.access(entry.vault.id).write {
            return Ok(entry);
        }
        Err(self.deny(action, entry.vault.id, None, "write"))
    }

    /// The vault with this id or name, which the token must be allowed to write to and to read. As in Connect 1.7.1: the answer
    /// to a PATCH shows the whole item.
    ///
    /// # Errors
    /// Those of [`Self::vault`]; 403 without both rights.
    pub(crate) async fn editable(&mut self, segment: &str) -> Result<Arc<VaultEntry>, ApiError> {
        self.writable(segment, Action::Update).await?;
        self.readable(segment).await
    }

    fn deny(&self, action: Action, vault: VaultId, item: Option<ItemId>, right: &str) -> ApiError {
        self.record(action, ActivityOutcome::Deny, vault, item, None);
        ApiError::forbidden(format_args!("token does not have {right} access to vault {vault}"))
    }

    /// The vault in the token's scope with this id or name. A text in the form of an id is taken as an id first.
    ///
    /// # Errors
    /// 400 for a name that no vault in scope has. 403 for an id out of scope, whether or not that vault exists. 404 if the vault
    /// in scope does not exist.
    async fn vault(&mut self, segment: &str) -> Result<Arc<VaultEntry>, ApiError> {
        let Ok(id) = VaultId::parse(segment) else {
            return self
                .vault_named(segment)
                .await?
                .ok_or_else(|| ApiError::bad_request("Invalid Vault UUID"));
        };
        if self.in_scope(id) && self.snapshot.vault(id).is_none() {
            self.retry_after_initial_sync().await?;
        }
        if !self.in_scope(id) {
            // A vault's name may have the form of an id.
            if let Some(named) = self.vault_named(segment).await? {
                return Ok(named);
            }
            if self.token.vaults.contains_key(&id) {
                tracing::info!(
                    request_id = %self.context.id,
                    jti = self.token.jti,
                    vault = %id,
                    "the token was made for a vault name, and that vault was renamed or deleted since: make a new token"
                );
            }
            self.record(Action::Read, ActivityOutcome::Deny, id, None, None);
            return Err(ApiError::forbidden(format_args!("vault {id} is not in scope")));
        }
        self.snapshot
            .vault(id)
            .cloned()
            .ok_or_else(|| ApiError::not_found("vault", id))
    }

    /// The vault in scope with this name. Case is ignored, unless several names differ in case only: then the exact one.
    async fn vault_named(&mut self, name: &str) -> Result<Option<Arc<VaultEntry>>, ApiError> {
        let folded = filter::fold(name);
        let find = |caller: &Self| {
            let hits: Vec<_> = caller
                .vaults_in_scope()
                .filter(|entry| filter::fold(&entry.vault.name) == folded)
                .cloned()
                .collect();
            filter::prefer_exact(hits, name, |entry| &entry.vault.name)
                .into_iter()
                .next()
        };
        if let Some(found) = find(self) {
            return Ok(Some(found));
        }
        if self.misses_vaults() {
            self.retry_after_initial_sync().await?;
        }
        Ok(find(self))
    }

    /// Adds this request, which was carried out, to the activity log that `/v1/activity` shows. Only the first call for a
    /// request counts.
    pub(crate) fn record_success(&self, action: Action, vault: VaultId, item: Option<ItemId>, version: Option<u32>) {
        self.record(action, ActivityOutcome::Success, vault, item, version);
    }

    fn record(
        &self,
        action: Action,
        result: ActivityOutcome,
        vault: VaultId,
        item: Option<ItemId>,
        version: Option<u32>,
    ) {
        if !self.context.is_recorded.swap(true, Ordering::Relaxed) {
            self.log(action, result, vault, item, version);
        }
    }

    /// Adds the read of an item to the activity log, for a request that reads several items and is carried out once.
    pub(crate) fn record_item_read(&self, vault: VaultId, item: ItemId, version: u32) {
        self.log(Action::Read, ActivityOutcome::Success, vault, Some(item), Some(version));
    }

    fn log(&self, action: Action, result: ActivityOutcome, vault: VaultId, item: Option<ItemId>, version: Option<u32>) {
        let kind = RecordKind::of(action, result);
        self.api.activity.record(&self.token.jti, kind, || ApiRequest {
            request_id: self.context.id.to_string(),
            timestamp: Timestamp::now(),
            action,
            result,
            actor: Actor {
                id: issuer_id(&self.token.kid),
                account: shortened(&self.token.name),
                jti: shortened(&self.token.jti),
                user_agent: shortened(self.user_agent_for(vault)),
                request_ip: self.context.remote.to_string(),
            },
            resource: Resource {
                resource_type: if item.is_some() {
                    ResourceType::Item
                } else {
                    ResourceType::Vault
                },
                vault: VaultRef { id: vault },
                item: item.map(|id| ItemRef { id }),
                item_version: version,
            },
        });
    }

    /// The client's `User-Agent`; empty for a vault out of scope, so that no token writes its own text into that vault's
    /// activity.
    fn user_agent_for(&self, vault: VaultId) -> &str {
        let user_agent = self.user_agent.as_ref().filter(|_| self.in_scope(vault));
        user_agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default()
    }

    /// What becomes an item's `lastEditedBy`: the token's id, as Connect shows the integration's.
    pub(crate) fn editor(&self) -> String {
        self.token.jti.to_ascii_uppercase()
    }
}
