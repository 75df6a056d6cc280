//! `run` as a parent: what it masks while the command writes, signals, and files.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use sidevault_tests::tools::skipped;
use sidevault_tests::wire::{Request, exchange};

use crate::world::World;

fn with_secret(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command
        .env("SECRET", "op://apps/Database/password")
        .env("LINES", "op://apps/Database/lines");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

#[test]
fn a_value_in_pieces_is_masked_and_other_text_comes_at_once() {
    let world = World::start();
    // The shell answers each line that it reads, so the test knows when a piece was written.
    let script = "while read -r piece; do printf '%b' \"$piece\"; done";
    let mut child = with_secret(&world, &["run", "--", "sh", "-c", script])
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("its input");
    let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    writeln!(stdin, "hello\\n").expect("it is read");
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "hello\n");
    for piece in ["s3", "c", "ret", "!\\n"] {
        writeln!(stdin, "{piece}").expect("it is read");
    }
    line.clear();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "<concealed by Sidevault>!\n");
    // `one` and a line break begin the value of LINES, and the line comes nevertheless.
    writeln!(stdin, "one\\n").expect("it is read");
    line.clear();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "one\n");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn large_binary_output_passes_unchanged_and_is_whole() {
    let world = World::start();
    let script = "yes 0123456789abcdef | head -c 20000000; head -c 3000000 /dev/zero; printf %s \"$SECRET\"";
    let output = with_secret(&world, &["run", "--", "sh", "-c", script])
        .output()
        .expect("it runs");
    let (text, rest) = output.stdout.split_at(20_000_000);
    assert!(
        text.starts_with(b"0123456789abcdef\n0123") && text[19_999_983..] == text[19_999_983 - 17..20_000_000 - 17]
    );
    assert!(rest[..3_000_000].iter().all(|byte| *byte == 0));
    assert_eq!(&rest[3_000_000..], b"<concealed by Sidevault>");
}

#[test]
fn signals_reach_the_command_and_its_end_is_the_exit_status() {
    let world = World::start();
    let script = "trap 'echo terminated; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = with_secret(&world, &["run", "--", "sh", "-c", script])
        .spawn()
        .expect("it runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    signal(&child, "TERM");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!((line.as_str(), rest.as_str()), ("ready\n", "terminated\n"));
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
}

#[test]
fn without_masking_the_command_takes_the_place_of_the_process() {
    let world = World::start();
    let mut child = with_secret(
        &world,
        &["run", "--no-masking", "--", "sh", "-c", "echo $$; kill -KILL $$"],
    )
    .spawn()
    .expect("it runs");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("its output")
        .read_to_string(&mut stdout)
        .expect("text");
    assert_eq!(stdout.trim(), child.id().to_string());
    assert_eq!(child.wait().expect("it ends").signal(), Some(9));
}

#[test]
fn a_reader_that_stops_ends_the_command_as_in_a_pipe() {
    let world = World::start();
    let mut child = with_secret(&world, &["run", "--", "yes"]).spawn().expect("it runs");
    let mut some = [0; 64];
    child
        .stdout
        .take()
        .expect("its output")
        .read_exact(&mut some)
        .expect("output");
    // 128 and SIGPIPE.
    assert_eq!(child.wait().expect("it ends").code(), Some(141));
}

#[test]
fn files_with_secrets_are_for_their_owner_and_keys_are_what_openssh_reads() {
    let world = World::start();
    let key = world.directory().join("key");
    let reference = "op://apps/deploy/private key?ssh-format=openssh";
    let read = world
        .command(&["read", "-n", "-o", "key", reference])
        .status()
        .expect("it runs");
    assert!(read.success());
    assert_eq!(
        std::fs::metadata(&key).expect("a file").permissions().mode() & 0o777,
        0o600
    );
    let Ok(public) = Command::new("ssh-keygen").arg("-yf").arg(&key).output() else {
        skipped("no ssh-keygen on PATH");
        return;
    };
    let public = String::from_utf8_lossy(&public.stdout).into_owned();
    // The public key of RFC 8410, section 10.3, in SSH's form.
    assert_eq!(
        public.trim(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh"
    );
}

#[test]
fn rsa_keys_in_both_pem_formats_become_keys_that_openssh_reads() {
    let world = World::start();
    for format in ["PKCS8", "PEM"] {
        let generate = [
            "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "test", "-m", format, "-f", format,
        ];
        let made = Command::new("ssh-keygen")
            .args(generate)
            .current_dir(world.directory())
            .status();
        let Ok(made) = made else {
            skipped("no ssh-keygen on PATH");
            return;
        };
        assert!(made.success());
        let field = format!("private key[sshkey]=@{format}");
        let create = [
            "item",
            "create",
            "--vault",
            "apps",
            "--title",
            format,
            "--category",
            "SSH_KEY",
            "--field",
            &field,
        ];
        let created = world.command(&create).output().expect("it runs");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let converted = format!("{format}.openssh");
        let reference = format!("op://apps/{format}/private key?ssh-format=openssh");
        let read = world.command(&["read", "-n", "-o", &converted, &reference]).status();
        assert!(read.expect("it runs").success());
        let read = |name: &str| std::fs::read_to_string(world.directory().join(name)).expect("a file");
        assert!(read(&converted).starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let public = Command::new("ssh-keygen")
            .args(["-yf", &converted])
            .current_dir(world.directory())
            .output();
        let public = String::from_utf8_lossy(&public.expect("it runs").stdout).into_owned();
        let key = |line: &str| line.split(' ').take(2).map(str::trim).collect::<Vec<_>>().join(" ");
        assert_eq!(key(&public), key(&read(&format!("{format}.pub"))));
    }
}

#[test]
fn on_a_terminal_the_command_has_a_terminal_and_its_output_is_masked() {
    let world = World::start();
    let script = format!(
        "{} run -- sh -c 'test -t 0 && test -t 1 && echo both; read -r line; echo got $line; echo $SECRET; exit 5'",
        sidevault_tests::pair::binary().display()
    );
    let mut terminal = Command::new("script");
    let with = with_secret(&world, &[]);
    terminal
        .args(["-qec", &script, "/dev/null"])
        .env_clear()
        .current_dir(world.directory());
    terminal.envs(with.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let started = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        skipped("no program `script` on PATH");
        return;
    };
    let mut stdin = child.stdin.take().expect("its input");
    let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "both\r\n");
    writeln!(stdin, "typed").expect("it is read");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert!(rest.ends_with("got typed\r\n<concealed by Sidevault>\r\n"), "{rest:?}");
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
}

/// How many requests the api has answered, but for those for its metrics.
fn requests(world: &World) -> u64 {
    let address = world
        .url
        .trim_start_matches("http://")
        .replace("localhost", "127.0.0.1");
    let address = address.parse().expect("an address");
    let reply = exchange(address, &Request::new("GET", "/metrics").bytes()).expect("the metrics");
    let text = reply.text();
    let counts = text
        .lines()
        .filter(|line| line.contains("http_requests_total{") && !line.contains("/metrics"));
    counts
        .map(|line| {
            line.rsplit(' ')
                .next()
                .and_then(|count| count.parse::<u64>().ok())
                .expect("a count")
        })
        .sum()
}

#[test]
fn a_hundred_references_are_one_request() {
    let world = World::start();
    let names = [
        "username",
        "password",
        "host",
        "replica/host",
        "replica/port",
        "standby/port",
        "empty",
    ];
    let template: String = (0..100)
        .map(|n| {
            let vault = if n % 2 == 0 { "apps" } else { "APPS" };
            format!("v{n}: {{{{ op://{vault}/Database/{} }}}}\n", names[n % names.len()])
        })
        .collect();
    std::fs::write(world.directory().join("hundred"), template).expect("a file");
    let before = requests(&world);
    assert!(before > 0);
    let made = world.command(&["inject", "-i", "hundred"]).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8_lossy(&made.stdout);
    assert!(text.contains("v98: app\n") && text.contains("v92: s3cret\n"), "{text}");
    assert_eq!(requests(&world), before + 1);
}
