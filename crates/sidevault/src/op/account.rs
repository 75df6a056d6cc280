//! What callers ask about the account. With a Connect server there is none: the server stands for it, and the token for its user.

use serde_json::json;
use sidevault_client::ClientError;

use super::session::{NOT_SIGNED_IN, Session};
use super::{Call, End, Error, people, print, print_json};

/// The ids that are shown for the account and its user. They are made up, and the same everywhere.
const ACCOUNT: &str = "SIDEVAULTCONNECTACCOUNT000";
const USER: &str = "SIDEVAULTCONNECTTOKEN00000";

/// Whether the server accepts the token.
async fn checked(call: &Call<'_>) -> Result<Session, Error> {
    let session = Session::open(call)?;
    match session.client.vaults(None).await {
        Ok(_) => Ok(session),
        Err(ClientError::Status { status: 401, .. }) => Err(Error::new(NOT_SIGNED_IN)),
        Err(error) => Err(error.into()),
    }
}

fn entry(host: &str) -> serde_json::Value {
    json!({"url": host, "email": "", "user_uuid": USER, "account_uuid": ACCOUNT})
}

pub(super) async fn whoami(call: &Call<'_>) -> Result<(), End> {
    let session = checked(call).await?;
    if call.wants_json()? {
        let mut shown = entry(&session.host);
        shown["user_type"] = "CONNECT".into();
        return print_json(&shown);
    }
    print(&format!(
        "URL:          {}\nUser Type:    CONNECT\nUser ID:      {USER}\n",
        session.host
    ))
}

/// The server as the only account; no account without a token.
pub(super) fn list(call: &Call<'_>) -> Result<(), End> {
    let host = Session::open(call).ok().map(|session| session.host);
    if call.wants_json()? {
        return print_json(&host.iter().map(|host| entry(host)).collect());
    }
    match host {
        Some(host) => print(&people::table(
            ["URL", "EMAIL", "USER ID"],
            [[host, String::new(), USER.to_owned()]],
        )),
        None => Ok(()),
    }
}

pub(super) async fn get(call: &Call<'_>) -> Result<(), End> {
    let session = checked(call).await?;
    if call.wants_json()? {
        return print_json(&json!({
            "id": ACCOUNT, "name": "Connect", "domain": session.host, "type": "CONNECT", "state": "ACTIVE",
        }));
    }
    print(&format!(
        "ID:        {ACCOUNT}\nName:      Connect\nDomain:    {}\nType:      CONNECT\n",
        session.host
    ))
}

/// `op user get --me`: scripts ask whether they are signed in.
pub(super) async fn user(call: &Call<'_>) -> Result<(), End> {
    if !call.line.switch("me")? {
        return Err(Error::new(
            "users can't be had: this is Sidevault's op, which works with a Connect server and not with a 1Password account",
        )
        .into());
    }
    checked(call).await?;
    if call.wants_json()? {
        return print_json(&json!({
            "id": USER, "name": "Connect", "email": "", "type": "CONNECT", "state": "ACTIVE",
        }));
    }
    print(&format!(
        "ID:       {USER}\nName:     Connect\nType:     CONNECT\nState:    ACTIVE\n"
    ))
}

/// A session token, which the other commands take and don't need.
pub(super) async fn sign_in(call: &Call<'_>) -> Result<(), End> {
    checked(call).await?;
    if call.line.switch("raw")? {
        print("connect\n")
    } else {
        Ok(())
    }
}
