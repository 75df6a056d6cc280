//! Each page's commands, in the order of the page, in one shell, in a fresh checkout with an empty home directory.
//!
//! `cargo` is a stand-in that starts the program which is built already; with SIDEVAULT_DOCS_CARGO=real it is the real one.
//! Where the system allows it, each page has a network of its own, so that the ports which the pages name are free.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sidevault_tests::pages::{self, How, Step};
use sidevault_tests::pair::binary;
use sidevault_tests::sops::Sops;
use sidevault_tests::tools;

use super::{pages as all_pages, repository};

/// What a page may take: with the stand-in for cargo, and when everything is compiled.
const PATIENCE: [Duration; 2] = [Duration::from_secs(180), Duration::from_secs(3600)];

/// Starts the program that was built instead of building it.
const CARGO: &str = r#"#!/usr/bin/env bash
set -euo pipefail
case $1 in
quickstart) ;;
run) while [ "$1" != -- ]; do shift; done && shift ;;
install) mkdir -p "$HOME/.cargo/bin" && ln -sf "@PROGRAM@" "$HOME/.cargo/bin/sidevault" && exit ;;
*) echo "the documentation's tests have no stand-in for: cargo $*" >&2 && exit 2 ;;
esac
mkdir -p target/quickstart
ln -sf "@PROGRAM@" target/quickstart/sidevault
exec target/quickstart/sidevault "$@"
"#;

/// What the shell of a page reads first. It reports a failing command with its line, and defines what the page's comments
/// about a first terminal mean.
const SETUP: &str = r#"unset BASH_ENV
set -Eeuo pipefail
trap 'echo "line $LINENO failed ($?): $BASH_COMMAND" >&2' ERR
first_terminal() { # SCRIPT URL
    # A process group of its own: Ctrl-C is a signal to the group.
    setsid env -i HOME="$HOME" PATH="@PATH@" bash -e "$1" &
    first_terminal=$!
    disown "$first_terminal"
    echo "$first_terminal" >>"@TERMINALS@"
    until curl -sfo /dev/null "$2"; do
        kill -0 "$first_terminal" 2>/dev/null || { echo "it ended before $2 answered" >&2 && return 1; }
        sleep 0.1
    done
}
interrupt_first_terminal() {
    kill -INT -- "-$first_terminal"
    while kill -0 "$first_terminal" 2>/dev/null; do sleep 0.1; done
}
"#;

#[test]
fn the_commands_of_every_page_work_as_printed() {
    let Some(_) = Sops::find() else { return };
    let only = env::var_os("SIDEVAULT_DOCS_PAGE").map(PathBuf::from);
    let mut failures = Vec::new();
    for page in all_pages() {
        if only.as_ref().is_none_or(|only| *only == page)
            && let Err(failure) = Desk::new(&page).run(&page)
        {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Nobody can paste an ellipsis.
#[test]
fn no_command_contains_an_ellipsis() {
    for page in all_pages() {
        for step in pages::read(&repository().join(&page)) {
            if let Step::Block(block) = step {
                assert!(!block.code.contains('…'), "{}:{}: …", page.display(), block.line);
            }
        }
    }
}

/// Where a page's commands run.
struct Desk {
    root: tempfile::TempDir,
    path: String,
    compiles: bool,
}

impl Desk {
    fn new(page: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("sidevault-docs-").tempdir().unwrap();
        for directory in ["home", "bin", "checkout"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        check_out(&root.path().join("checkout"));
        let program = binary().canonicalize().unwrap();
        let programs = root.path().join("bin");
        let compiles = env::var("SIDEVAULT_DOCS_CARGO").is_ok_and(|which| which == "real");
        if !compiles {
            let cargo = programs.join("cargo");
            fs::write(&cargo, CARGO.replace("@PROGRAM@", &program.display().to_string())).unwrap();
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // README.md says how to get the program; the other pages begin where it is installed.
        if page != Path::new("README.md") {
            symlink(&program, programs.join("sidevault")).unwrap();
        }
        let installed = root.path().join("home/.cargo/bin");
        let path =
            [&programs, &installed, &tools::directory().expect("a directory")].map(|path| path.display().to_string());
        Self {
            path: format!("{}:{}", path.join(":"), env::var("PATH").unwrap()),
            root,
            compiles,
        }
    }

    fn run(&self, page: &Path) -> Result<(), String> {
        let script = self.script(page);
        let log = self.root.path().join("log");
        let output = File::create(&log).unwrap();
        let mut command = self.shell();
        command
            .arg(&script)
            .current_dir(self.root.path().join("checkout"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        let mut shell = command.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE[usize::from(self.compiles)];
        let status = loop {
            match shell.try_wait().unwrap() {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                status => break status,
            }
        };
        self.end_what_still_runs(shell.id());
        shell.wait().unwrap();
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let ended = status.map_or("did not end".to_owned(), |status| status.to_string());
        let log = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
        Err(format!("{}: {ended}\n{log}", page.display()))
    }

    /// What the page left running, in its own process group and in those of its first terminals.
    fn end_what_still_runs(&self, shell: u32) {
        let terminals = fs::read_to_string(self.root.path().join("terminals")).unwrap_or_default();
        let groups = terminals.lines().map(str::to_owned).chain([shell.to_string()]);
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--"]).args(groups.map(|group| format!("-{group}")));
        kill.stderr(Stdio::null()).status().unwrap();
    }

    /// The page as a script: each command is on the line on which the page has it, so that errors name that line.
    fn script(&self, page: &Path) -> PathBuf {
        let mut lines: Vec<String> = Vec::new();
        let mut place = |line: usize, code: &str| {
            lines.resize(lines.len().max(line - 1), String::new());
            lines.extend(code.lines().map(str::to_owned));
        };
        for step in pages::read(&repository().join(page)) {
            match step {
                Step::Interrupt(line) => place(line, "interrupt_first_terminal"),
                Step::Block(block) => match &block.how {
                    How::InOrder => place(block.line, &block.code),
                    How::Beside(url) => {
                        let script = self.root.path().join(format!("terminal-{}.sh", block.line));
                        fs::write(&script, &block.code).unwrap();
                        place(block.line, &format!("first_terminal {} {url}", script.display()));
                    }
                    How::Not(_) | How::ByAnotherTest(_) => {}
                },
            }
        }
        let script = self.root.path().join("page.sh");
        fs::write(&script, lines.join("\n") + "\n").unwrap();
        script
    }

    /// bash, in a network of its own if there may be one. A compiler needs the real one.
    fn shell(&self) -> Command {
        let setup = self.root.path().join("setup.sh");
        let terminals = self.root.path().join("terminals").display().to_string();
        let text = SETUP.replace("@PATH@", &self.path).replace("@TERMINALS@", &terminals);
        fs::write(&setup, text).unwrap();
        let alone = [
            "unshare",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ];
        let mut words = Vec::new();
        if !self.compiles
            && Command::new(alone[0])
                .args(&alone[1..])
                .arg("true")
                .output()
                .is_ok_and(|it| it.status.success())
        {
            words.extend(alone);
        }
        words.push("bash");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if self.compiles {
            // The compiler and the registry's copy of the dependencies stay where they are.
            let home = env::var("HOME").unwrap();
            for (name, below) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
                command.env(name, env::var(name).unwrap_or_else(|_| format!("{home}/{below}")));
            }
        } else {
            command.env_clear();
        }
        command
            .env("HOME", self.root.path().join("home"))
            .env("PATH", &self.path)
            .env("BASH_ENV", setup);
        command
    }
}

/// Copies every file that Git tracks, or would if it were added.
fn check_out(target: &Path) {
    let repository = repository();
    let listed = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&repository)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    for name in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
        let (from, to) = (repository.join(name), target.join(name));
        // A file may be deleted and not yet committed.
        let Ok(metadata) = from.symlink_metadata() else {
            continue;
        };
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if metadata.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
