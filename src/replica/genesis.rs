//! The shared beginning of every document: one change, the same bytes on every device, for ever.
//!
//! Two devices that make the same document while apart must share its objects, else the content of one is hidden
//! (P2P A.2). So the 256 maps that hold the facts are made by a change without an author: actor of zeros, time 0. Its bytes
//! are written here by hand, so that no release of the library can change them; a test holds them against the library's.

use automerge::ActorId;

use super::chunks;

/// The actor of the genesis change. Nobody else may write as it.
pub const ACTOR: [u8; 16] = [0; 16];

/// How many maps there are, and so how many operations the genesis change has.
pub const BUCKETS: u16 = 256;

/// The hash of the genesis change. It never changes: a device with another one could merge with nobody.
pub const HASH: [u8; 32] = [
    0x51, 0x3b, 0x4a, 0x4a, 0x35, 0x9b, 0xfe, 0x29, 0x9b, 0x4e, 0x38, 0xa7, 0x17, 0x80, 0x62, 0x21, 0x41, 0x6c, 0x46, 0x45, 0x0d, 0xab,
    0x0d, 0xea, 0xc3, 0x7b, 0xa1, 0x1e, 0x6e, 0x53, 0x41, 0x70,
];

/// The genesis change as one raw chunk, and its hash.
#[must_use]
pub fn genesis() -> (Vec<u8>, [u8; 32]) {
    (chunks::seal(&body()), HASH)
}

/// The bucket that a fact's key lives in: the first byte of the key's blake3.
#[must_use]
pub fn bucket(key: &str) -> u8 {
    blake3::hash(key.as_bytes()).as_bytes()[0]
}

/// The object of a bucket: the map that the genesis change's operation `bucket + 1` made.
#[must_use]
pub fn bucket_object(bucket: u8) -> automerge::ObjId {
    automerge::ObjId::Id(u64::from(bucket) + 1, ActorId::from(&ACTOR[..]), 0)
}

/// A bucket's name in the document's root: its number as two hexadecimal digits.
#[must_use]
pub fn bucket_name(bucket: u8) -> String {
    format!("{bucket:02x}")
}

/// What stands behind the chunk's head: no dependencies, the actor, sequence 1, operations from 1, and five columns.
fn body() -> Vec<u8> {
    let count: &[u8] = &[0x80, 0x02];
    let all_zero: &[u8] = &[0x80, 0x02, 0x00];
    let mut names = vec![0x80, 0x7e];
    for bucket in 0..=u8::MAX {
        names.push(2);
        names.extend(bucket_name(bucket).bytes());
    }
    let columns: [(u8, &[u8]); 5] = [
        (chunks::KEY, &names),
        (chunks::INSERT, count),
        (chunks::ACTION, all_zero),
        (chunks::VALUE_META, all_zero),
        (chunks::PRED_COUNT, all_zero),
    ];
    let mut body = vec![0, 16];
    body.extend(ACTOR);
    body.extend([1, 1, 0, 0, 0, columns.len() as u8]);
    for (spec, data) in columns {
        body.push(spec);
        chunks::put_number(&mut body, data.len() as u64);
    }
    body.extend(columns.iter().flat_map(|(_, data)| data.iter()));
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use automerge::transaction::{CommitOptions, Transactable};
    use automerge::{Automerge, Change, ObjType, ROOT, ReadDoc};

    #[test]
    fn the_library_makes_the_same_change_and_its_hash_is_pinned() {
        let mut doc = Automerge::new();
        doc.set_actor(ActorId::from(&ACTOR[..]));
        let mut tx = doc.transaction();
        for bucket in 0..=u8::MAX {
            let made = tx.put_object(ROOT, bucket_name(bucket), ObjType::Map).unwrap();
            assert_eq!(made, bucket_object(bucket));
        }
        tx.commit_with(CommitOptions::default().with_time(0));
        let theirs = doc.get_changes(&[]).remove(0);
        let (bytes, hash) = genesis();
        assert_eq!(theirs.raw_bytes(), bytes);
        assert_eq!(theirs.hash().0, hash);
    }

    #[test]
    fn a_document_begins_with_it() {
        let (bytes, hash) = genesis();
        let mut doc = Automerge::new();
        doc.apply_changes([Change::from_bytes(bytes).unwrap()]).unwrap();
        assert_eq!(doc.get_heads()[0].0, hash);
        let (_, id) = doc.get(ROOT, "a7").unwrap().unwrap();
        assert_eq!(id, bucket_object(0xa7));
    }

    #[test]
    fn a_key_lives_where_it_always_did() {
        assert_eq!(bucket(""), 0xaf);
        assert_eq!(bucket_name(7), "07");
    }
}
