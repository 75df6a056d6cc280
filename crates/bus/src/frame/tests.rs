use proptest::prelude::*;
use sidevault_keys::BusKeys;

use super::*;
use crate::handshake;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

/// The ciphers of one direction of a link: one to write with and one to read with.
async fn direction(encrypted: bool) -> (Cipher, Cipher) {
    if !encrypted {
        return (Cipher::plain(), Cipher::plain());
    }
    let key = BusKeys::from_bytes(&[[1; 32]]);
    let (mut a, mut b) = tokio::io::duplex(4096);
    let (a, b) = tokio::join!(handshake::dial(&mut a, &key), handshake::accept(&mut b, &key));
    let ((write, _), (_, read)) = (Cipher::noise(a.unwrap()), Cipher::noise(b.unwrap()));
    (write, read)
}

/// The bytes of these payloads on the wire, and the cipher to read them with.
async fn wire(payloads: &[&[u8]], encrypted: bool) -> (Vec<u8>, Cipher) {
    let (write, read) = direction(encrypted).await;
    let mut writer = FrameWriter::new(Vec::new(), write);
    for payload in payloads {
        writer.write(&[], payload).await.unwrap();
    }
    writer.flush().await.unwrap();
    (writer.stream, read)
}

async fn read_all(wire: &[u8], cipher: Cipher) -> (Vec<Bytes>, LinkError) {
    let mut reader = FrameReader::new(wire, cipher, Some(Duration::from_secs(15)));
    let mut frames = Vec::new();
    loop {
        match reader.read().await {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, error),
        }
    }
}

/// The offsets at which records start.
fn record_starts(wire: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some([a, b]) = wire.get(starts[starts.len() - 1]..).and_then(<[u8]>::first_chunk) {
        starts.push(starts[starts.len() - 1] + 2 + usize::from(u16::from_be_bytes([*a, *b])));
    }
    starts.pop();
    starts
}

#[test]
fn frames_around_the_chunk_size_are_read_as_written() {
    block_on(async {
        for encrypted in [false, true] {
            for length in [
                0,
                1,
                MAX_CHUNK - 1,
                MAX_CHUNK,
                MAX_CHUNK + 1,
                2 * MAX_CHUNK,
                3 * MAX_CHUNK + 7,
            ] {
                let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
                let (wire, cipher) = wire(&[&payload, b"next"], encrypted).await;
                let (frames, end) = read_all(&wire, cipher).await;
                assert_eq!(frames, [payload.as_slice(), b"next"], "{length}");
                assert!(matches!(end, LinkError::Closed), "{end}");
            }
        }
    });
}

#[test]
fn a_message_longer_than_the_limit_is_refused_on_both_sides() {
    block_on(async {
        let longest = vec![7; MAX_FRAME];
        let (wire, cipher) = wire(&[&longest], true).await;
        assert_eq!(read_all(&wire, cipher).await.0, [longest.as_slice()]);

        let (write, read) = direction(true).await;
        let mut writer = FrameWriter::new(Vec::new(), write);
        assert!(matches!(writer.write(b"x", &longest).await, Err(LinkError::TooLarge)));
        // A peer that exceeds the limit sends full chunks without a last one.
        writer.body = [&[MORE], vec![7; MAX_CHUNK].as_slice()].concat();
        for _ in 0..=MAX_FRAME / MAX_CHUNK {
            writer.record().unwrap();
        }
        writer.flush().await.unwrap();
        assert!(matches!(read_all(&writer.stream, read).await, (frames, LinkError::TooLarge) if frames.is_empty()));
    });
}

#[test]
fn a_repeated_left_out_or_moved_record_ends_the_link() {
    block_on(async {
        let payloads: [&[u8]; 3] = [b"one", b"two", b"three"];
        let records = |wire: &[u8]| -> Vec<Vec<u8>> {
            let mut starts = record_starts(wire);
            starts.push(wire.len());
            starts.windows(2).map(|ends| wire[ends[0]..ends[1]].to_vec()).collect()
        };
        for (order, whole) in [([0, 0, 1], 1), ([0, 2, 1], 1), ([1, 0, 2], 0), ([2, 1, 0], 0)] {
            let (wire, cipher) = wire(&payloads, true).await;
            let records = records(&wire);
            let mixed = order.map(|n| records[n].clone()).concat();
            let (frames, end) = read_all(&mixed, cipher).await;
            assert_eq!(frames.len(), whole);
            assert!(matches!(end, LinkError::Forged), "{end}");
        }
    });
}

#[test]
fn a_record_of_another_link_ends_the_link() {
    block_on(async {
        let (recorded, _) = wire(&[b"pay"], true).await;
        let (_, cipher) = wire(&[], true).await;
        assert!(matches!(read_all(&recorded, cipher).await.1, LinkError::Forged));
    });
}

#[test]
fn silence_ends_the_link() {
    block_on(async {
        tokio::time::pause();
        let (_write, read) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(read, Cipher::plain(), Some(Duration::from_secs(15)));
        assert!(matches!(reader.read().await, Err(LinkError::Silent(_))));
    });
}

#[test]
fn chunks_that_are_not_full_or_have_no_valid_mark_end_the_link() {
    block_on(async {
        let bodies: [&[u8]; 4] = [&[], &[2, 1], &[MORE], &[MORE, 1, 2]];
        for body in bodies {
            let wire = [&[0, body.len() as u8], body].concat();
            assert!(
                matches!(read_all(&wire, Cipher::plain()).await.1, LinkError::Protocol(_)),
                "{body:?}"
            );
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_are_read_as_written(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        encrypted: bool,
    ) {
        block_on(async {
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let (wire, cipher) = wire(&payloads, encrypted).await;
            let (frames, end) = read_all(&wire, cipher).await;
            prop_assert_eq!(frames, payloads);
            prop_assert!(matches!(end, LinkError::Closed));
            Ok(())
        })?;
    }

    #[test]
    fn a_changed_byte_never_changes_a_frame(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        block_on(async {
            let (mut wire, cipher) = wire(&[b"one", b"two", b"three"], true).await;
            let at = at.index(wire.len());
            wire[at] ^= flip;
            let whole = records_before(at);
            let (frames, end) = read_all(&wire, cipher).await;
            let sent: [&[u8]; 3] = [b"one", b"two", b"three"];
            prop_assert_eq!(&frames, &sent[..whole]);
            prop_assert!(!matches!(end, LinkError::Closed));
            Ok(())
        })?;
    }

    #[test]
    fn a_cut_never_changes_a_frame(at in any::<prop::sample::Index>()) {
        block_on(async {
            let (wire, cipher) = wire(&[b"one", b"two", b"three"], true).await;
            let cut = at.index(wire.len());
            let whole = records_before(cut);
            let (frames, end) = read_all(&wire[..cut], cipher).await;
            let sent: [&[u8]; 3] = [b"one", b"two", b"three"];
            prop_assert_eq!(&frames, &sent[..whole]);
            let at_a_border = record_starts(&wire).contains(&cut);
            prop_assert_eq!(matches!(end, LinkError::Closed), at_a_border);
            Ok(())
        })?;
    }

    #[test]
    fn no_input_panics(wire: Vec<u8>) {
        block_on(async {
            read_all(&wire, Cipher::plain()).await;
            read_all(&wire, direction(true).await.1).await;
        });
    }
}

/// How many of the three records end at or before `at`, computed from their known lengths.
fn records_before(at: usize) -> usize {
    let lengths = [3, 3, 5].map(|payload| 2 + 1 + payload + TAG);
    let mut end = 0;
    lengths
        .iter()
        .take_while(|length| {
            end += *length;
            end <= at
        })
        .count()
}
