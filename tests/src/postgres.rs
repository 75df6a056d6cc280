//! A real PostgreSQL server, as an ordinary user on a loopback port, its standby server, and PgBouncer in front of it.

use std::env;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::authority::Issued;
use crate::herd::{Herd, Running, is_root};
use crate::pair::{free_port, wait_until};
use crate::tools::skipped;

/// The user and group `nobody`: PostgreSQL does not run as root.
const NOBODY: u32 = 65534;

/// A database server. It is killed and its files are removed when the value is dropped, and when the test process ends in any way.
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    server: Mutex<Option<Running>>,
    herd: Herd,
}

/// PgBouncer in transaction mode, in front of a server. Dropping the value kills it.
pub struct Pooler {
    program: PathBuf,
    settings: PathBuf,
    port: u16,
    running: Running,
}

impl Postgres {
    /// The server that all tests of this program share. Each test uses a database of its own.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Starts a server of its own. `None` if PostgreSQL is not installed, with a line on standard error; with `CI=true` the test
    /// fails.
    ///
    /// # Panics
    /// If it is not installed and `CI=true`, or does not start.
    pub fn start() -> Option<Self> {
        let programs = installed("initdb", "postgresql")?;
        let postgres = Self::without_data(programs);
        let mut init = postgres.program("initdb");
        init.args([
            "--auth=trust",
            "--username=sidevault",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg("-D")
        .arg(postgres.data());
        let made = init.output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.run();
        Some(postgres)
    }

    fn without_data(programs: PathBuf) -> Self {
        let herd = Herd::new();
        let home = herd.root().join("postgres");
        fs::create_dir(&home).expect("a directory");
        give_to_nobody(herd.root(), &home);
        Self {
            programs,
            port: free_port(),
            server: Mutex::new(None),
            herd,
        }
    }

    /// Starts a standby server, which follows this one and answers reads. From now on, a commit here waits for the standby's disk.
    ///
    /// # Panics
    /// If the standby does not start.
    pub fn start_standby(&self) -> Self {
        let standby = Self::without_data(self.programs.clone());
        let mut copy = standby.program("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-U", "sidevault", "-p", &self.port.to_string()])
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"])
            .arg(standby.data());
        let copied = copy.output().expect("pg_basebackup runs");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.run();
        // After the copy, so that the standby waits for no standby of its own once it is promoted.
        self.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.psql("postgres", "SELECT pg_reload_conf()");
        let follows = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        let follows = wait_until(|| (self.psql("postgres", follows) == "1").then_some(()));
        assert!(follows.is_some(), "the standby server does not follow");
        standby
    }

    /// Makes a standby server the primary.
    ///
    /// # Panics
    /// If it does not become one.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t");
    }

    /// The next [`Self::run`] starts a server that answers reads only, as a standby whose primary is gone.
    ///
    /// # Panics
    /// If the server's directory can't be written.
    pub fn stay_read_only(&self) {
        fs::write(self.data().join("standby.signal"), "").expect("a file of the server's");
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run(&self) {
        let home = self.herd.root().join("postgres");
        let mut server = self.program("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", home.display()));
        let mut running = self.herd.run("postgres", &mut server);
        let ready = wait_until(|| {
            // The server does not start while processes of a server that was killed are still ending.
            if !running.alive() {
                running = self.herd.run("postgres", &mut server);
            }
            self.try_psql("postgres", "SELECT 1").is_ok().then_some(())
        });
        assert!(ready.is_some(), "PostgreSQL does not start\n{}", running.log());
        *self.server() = Some(running);
    }

    /// Offers TLS with this certificate from now on.
    ///
    /// # Panics
    /// If the server does not take the certificate.
    pub fn offer_tls(&self, certificate: &Issued) {
        for (name, text) in [("server.crt", &certificate.chain), ("server.key", &certificate.key)] {
            let path = self.data().join(name);
            fs::write(&path, text).expect("a file of the server's");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
            if is_root() {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("an owner");
            }
        }
        self.psql("postgres", "ALTER SYSTEM SET ssl = on");
        self.psql("postgres", "SELECT pg_reload_conf()");
        let on = wait_until(|| (self.psql("postgres", "SHOW ssl") == "on").then_some(()));
        assert!(on.is_some(), "PostgreSQL does not offer TLS");
    }

    /// SIGKILL, as a machine that fails: the server recovers from its log at the next start.
    pub fn kill(&self) {
        *self.server() = None;
    }

    /// A new, empty database, as a URL.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn create_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("vaults{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://sidevault@{}/{name}", self.address())
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Runs SQL in a database, and returns the result's rows, columns separated by `|`.
    ///
    /// # Panics
    /// If it fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same for SQL that may fail.
    ///
    /// # Errors
    /// What `psql` prints.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "sidevault",
            ])
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .expect("psql runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// What `pg_dumpall` writes: all databases.
    ///
    /// # Panics
    /// If it fails.
    pub fn dump_all(&self) -> Vec<u8> {
        let output = Command::new(self.programs.join("pg_dumpall"))
            .args(["-h", "127.0.0.1", "-U", "sidevault", "-p", &self.port.to_string()])
            .output()
            .expect("pg_dumpall runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The directory with the server's files, its write-ahead log included.
    pub fn data(&self) -> PathBuf {
        self.herd.root().join("postgres/data")
    }

    /// Starts PgBouncer in transaction mode. `None` if it is not installed, as in [`Postgres::start`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn pooler(&self) -> Option<Pooler> {
        let program = installed("pgbouncer", "pgbouncer")?.join("pgbouncer");
        let port = free_port();
        let path = self.herd.root().join("postgres").join(format!("pgbouncer-{port}.ini"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=sidevault\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n\
             ignore_startup_parameters = extra_float_digits\n",
            self.port
        );
        fs::write(&path, settings).expect("PgBouncer's settings");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
        Some(Pooler {
            port,
            running: self.run_pooler(&program, &path, port),
            program,
            settings: path,
        })
    }

    fn run_pooler(&self, program: &Path, settings: &Path, port: u16) -> Running {
        let mut command = as_nobody(program);
        let running = self.herd.run(&format!("pgbouncer-{port}"), command.arg(settings));
        let ready = wait_until(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(ready.is_some(), "PgBouncer does not start\n{}", running.log());
        running
    }

    /// Starts a pooler again that was killed.
    ///
    /// # Panics
    /// As [`Postgres::pooler`].
    pub fn restart(&self, pooler: &mut Pooler) {
        pooler.running = self.run_pooler(&pooler.program, &pooler.settings, pooler.port);
    }

    fn program(&self, name: &str) -> Command {
        as_nobody(&self.programs.join(name))
    }

    fn server(&self) -> MutexGuard<'_, Option<Running>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pooler {
    /// The same database through the pooler. PgBouncer before 1.21 does not follow prepared statements.
    pub fn url(&self, url: &str) -> String {
        let url = through(self.address(), url);
        format!("{url}?statement-cache-capacity=0")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// SIGKILL: all connections through it break.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.running.log()
    }
}

/// The same database through another address, such as a proxy's.
///
/// # Panics
/// If the URL names no database.
pub fn through(address: SocketAddr, url: &str) -> String {
    let (_, database) = url.rsplit_once('/').expect("a database");
    format!("postgres://sidevault@{address}/{database}")
}

/// The name of the database in a URL.
///
/// # Panics
/// If there is none.
pub fn database_name(url: &str) -> &str {
    let (_, name) = url.rsplit_once('/').expect("a database");
    name.split('?').next().unwrap_or(name)
}

/// Whether the tests' servers have their stores in PostgreSQL: SIDEVAULT_TEST_STORE=postgres.
pub fn is_chosen() -> bool {
    env::var("SIDEVAULT_TEST_STORE").as_deref() == Ok("postgres")
}

/// The directory of a program of this Debian package: on the PATH, or where Debian has it.
fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(debian.map(|version| version.path().join("bin")))
        // Debian's `psql` on the PATH is a script, so the directory of the real programs is wanted.
        .find(|dir| dir.join(program).is_file() && (program != "initdb" || dir.join("pg_dump").is_file()));
    if found.is_none() {
        skipped(&format!("no {program}; install the package {package}"));
    }
    found
}

/// A command that runs as `nobody` if this process is root's.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/");
    command
}

fn give_to_nobody(root: &Path, home: &Path) {
    if is_root() {
        fs::set_permissions(root, Permissions::from_mode(0o711)).expect("a mode");
        chown(home, Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
}
