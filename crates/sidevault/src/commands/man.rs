//! `sidevault man`: manual pages, generated from the command line's declaration, and sections that it does not know.

mod examples;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap::builder::Resettable;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::{EXIT_STATUS, Failure};

/// Environment variables of the commands that people type. The daemons' variables are on their own pages.
const ENVIRONMENT: [(&str, &str); 11] = [
    (
        "OP_CONNECT_HOST",
        "the server's address, for item, read, run, inject, document, op and doctor",
    ),
    ("OP_CONNECT_TOKEN", "the access token, for the same commands"),
    (
        "OP_FORMAT, OP_RUN_NO_MASKING",
        "for op: json, as --format json; true, as op run --no-masking",
    ),
    (
        "SIDEVAULT_TOKEN_FILE",
        "a file with the access token, read if OP_CONNECT_TOKEN is not set",
    ),
    (
        "OP_SESSION",
        "the server's credentials: a path, the JSON, or base64 of it; for api, sync, token, vault and doctor",
    ),
    (
        "XDG_DATA_HOME",
        "the data directory is .op/data in it (sidevault for quickstart); default /home/opuser, for quickstart \
         ~/.local/share",
    ),
    (
        "SIDEVAULT_PASSPHRASE_FILE",
        "a file with the passphrase of locked credentials",
    ),
    (
        "SIDEVAULT_REVOKED_FILE",
        "the revocation list, for api, token and doctor",
    ),
    (
        "SOPS_AGE_KEY_FILE, SOPS_AGE_KEY",
        "age keys that open encrypted files, for sync and quickstart",
    ),
    (
        "SIDEVAULT_AGE_PASSPHRASE_FILE",
        "a file with the passphrase of age key files and SSH keys",
    ),
    (
        "SIDEVAULT_LOG_FORMAT, OP_LOG_LEVEL",
        "json or human; trace, debug, info, warn or error",
    ),
];

const FILES: [(&str, &str); 5] = [
    (
        "~/.local/share/sidevault",
        "quickstart's keys, store, token and address",
    ),
    (
        "/home/opuser/.op/1password-credentials.json",
        "the server's keys, unless OP_SESSION is set",
    ),
    (
        "/home/opuser/.op/data/1password.sqlite",
        "the store of api and sync, unless XDG_DATA_HOME is set",
    ),
    (
        "./issuer.json",
        "signs the tokens of token create, unless --issuer is given",
    ),
    ("revoked-tokens", "the revocation list, beside the credentials"),
];

const EXAMPLES: [(&str, &str); 10] = [
    (
        "sidevault quickstart",
        "starts a server with keys, a store, a token and a sample item",
    ),
    ("sidevault item list --vault secrets", "lists the items of a vault"),
    (
        "sidevault item get postgres-database --vault secrets --field password",
        "prints one value and nothing else",
    ),
    (
        "sidevault item create --vault secrets --title db --field username=app --field password=-",
        "makes an item; asks for the password",
    ),
    (
        "sidevault token create ci --vault secrets=read --expires 90d --out ci.token",
        "makes a token and writes it to a new file",
    ),
    (
        "sidevault read op://secrets/postgres-database/password",
        "prints the value that a secret reference names",
    ),
    (
        "sidevault run --env-file .env -- ./server",
        "starts a program with the values of the references in .env, and masks them in its output",
    ),
    (
        "sidevault inject -i config.yaml.tpl -o config.yaml",
        "writes a file from a template with secret references",
    ),
    (
        "ln -s $(command -v sidevault) ~/.local/bin/op",
        "lets programs that call 1Password's op call Sidevault, which is an independent implementation",
    ),
    ("sidevault doctor", "finds out what is wrong, and what to do about it"),
];

/// Prints the page of `sidevault`, or writes one page for each command into a directory.
pub(crate) fn run(out: Option<&Path>) -> Result<(), Failure> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    match out {
        None => Ok(io::stdout().lock().write_all(&main_page(cli)?)?),
        Some(dir) => write_pages(cli, dir).map_err(|error| Failure::Failed(format!("{}: {error}", dir.display()))),
    }
}

fn write_pages(cli: clap::Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut commands: Vec<clap::Command> = cli.get_subcommands().cloned().collect();
    std::fs::write(dir.join("sidevault.1"), main_page(cli)?)?;
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        std::fs::write(dir.join(format!("{name}.1")), command_page(&name, command)?)?;
    }
    Ok(())
}

/// The page of a command. Its status and its environment are those of the whole program.
fn command_page(name: &str, command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = render(&Man::new(command))?;
    let mut parts = vec![
        section("ENVIRONMENT", &ENVIRONMENT),
        section("FILES", &FILES),
        section("EXIT STATUS", &EXIT_STATUS),
    ];
    let examples = examples::of(name);
    if !examples.is_empty() {
        parts.push(section("EXAMPLES", examples));
    }
    page.extend(parts.concat().into_bytes());
    Ok(page)
}

/// The page of the whole program.
fn main_page(cli: clap::Command) -> io::Result<Vec<u8>> {
    // The page has the exit status as a section of its own.
    let man = Man::new(cli.after_long_help(Resettable::Reset));
    let mut page = render(&man)?;
    let sections = [
        section("ENVIRONMENT", &ENVIRONMENT),
        section("FILES", &FILES),
        section("EXIT STATUS", &EXIT_STATUS),
        section("EXAMPLES", &EXAMPLES),
    ];
    page.extend(sections.concat().into_bytes());
    Ok(page)
}

fn render(man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    // The generator calls the text behind the options EXTRA; manual pages call it NOTES, or EXAMPLES.
    let page = page.replace("\n.SH EXTRA\nExamples:\n", "\n.SH EXAMPLES\n");
    Ok(page.replace("\n.SH EXTRA\n", "\n.SH NOTES\n").into_bytes())
}

/// A section of tagged paragraphs (man(7)).
fn section(title: &str, entries: &[(&str, &str)]) -> String {
    let mut text = format!(".SH \"{title}\"\n");
    for (tag, body) in entries {
        // Writing to a String never fails.
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{}\n", escaped(tag), escaped(body));
    }
    text
}

/// A text in which roff sees no commands: backslashes and hyphens are escaped, and no line begins with a dot.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_sections_of_a_manual_page() {
        let page = String::from_utf8(main_page(Cli::command()).unwrap()).unwrap();
        for title in ["ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"] {
            assert_eq!(page.matches(&format!(".SH \"{title}\"\n")).count(), 1, "{title}");
        }
        assert!(!page.contains("EXTRA") && page.contains("OP_CONNECT_TOKEN"), "{page}");
    }

    /// The page of each command, by its name.
    fn pages() -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        run(Some(dir.path())).unwrap();
        let entries = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let page = |path: std::path::PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        };
        entries.map(page).collect()
    }

    #[test]
    fn each_command_has_a_page_with_environment_files_status_and_examples() {
        let pages = pages();
        assert!(pages.len() > 50, "{} pages", pages.len());
        for (name, page) in &pages {
            for title in ["ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"] {
                let count = page.matches(&format!(".SH \"{title}\"\n")).count()
                    + page.matches(&format!(".SH {title}\n")).count();
                assert_eq!(count, 1, "{name}: {title}");
            }
        }
        for (name, _) in examples::EXAMPLES {
            assert!(pages.iter().any(|(page, _)| page == name), "there is no command {name}");
        }
    }

    #[test]
    fn the_examples_are_command_lines_of_their_command() {
        for (name, examples) in examples::EXAMPLES {
            for (line, _) in *examples {
                let words: Vec<&str> = line.split(' ').collect();
                let command = name.replace('-', " ");
                assert!(
                    line == &command || line.starts_with(&format!("{command} ")),
                    "{name}: {line}"
                );
                let parsed = <Cli as clap::Parser>::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn a_dot_at_the_begin_of_a_line_is_no_command() {
        assert_eq!(escaped("./issuer.json"), "\\&./issuer.json");
        assert_eq!(escaped("--out"), "\\-\\-out");
    }
}
