//! Reads a cluster. kubectl does the reading, because only it understands every way to log in to a cluster.

use std::process::Stdio;

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::exit::Failure;

/// The largest list of objects that is read, in bytes.
const MAX_LIST_BYTES: u64 = 512 << 20;
/// The most of an error of kubectl that is shown, in bytes.
const MAX_ERROR_BYTES: u64 = 4 << 10;
/// How long the API server may take for one answer.
const REQUEST_TIMEOUT: &str = "--request-timeout=60s";

/// The API group of External Secrets.
const GROUP: &str = "external-secrets.io";

/// Which namespaces are read. Resources without a namespace are read in any case.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    All,
    /// That of the context.
    Current,
    One(&'a str),
}

/// kubectl, for a cluster.
pub(crate) struct Kubectl<'a> {
    /// The context of KUBECONFIG. None: the current one.
    pub(crate) context: Option<&'a str>,
    pub(crate) scope: Scope<'a>,
    /// What people without kubectl can do.
    pub(crate) advice: &'a str,
}

impl Kubectl<'_> {
    /// Those of these resources of External Secrets that the cluster has. A cluster without External Secrets has none.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub(crate) async fn external_secrets(&self, wanted: &[&str]) -> Result<Vec<String>, Failure> {
        let groups = self.raw("/apis").await?;
        let group = members(&groups, "groups").iter().find(|group| group["name"] == GROUP);
        let versions = group.map_or(&[][..], |group| members(group, "versions"));
        let paths = versions
            .iter()
            .filter_map(|version| Some(format!("/apis/{}", version["groupVersion"].as_str()?)));
        let lists = try_join_all(paths.map(|path| async move { self.raw(&path).await })).await?;
        let is_served = |name: &str| {
            let mut all = lists.iter().flat_map(|list| members(list, "resources"));
            all.any(|resource| resource["name"] == name)
        };
        let served = wanted.iter().filter(|name| is_served(name));
        Ok(served.map(|name| format!("{name}.{GROUP}")).collect())
    }

    async fn raw(&self, path: &str) -> Result<Value, Failure> {
        json(&self.run(&["get", "--raw", path]).await?)
    }

    /// The objects of a resource.
    ///
    /// # Errors
    /// [`Failure::Denied`] if they may not be listed, [`Failure::Unreachable`] if the API server does not answer, [`Failure::Failed`]
    /// without kubectl.
    pub(crate) async fn list(&self, resource: &str) -> Result<Vec<Value>, Failure> {
        let mut arguments = vec!["get", resource, "--output=json"];
        match self.scope {
            Scope::One(namespace) => arguments.extend(["--namespace", namespace]),
            Scope::All => arguments.push("--all-namespaces"),
            Scope::Current => {}
        }
        let mut list = json(&self.run(&arguments).await?)?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Failure::Failed(format!("kubectl printed no list of {resource}"))),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new("kubectl");
        if let Some(context) = self.context {
            command.args(["--context", context]);
        }
        let mut child = command
            .arg(REQUEST_TIMEOUT)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::Failed(format!("kubectl can't be started ({error}): {}", self.advice)))?;
        let (out, said) = tokio::join!(
            limited(child.stdout.take(), MAX_LIST_BYTES),
            limited(child.stderr.take(), MAX_ERROR_BYTES)
        );
        let out = out?.ok_or_else(|| {
            Failure::Failed(format!(
                "kubectl printed more than {} MiB: look at one namespace (-n)",
                MAX_LIST_BYTES >> 20
            ))
        })?;
        let said = said?.unwrap_or_default();
        let status = child.wait().await?;
        match status.success() {
            true => Ok(out),
            false => Err(failure(arguments, &String::from_utf8_lossy(&said))),
        }
    }
}

/// All that a child prints; `None` if that is too much. Then the child finds its pipe closed.
async fn limited(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::Failed(format!("kubectl printed no JSON: {error}")))
}

fn members<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    object[member].as_array().map_or(&[], Vec::as_slice)
}

/// What kubectl said, with the exit status that fits.
fn failure(arguments: &[&str], said: &str) -> Failure {
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let reason = sidevault_model::printable(last.unwrap_or("it gave no reason"));
    let text = format!("kubectl {}: {reason}", arguments.join(" "));
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    if has(&["(Forbidden)", "(Unauthorized)", "must be logged in"]) {
        Failure::Denied(text)
    } else if has(&[
        "was refused",
        "no such host",
        "i/o timeout",
        "deadline exceeded",
        "Unable to connect",
    ]) {
        Failure::Unreachable(text)
    } else {
        Failure::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_that_is_too_large_is_not_read_to_its_end() {
        let mut printed = &[7; 20][..];
        assert_eq!(limited(Some(&mut printed), 10).await.unwrap(), None);
        assert_eq!(printed.len(), 9);
        assert_eq!(limited(Some(&[7; 10][..]), 10).await.unwrap(), Some(vec![7; 10]));
    }

    #[test]
    fn kubectls_errors_have_the_exit_status_that_fits() {
        let code = |said| failure(&["get", "pods"], said).code();
        assert_eq!(
            code("Error from server (Forbidden): pods is forbidden: User \"a\" cannot list"),
            4
        );
        assert_eq!(
            code("The connection to the server 127.0.0.1:1 was refused - did you specify?"),
            6
        );
        assert_eq!(code("error: context \"x\" does not exist"), 1);
        assert_eq!(
            failure(&["get", "pods"], "E1 memcache.go\nerror: last\n\n").to_string(),
            "kubectl get pods: error: last"
        );
    }
}
