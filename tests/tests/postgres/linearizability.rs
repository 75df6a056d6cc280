//! What clients of several apis see of single items, while servers and connections fail.

use std::net::Ipv4Addr;
use std::time::Duration;

use sidevault_tests::history::History;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{Postgres, through};
use sidevault_tests::proxy::Proxy;

/// Clients that pass on the newest `Sidevault-Sequence` see each item as if there were one api, and no failures.
#[test]
fn items_are_linearizable_for_clients_that_send_the_newest_sequence() {
    let Some(server) = Postgres::start() else { return };
    let proxy = Proxy::before(server.address(), Ipv4Addr::LOCALHOST.into());
    let url = through(proxy.address(), &server.create_database());
    let mut pair = ServerPair::prepare(&["--vault", "apps"], &[("SIDEVAULT_STORE", &url)]);
    pair.run(Process::Api);
    let other = pair.run_replica();
    pair.run(Process::Sync);
    pair.run_standby();
    pair.wait_linked();
    let token = pair.token("clients", &["apps=read,write"]);
    let vault = pair.vault(&token, "apps");
    let Some(history) = History::new(4, &[pair.address(), other], &token, &vault) else {
        return;
    };
    history.record(3, 4, || {
        let wait = |pair: &ServerPair| {
            std::thread::sleep(Duration::from_millis(500));
            pair.wait_linked();
        };
        wait(&pair);
        proxy.cut();
        wait(&pair);
        let leader = wait_until(|| pair.leader()).expect("a leader");
        ServerPair::signal(leader, "TERM");
        wait(&pair);
        pair.kill_sync(leader);
        pair.run_standby();
        proxy.stall();
        std::thread::sleep(Duration::from_secs(1));
        proxy.resume();
        wait(&pair);
        pair.kill(Process::Api);
        pair.run(Process::Api);
        wait(&pair);
        server.kill();
        std::thread::sleep(Duration::from_millis(500));
        server.run();
        wait(&pair);
    });
    println!("{}", history.check(&pair));
}
