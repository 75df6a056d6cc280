//! The program's name may choose the command. The container images of api, sync and operator hold the same program under
//! another name, because neither 1Password's chart nor its examples pass a command. `op` is a link that users make.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The command that a program name stands for.
fn role(program: &OsStr) -> Option<&'static str> {
    match Path::new(program).file_name()?.to_str()? {
        "sidevault-api" => Some("api"),
        "sidevault-sync" => Some("sync"),
        "sidevault-operator" => Some("operator"),
        "op" => Some("op"),
        _ => None,
    }
}

/// The command line, with the command that the program's name stands for inserted. A command that is there already, as in
/// `sidevault-api api`, is not inserted again.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let Some(role) = arguments.first().and_then(|program| role(program)) else {
        return arguments;
    };
    if arguments.get(1).is_none_or(|word| word != role) {
        arguments.insert(1, role.into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(OsString::from);
        let arguments = arguments(words);
        arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_programs_name_chooses_the_command() {
        assert_eq!(read(&["/usr/bin/sidevault-api"])[1..], ["api"]);
        assert_eq!(
            read(&["sidevault-sync", "--dir", "/git"])[1..],
            ["sync", "--dir", "/git"]
        );
        assert_eq!(read(&["sidevault-sync", "--version"])[1..], ["sync", "--version"]);
        assert_eq!(read(&["sidevault-api", "api"])[1..], ["api"]);
    }

    #[test]
    fn other_program_names_insert_no_command() {
        assert_eq!(read(&["sidevault", "api"])[1..], ["api"]);
        assert_eq!(read(&["/sidevault-api/sidevault", "token"])[1..], ["token"]);
        assert!(read(&[]).is_empty());
    }
}
