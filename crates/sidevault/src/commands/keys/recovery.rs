//! `sidevault keys backup` and `keys restore`: an encrypted copy of the keys, and the files from it.

use sidevault_keys::{Issuer, write_all_new, write_new};
use zeroize::Zeroizing;

use crate::cli::{BackupKeys, RestoreKeys};
use crate::commands::backup::identities;
use crate::commands::init::make_private;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::installation::Installation;
use crate::output;
use crate::recovery::{self, Sharing};

/// More text than 255 shares have.
const MAX_SHARES_BYTES: u64 = 64 * 1024;

/// Writes the copy, and prints the shares.
pub(super) fn back_up(arguments: &BackupKeys, installation: &Installation) -> Result<(), Failure> {
    let credentials = installation.credentials()?;
    let passphrase = installation.passphrase()?.filter(|_| credentials.is_locked());
    let issuer = arguments.issuer.as_deref().map(Issuer::load).transpose()?;
    let copy = recovery::encrypt(
        &credentials,
        passphrase.as_ref(),
        issuer.as_ref(),
        &arguments.recipients,
        arguments.shares,
    )?;
    write_new(&arguments.out, &copy.encrypted)?;
    let files = match issuer {
        Some(_) => "the credentials and the issuer",
        None => "the credentials",
    };
    output::line(&format!(
        "Wrote {}, an encrypted copy of {files}.",
        arguments.out.display()
    ))?;
    show_shares(&copy.shares, arguments.shares)
}

/// Prints shares, and says what they are for.
pub(crate) fn show_shares(shares: &[Zeroizing<String>], sharing: Option<Sharing>) -> Result<(), Failure> {
    let Some(sharing) = sharing else { return Ok(()) };
    output::line(&format!(
        "\nAny {} of these {} shares together decrypt it. Give each to another person: nothing shows them again.",
        sharing.needed(),
        shares.len()
    ))?;
    shares.iter().try_for_each(|share| output::line(share))
}

/// Writes the files of a copy into a directory, or none.
pub(super) fn restore(arguments: &RestoreKeys, environment: &Environment) -> Result<(), Failure> {
    let files = match &arguments.shares {
        Some(shares) => {
            let (name, text) = input::file_or_stdin(Some(shares), "the shares, one a line", MAX_SHARES_BYTES)?;
            let text = String::from_utf8(text).map(Zeroizing::new);
            let text = text.map_err(|_| Failure::Usage(format!("{name} is not text")))?;
            let identity = recovery::identity_of_shares(&text)?;
            recovery::decrypt(&arguments.from, [&identity as &dyn age::Identity].into_iter())?
        }
        None => {
            let identities = identities(&arguments.from, arguments.age_key_file.as_deref(), environment)?;
            recovery::decrypt(&arguments.from, identities.iter())?
        }
    };
    make_private(&arguments.out).map_err(|error| Failure::Failed(format!("{}: {error}", arguments.out.display())))?;
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| (arguments.out.join(name), content))
        .collect();
    write_all_new(files.iter().map(|(path, content)| (path.as_path(), content.as_bytes())))?;
    for (path, _) in &files {
        output::line(&format!("Wrote {}.", path.display()))?;
    }
    if files.len() == 1 {
        output::line("The copy holds no issuer: to make tokens, replace the issuer (sidevault keys rotate issuer).")?;
    }
    Ok(())
}
