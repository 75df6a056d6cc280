//! The operator's flags: External Secrets' own, so that a Deployment of it works unchanged.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use sidevault_operator::types::StoreRef;
use tracing::level_filters::LevelFilter;

/// Flags of External Secrets that have no effect here, and whether they take a value.
const IGNORED: &[(&str, bool)] = &[
    ("client-burst", true),
    ("client-qps", true),
    ("crd-requeue-interval", true),
    ("doppler-etag-cache-size", true),
    ("enable-cluster-push-secret-reconciler", false),
    ("enable-configmaps-caching", false),
    ("enable-generator-state", false),
    ("enable-http2", false),
    ("enable-managed-secrets-caching", false),
    ("enable-secret-api-read-on-cache-mismatch", false),
    ("enable-secrets-caching", false),
    ("enable-vault-token-cache", false),
    ("experimental-doppler-oidc-cache-size", true),
    ("experimental-enable-aws-session-cache", false),
    ("experimental-enable-doppler-oidc-cache", false),
    ("experimental-enable-vault-token-cache", false),
    ("experimental-vault-token-cache-size", true),
    ("generator-gc-grace-period", true),
    ("metrics-auth", false),
    ("metrics-cert-dir", true),
    ("metrics-cert-name", true),
    ("metrics-key-name", true),
    ("metrics-secure", false),
    ("mysterybox-connections-cache-size", true),
    ("mysterybox-tokens-cache-size", true),
    ("pulumi-oidc-cache-size", true),
    ("unsafe-allow-generic-targets", false),
    ("vault-token-cache-size", true),
    ("zap-time-encoding", true),
];

/// Arguments of `operator`. If a flag is given twice, the last one counts, as with Go's flags: charts append the flags of
/// their users to their own.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct Operator {
    /// Concurrent reconciles per store
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) concurrent: usize,
    /// Follow this namespace only. ClusterExternalSecrets are ignored then, and ClusterSecretStores are used only if the
    /// operator may list and watch them
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Ignore stores whose spec.controller is another class
    #[arg(long, value_name = "CLASS", default_value = "default")]
    pub(crate) controller_class: String,
    /// Where /metrics is served; 0 turns it off
    #[arg(long, value_name = "ADDRESS", default_value = ":8080", value_parser = address)]
    pub(crate) metrics_addr: Address,
    /// Where /healthz and /readyz are served; 0 turns it off
    #[arg(long, alias = "live-addr", value_name = "ADDRESS", default_value = ":8082", value_parser = address)]
    pub(crate) health_addr: Address,
    /// Log messages of this level and above: error, warn, info, debug or trace [default: info]
    #[arg(long, alias = "loglevel", value_name = "LEVEL", value_parser = level)]
    pub(crate) log_level: Option<LevelFilter>,
    /// Of several replicas, let only the one that holds a Lease work
    #[arg(long, alias = "leader-election", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_leader_election: bool,
    /// The Lease's name
    #[arg(long, value_name = "NAME", default_value = "external-secrets-controller")]
    pub(crate) leader_election_id: String,
    /// The Lease's namespace [default: the Pod's]
    #[arg(long, value_name = "NAME")]
    pub(crate) leader_election_namespace: Option<String>,
    /// How long the Lease is valid after its last renewal
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = crate::duration::parse)]
    pub(crate) leader_election_lease_duration: Duration,
    /// How long the holder tries to renew the Lease before it stops
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = crate::duration::parse)]
    pub(crate) leader_election_renew_deadline: Duration,
    /// How often the holder renews the Lease, and the others try to take it
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::duration::parse)]
    pub(crate) leader_election_retry_period: Duration,
    /// Check and use ClusterSecretStores
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_cluster_store_reconciler: bool,
    /// Check SecretStores
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_secret_store_reconciler: bool,
    /// Reconcile ClusterExternalSecrets
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_cluster_external_secret_reconciler: bool,
    /// Reconcile PushSecrets
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_push_secret_reconciler: bool,
    /// Add an object's labels of app.kubernetes.io/ to its metrics
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_extended_metric_labels: bool,
    /// Fail an ExternalSecret at once while its store is not ready
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) enable_flood_gate: bool,
    /// How often to recheck stores that set no interval
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = crate::duration::parse)]
    pub(crate) store_requeue_interval: Duration,
    /// The store of ExternalSecrets that name none: ClusterSecretStore/NAME, or NAME for a SecretStore of their
    /// namespace
    #[arg(long, value_name = "STORE", value_parser = store)]
    pub(crate) default_store: Option<StoreRef>,
    /// The left delimiter of template actions
    #[arg(long, value_name = "TEXT", default_value = "{{")]
    pub(crate) template_left_delimiter: String,
    /// The right delimiter of template actions
    #[arg(long, value_name = "TEXT", default_value = "}}")]
    pub(crate) template_right_delimiter: String,
    /// Write no Secrets: annotate force-sync on ExternalSecrets when their items change, for External Secrets to act on
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) poke_only: bool,
    /// Restart workloads when their Secret changes, if the annotation operator.1password.io/auto-restart asks for that
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub(crate) restart_workloads: bool,
}

/// An address, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) Option<SocketAddr>);

/// Reads an address as Go's `net.Listen` does: the host may be missing.
fn address(text: &str) -> Result<Address, &'static str> {
    if matches!(text, "0" | "") {
        return Ok(Address(None));
    }
    let refuse = "write it as HOST:PORT or :PORT";
    let (host, port) = text.rsplit_once(':').ok_or(refuse)?;
    let port = port.parse().map_err(|_| refuse)?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| refuse)?,
    };
    Ok(Address(Some(SocketAddr::new(host, port))))
}

/// Reads a switch as Go's flags do (`strconv.ParseBool`).
fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false"),
    }
}

fn level(text: &str) -> Result<LevelFilter, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        // External Secrets' (zap's) levels above error.
        "error" | "dpanic" | "panic" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err("write one of error, warn, info, debug, trace"),
    }
}

fn store(text: &str) -> Result<StoreRef, &'static str> {
    let (kind, name) = text.split_once('/').unwrap_or(("SecretStore", text));
    match (kind, name) {
        ("SecretStore" | "ClusterSecretStore", name) if !name.is_empty() => Ok(StoreRef {
            name: name.to_owned(),
            kind: kind.to_owned(),
        }),
        _ => Err("write ClusterSecretStore/NAME, SecretStore/NAME or NAME"),
    }
}

/// Removes the flags that have no effect here. Returns the other arguments, and the names of the removed flags.
pub(crate) fn without_ignored(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<&'static str>) {
    if arguments.get(1).is_none_or(|command| command != "operator") {
        return (arguments, Vec::new());
    }
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let known = argument.to_str().and_then(|text| {
            let flag = text.strip_prefix("--")?;
            let (name, value) = flag
                .split_once('=')
                .map_or((flag, None), |(name, value)| (name, Some(value)));
            let (name, takes_value) = IGNORED.iter().find(|(known, _)| *known == name)?;
            Some((*name, *takes_value && value.is_none()))
        });
        match known {
            None => kept.push(argument),
            Some((name, value_follows)) => {
                ignored.push(name);
                if value_follows {
                    arguments.next();
                }
            }
        }
    }
    (kept, ignored)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn addresses_are_written_as_in_go() {
        assert_eq!(address(":8080").unwrap().0, Some("[::]:8080".parse().unwrap()));
        assert_eq!(address("127.0.0.1:1").unwrap().0, Some("127.0.0.1:1".parse().unwrap()));
        assert_eq!(address("[::1]:1").unwrap().0, Some("[::1]:1".parse().unwrap()));
        assert_eq!(address("0").unwrap().0, None);
        assert!(address("8080").is_err() && address("host:x").is_err());
    }

    /// Parses the operator's arguments with clap.
    fn parsed(flags: &[&str]) -> Operator {
        let words = ["sidevault", "operator"].iter().chain(flags).map(OsString::from);
        let (kept, _) = without_ignored(words.collect());
        match crate::cli::Cli::try_parse_from(kept).unwrap().command {
            crate::cli::Command::Operator(operator) => *operator,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_of_two_equal_flags_counts() {
        let twice = [
            "--concurrent=16",
            "--log-level=info",
            "--enable-flood-gate",
            "--poke-only",
            "--concurrent=5",
            "--loglevel=debug",
            "--enable-flood-gate=false",
            "--poke-only=false",
        ];
        let operator = parsed(&twice);
        assert_eq!((operator.concurrent, operator.log_level), (5, Some(LevelFilter::DEBUG)));
        assert!(!operator.enable_flood_gate && !operator.poke_only);
    }

    #[test]
    fn switches_are_written_as_in_go() {
        for (word, on) in [
            ("1", true),
            ("t", true),
            ("True", true),
            ("0", false),
            ("F", false),
            ("FALSE", false),
        ] {
            let operator = parsed(&[
                &format!("--enable-leader-election={word}"),
                &format!("--enable-flood-gate={word}"),
                &format!("--poke-only={word}"),
            ]);
            let read = [
                operator.enable_leader_election,
                operator.enable_flood_gate,
                operator.poke_only,
            ];
            assert_eq!(read, [on; 3], "{word}");
        }
        assert!(switch("yes").is_err() && switch("").is_err());
    }

    /// Every flag of External Secrets' controller, of its providers and generators included, with a value of its kind.
    #[test]
    fn each_flag_of_external_secrets_2_9_0_and_0_9_11_is_taken() {
        let switches = [
            "enable-cluster-external-secret-reconciler",
            "enable-cluster-push-secret-reconciler",
            "enable-cluster-store-reconciler",
            "enable-configmaps-caching",
            "enable-extended-metric-labels",
            "enable-flood-gate",
            "enable-generator-state",
            "enable-http2",
            "enable-leader-election",
            "enable-managed-secrets-caching",
            "enable-push-secret-reconciler",
            "enable-secret-api-read-on-cache-mismatch",
            "enable-secret-store-reconciler",
            "enable-secrets-caching",
            "enable-vault-token-cache",
            "experimental-enable-aws-session-cache",
            "experimental-enable-doppler-oidc-cache",
            "experimental-enable-vault-token-cache",
            "metrics-auth",
            "metrics-secure",
            "unsafe-allow-generic-targets",
        ];
        let valued = [
            ("client-burst", "100"),
            ("client-qps", "50"),
            ("concurrent", "1"),
            ("controller-class", "default"),
            ("doppler-etag-cache-size", "1"),
            ("experimental-doppler-oidc-cache-size", "1"),
            ("experimental-vault-token-cache-size", "1"),
            ("generator-gc-grace-period", "2m"),
            ("leader-election-id", "id"),
            ("leader-election-lease-duration", "15s"),
            ("leader-election-renew-deadline", "10s"),
            ("leader-election-retry-period", "2s"),
            ("live-addr", ":8082"),
            ("loglevel", "info"),
            ("metrics-addr", ":8080"),
            ("metrics-cert-dir", "/certs"),
            ("metrics-cert-name", "tls.crt"),
            ("metrics-key-name", "tls.key"),
            ("mysterybox-connections-cache-size", "1"),
            ("mysterybox-tokens-cache-size", "1"),
            ("namespace", "team"),
            ("pulumi-oidc-cache-size", "1"),
            ("store-requeue-interval", "5m0s"),
            ("template-left-delimiter", "{{"),
            ("template-right-delimiter", "}}"),
            ("vault-token-cache-size", "1"),
            ("zap-time-encoding", "epoch"),
        ];
        for switch in switches {
            parsed(&[&format!("--{switch}")]);
            parsed(&[&format!("--{switch}=false")]);
        }
        for (flag, value) in valued {
            parsed(&[&format!("--{flag}"), value]);
            parsed(&[&format!("--{flag}={value}")]);
        }
    }

    #[test]
    fn flags_without_effect_are_removed_with_their_values() {
        let words = [
            "sidevault",
            "operator",
            "--client-qps",
            "50",
            "--enable-http2",
            "--zap-time-encoding=iso8601",
            "--concurrent=1",
        ];
        let (kept, ignored) = without_ignored(words.iter().map(OsString::from).collect());
        assert_eq!(kept, ["sidevault", "operator", "--concurrent=1"]);
        assert_eq!(ignored, ["client-qps", "enable-http2", "zap-time-encoding"]);
        let (kept, _) = without_ignored(
            ["sidevault", "item", "--client-qps"]
                .iter()
                .map(OsString::from)
                .collect(),
        );
        assert_eq!(kept.len(), 3);
    }
}
