//! The arguments of `status`.

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sidevault status -A
  sidevault status -n apps -o json
  ln -s \"$(command -v sidevault)\" ~/.local/bin/kubectl-sidevault && kubectl sidevault status";

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    /// Look at this namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Look at all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// The context of KUBECONFIG that names the cluster [default: the current one]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Print JSON
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<StatusFormat>,
}

/// What `status` prints, if not a table.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatusFormat {
    /// A list of objects
    Json,
}
