//! Files that are replaced while clients read them: each response is from one version.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Reply, Request, exchange};

/// Responses that each reader waits for.
const ANSWERS: usize = 100;
const READERS: usize = 4;

/// A server with a directory vault of one file.
struct TestServer {
    pair: ServerPair,
    token: String,
    path: String,
}

impl TestServer {
    fn start() -> Self {
        let mut pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[]);
        put(&pair, "first");
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let token = pair.token("reader", &["secrets=read"]);
        let vault = pair.vault(&token, "secrets");
        let item = pair.item(&token, &vault, "a.bin").expect("the item");
        let path = item["files"][0]["content_path"].as_str().expect("a path").to_owned();
        Self { pair, token, path }
    }

    fn ask(&self, method: &str, headers: &[(&str, &str)]) -> Option<Reply> {
        let mut request = Request::new(method, &self.path).bearer(&self.token);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        exchange(self.pair.address(), &request.bytes()).ok()
    }

    fn get(&self, headers: &[(&str, &str)]) -> Reply {
        self.ask("GET", headers).expect("an answer")
    }

    /// Replaces the file, and waits until the new content is served.
    fn replace(&self, content: &str) {
        put(&self.pair, content);
        let served = wait_until(|| (self.get(&[]).text() == content).then_some(()));
        assert!(served.is_some(), "{}", self.pair.log(Process::Sync));
    }
}

/// Replaces a file in one step, as `git` and editors do.
fn put(pair: &ServerPair, content: &str) {
    let new = pair.path("tmp/new");
    fs::write(&new, content).expect("a file");
    fs::rename(new, pair.path("secrets/a.bin")).expect("a file");
}

/// The content of a version. Lengths and letters differ; the longer contents are stored in several chunks.
fn version(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
    letter.to_string().repeat([10, 3_000, 70_000, 200_000][number % 4])
}

#[test]
fn a_replaced_file_is_never_read_truncated_or_mixed() {
    let server = TestServer::start();
    let ended = AtomicBool::new(false);
    let seen = Mutex::new(BTreeMap::<String, Vec<u8>>::new());
    let read = || {
        let mut whole = 0;
        for _ in 0..ANSWERS * 20 {
            if whole == ANSWERS {
                break;
            }
            // Clients detect a response that is cut off, so it does not count.
            let Some(reply) = server.ask("GET", &[]).filter(|reply| reply.status != 0) else {
                continue;
            };
            assert_eq!(reply.status, 200, "{}", reply.text());
            let first = reply.body.first().copied().unwrap_or_default();
            let lengths: Vec<_> = (0..52)
                .map(version)
                .filter(|text| text.as_bytes()[0] == first)
                .collect();
            let known = reply.body == b"first" || lengths.iter().any(|text| text.as_bytes() == reply.body);
            assert!(known, "{} bytes of {:?}", reply.body.len(), char::from(first));
            let tag = reply.header("etag").unwrap_or_default().to_owned();
            let mut seen = seen.lock().expect("no reader failed");
            assert_eq!(seen.entry(tag).or_insert_with(|| reply.body.clone()), &reply.body);
            whole += 1;
        }
        assert_eq!(whole, ANSWERS, "too many answers were cut");
    };
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                put(&server.pair, &version(number));
                // The file is replaced again as soon as this content is served.
                let size = version(number).len().to_string();
                wait_until(|| {
                    let served = server.ask("HEAD", &[])?.header("content-length")? == size;
                    (served || ended.load(Ordering::Relaxed)).then_some(())
                });
            }
        });
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let failed = readers.into_iter().filter_map(|reader| reader.join().err()).next();
        ended.store(true, Ordering::Relaxed);
        assert!(replacing.join().is_ok());
        if let Some(failed) = failed {
            std::panic::resume_unwind(failed);
        }
    });
    let versions = seen.into_inner().expect("no reader failed").len();
    assert!(versions > 5, "the file was replaced {versions} times only");
}

#[test]
fn a_download_resumes_only_with_the_same_version() {
    let server = TestServer::start();
    server.replace("0123456789");
    let whole = server.get(&[]);
    let tag = whole.header("etag").expect("an entity tag").to_owned();
    let date = whole.header("last-modified").expect("a date").to_owned();
    let rest = [("Range", "bytes=4-"), ("If-Range", tag.as_str())];
    let part = server.get(&rest);
    assert_eq!((part.status, part.text().as_str()), (206, "456789"));
    assert_eq!(part.header("etag"), Some(&*tag));
    assert_eq!(server.get(&[("If-None-Match", &tag)]).status, 304);
    assert_eq!(server.get(&[("If-Modified-Since", &date)]).status, 304);
    // Range applies to GET only. HEAD has the headers that GET would have.
    let head = Request::new("HEAD", &server.path).bearer(&server.token);
    let head = head.header("Range", "bytes=4-").header("Connection", "close");
    let mut wire = sidevault_tests::wire::Wire::open(server.pair.address()).expect("a connection");
    wire.send(&head.bytes()).expect("a request");
    let head = wire.reply(true).expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(head.header("etag"), Some(&*tag));
    assert!(wire.rest().expect("an end").is_empty());

    server.replace("abcdefghij");
    let other = server.get(&rest);
    assert_eq!((other.status, other.text().as_str()), (200, "abcdefghij"));
    // Two versions made in one second have the same date, so the date does not identify one.
    let part = server.get(&[("Range", "bytes=4-"), ("If-Range", &date)]);
    assert_eq!((part.status, part.body.len()), (200, 10));
    assert_eq!(server.get(&[("If-Match", &tag)]).status, 412);
    assert_eq!(server.get(&[("If-None-Match", &tag)]).status, 200);
    // The same bytes are the same version.
    server.replace("0123456789");
    assert_eq!(server.get(&rest).status, 206);
}
