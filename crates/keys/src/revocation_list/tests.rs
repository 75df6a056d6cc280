use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaa2";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbb2";

fn ids(list: &RevocationList) -> Vec<&str> {
    let mut ids: Vec<&str> = list.ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn ids_comments_and_line_ends_are_read() {
    let text = format!(
        "\u{feff}# a list\r\n\r\n  {A}\t# ci, on Monday\r\n{}#x\n\n",
        B.to_uppercase()
    );
    let list = RevocationList::parse(text.as_bytes());
    assert_eq!((ids(&list), &list.fault), (vec![A, B], &None));
    let list = RevocationList::parse("# caf\u{e9}: ".as_bytes().split_last().unwrap().1);
    assert_eq!(list, RevocationList::default());
    assert_eq!(RevocationList::parse(b""), RevocationList::default());
}

#[test]
fn a_bad_line_is_named_and_the_other_ids_are_read() {
    for bad in [
        "eyJhbGciOiJFUzI1NiJ9.e30.x",
        "ci",
        &A[..25],
        &format!("{A} {B}"),
        "\u{0}",
    ] {
        let list = RevocationList::parse(format!("{A}\n{bad}\n{B}\n{bad}").as_bytes());
        assert_eq!(ids(&list), [A, B]);
        assert_eq!(list.fault, Some(RevocationListFault::Line(2)), "{bad}");
        let text = list.fault.unwrap().to_string();
        assert!(bad.len() < 20 || !text.contains(&bad[..20]), "{text}");
    }
}

#[test]
fn a_list_is_read_up_to_its_limit() {
    let line = format!("{A}\n");
    let full = line.repeat(MAX_REVOCATION_LIST_LEN / line.len());
    assert_eq!(RevocationList::parse(full.as_bytes()).fault, None);
    let more = full + &line;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    std::fs::write(&path, &more).unwrap();
    let list = RevocationList::read(&path);
    assert_eq!(
        (ids(&list), &list.fault),
        (vec![A], &Some(RevocationListFault::TooLong))
    );
    assert!(RevocationList::extend(&path, &[(B.to_owned(), String::new())]).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), more.as_bytes());
}

#[test]
fn directories_and_pipes_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |path: &Path| RevocationList::read(path).fault.unwrap();
    assert_eq!(fault(&folder.path().join("none")), RevocationListFault::Missing);
    assert_eq!(fault(folder.path()), RevocationListFault::NotAFile);
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert_eq!(fault(&pipe), RevocationListFault::NotAFile);
}

#[test]
fn a_list_is_created_and_extended_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("list"), folder.path().join("link"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let add = |jti: &str, comment: &str| RevocationList::extend(&link, &[(jti.to_owned(), comment.to_owned())]);
    add(A, "ci\nx").unwrap();
    let first = std::fs::read_to_string(&path).unwrap();
    assert_eq!(first, format!("{HEADER}{A}  # cix\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    add(&A.to_uppercase(), "again").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), first, "the id is listed twice");
    // An editor may leave out the last line break.
    std::fs::write(&path, first.trim_end()).unwrap();
    add(B, "").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{first}{B}\n"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    // A list with a fault is not extended.
    std::fs::write(&path, "what\n").unwrap();
    assert!(add(A, "").unwrap_err().to_string().contains("line 1"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "what\n");
}

#[test]
fn the_list_is_beside_credentials_that_are_in_a_file() {
    let path = RevocationList::default_path("/home/opuser/.op/1password-credentials.json\n").unwrap();
    assert_eq!(path, Path::new("/home/opuser/.op/revoked-tokens"));
    assert_eq!(RevocationList::default_path("eyJmb3JtYXQiOiJ4In0"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_parse_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let list = RevocationList::parse(&bytes);
        prop_assert!(list.ids.iter().all(|id| canonical_jti(id).as_ref() == Some(id)));
    }

    /// Whatever a file holds, and wherever it was cut: an added id is found, and no id that was found before is lost.
    #[test]
    fn an_added_id_is_found(text in "([a-c2]{26}[ #x]{0,3}\r?\n|#[ -~]{0,9}\n|\n)*", cut in 0_usize..200) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let old = &text[..text.len().saturating_sub(cut)];
        std::fs::write(&path, old).unwrap();
        let before = RevocationList::read(&path);
        let added = RevocationList::extend(&path, &[(A.to_owned(), "ci".to_owned())]);
        let after = RevocationList::read(&path);
        prop_assert_eq!(added.is_ok(), before.fault.is_none());
        prop_assert!(before.ids.is_subset(&after.ids));
        prop_assert_eq!(after.ids.contains(A), added.is_ok() || before.ids.contains(A));
    }
}
