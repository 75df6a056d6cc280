//! Exports of other programs. The content tells the format, so this target reaches every reader of `sidevault_exchange::import`.
#![no_main]

use std::collections::HashSet;
use std::io::{Read as _, Write as _};

use libfuzzer_sys::fuzz_target;
use sidevault_exchange::import::{Entry, Groups, ImportError, Options, open};

fuzz_target!(|input: (bool, &[u8])| {
    let (as_tags, bytes) = input;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let options = Options {
        groups: if as_tags { Groups::Tags } else { Groups::Vaults },
        password: &|_| Ok("pässword 1".as_bytes().to_vec().into()),
        ..Options::default()
    };
    let Ok(source) = open(file, &options) else { return };
    let Ok(vaults) = source.vaults() else { return };
    let _ = source.items(&mut |entry| {
        let Entry::Item(item) = entry else { return Ok(()) };
        assert!(item.vault < vaults.len(), "an item of no vault");
        let mut ids = HashSet::new();
        assert!(item.fields.iter().all(|field| ids.insert(&field.id)), "a field id twice");
        for file in &item.files {
            let _ = source.content(file, &mut |content| {
                let n = std::io::copy(&mut content.take(1 << 20), &mut std::io::sink())?;
                assert!(n <= file.size, "more than the size says");
                Ok(())
            });
        }
        Ok::<(), ImportError>(())
    });
});
