//! `sidevault verify`: compares an export with what a Connect server returns.

use std::collections::HashSet;

use sidevault_exchange::plan::{self, ServerVault};
use sidevault_model::Timestamp;

use crate::cli::{self, Place};
use crate::commands::import::check::Check;
use crate::commands::import::entries::Export;
use crate::commands::import::places::{Ids, Places};
use crate::commands::import::served::Served;
use crate::commands::import::vault_of;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::server::Server;

pub(crate) async fn run(arguments: cli::Verify, environment: &Environment) -> Result<(), Failure> {
    let export = Export::open(&arguments.reading)?;
    let server = Server::connect(&arguments.connection, environment)?;
    let vaults = server
        .client
        .vaults(None)
        .await
        .map_err(|error| server.failure(error))?;
    let existing: Vec<ServerVault> = vaults
        .into_iter()
        .map(|vault| ServerVault {
            id: vault.id,
            name: vault.name,
            is_local: true,
        })
        .collect();
    let imported = export.vaults()?;
    let targets = plan::targets(&imported, &existing, &arguments.mapping.renames).map_err(Failure::Usage)?;
    let only = match &arguments.vault {
        Some(vault) => Some(server.vault(vault).await?),
        None => None,
    };
    let installation = Installation::find(&Place::default(), environment);
    let places = Places {
        vaults: targets.iter().map(vault_of).collect(),
        tags: arguments.mapping.tags,
        ids: Ids::new(Box::new(move || Some(installation.credentials().ok()?.id_key()))),
        now: Timestamp::now(),
    };
    if let Some(only) = only
        && places.vaults.iter().all(|vault| vault.id != Some(only))
    {
        return Err(Failure::Usage(format!(
            "no vault of the export belongs into vault {only}: name one with --vault-map OLD=NEW"
        )));
    }
    let check = Check {
        export: &export,
        places: &places,
        served: &Served::Api(server),
        only,
        left: &HashSet::new(),
    };
    check.run().await
}
