//! The framing of an automerge file, walked by hand: what a whole chunk is, and where the whole ones of a file are.
//!
//! The invariant: every chunk whose checksum holds is found, whatever stands before it. A chunk is magic `85 6f 4a 83`, four
//! bytes of checksum, a type, a ULEB128 length, and that many bytes. The checksum is the beginning of
//! SHA-256(type ‖ length ‖ bytes); of a deflated change (type 2) it is that of the change it unfolds to (type 1).
//! Source: automerge 0.12.0 `storage/chunk.rs`. automerge itself is not asked: it lives in `replica`, and a walk costs less.

use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;
use sha2::{Digest, Sha256};

use crate::model::limits::INFLATED_BYTES_MAX;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;
const DEFLATED: u8 = 2;
const LAST_KIND: u8 = 3;
/// Where a chunk's type stands: after magic and checksum.
const KIND_AT: usize = 8;
/// Bytes of the longest ULEB128 of 64 bits.
const LEB_BYTES_MAX: usize = 10;

/// What a walk over a file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    /// The stretches of whole chunks, in order; more than one where damage lies between them.
    pub(super) good: Vec<Range<usize>>,
    /// What the rest is.
    pub(super) rest: Rest,
}

/// What a file holds beside whole chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// The beginning of an append that a crash cut off: it follows whole chunks, begins as one, and ends before its end.
    Torn,
    /// Anything else, an empty file too: it was whole once.
    Damage,
}

impl Walk {
    /// Walks over the bytes of a file.
    pub(super) fn over(bytes: &[u8]) -> Walk {
        let mut good: Vec<Range<usize>> = Vec::new();
        let (mut at, mut gap) = (0, false);
        while at < bytes.len() {
            if let Some(length) = whole(&bytes[at..]) {
                match good.last_mut().filter(|run| run.end == at) {
                    Some(run) => run.end = at + length,
                    None => good.push(at..at + length),
                }
                at += length;
            } else if let Some(next) = next_whole(bytes, at + 1) {
                gap = true;
                at = next;
            } else {
                break;
            }
        }
        let rest = match &bytes[at..] {
            // A new file comes by rename, so its beginning is never torn.
            _ if gap || at == 0 => Rest::Damage,
            [] => Rest::Nothing,
            tail if is_cut_off(tail) => Rest::Torn,
            _ => Rest::Damage,
        };
        Walk { good, rest }
    }

    /// The whole chunks of `bytes`, put together.
    pub(super) fn salvage(&self, bytes: &[u8]) -> Vec<u8> {
        self.good.iter().flat_map(|run| &bytes[run.clone()]).copied().collect()
    }
}

/// Whether it is one or more whole chunks and nothing else.
pub(super) fn are_whole(bytes: &[u8]) -> bool {
    Walk::over(bytes).rest == Rest::Nothing
}

/// Whether the bytes can be the beginning of a chunk and are less than all of it.
fn is_cut_off(tail: &[u8]) -> bool {
    if let Some(head) = Head::read(tail) {
        return head.end().is_some_and(|end| end > tail.len());
    }
    let begun = MAGIC.starts_with(&tail[..tail.len().min(MAGIC.len())]);
    let kind = tail.get(KIND_AT).is_none_or(|kind| *kind <= LAST_KIND);
    let digits = tail.get(KIND_AT + 1..).unwrap_or_default();
    begun && kind && digits.len() < LEB_BYTES_MAX && digits.iter().all(|digit| digit & 0x80 != 0)
}

fn next_whole(bytes: &[u8], from: usize) -> Option<usize> {
    let starts = bytes.get(from..)?.windows(MAGIC.len()).enumerate().filter(|(_, four)| *four == MAGIC);
    starts.map(|(offset, _)| from + offset).find(|at| whole(&bytes[*at..]).is_some())
}

/// The length of the whole chunk that `bytes` begin with, if they do.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = Head::read(bytes)?;
    let end = head.end()?;
    let data = bytes.get(head.length..end)?;
    let found = if head.kind == DEFLATED { checksum(CHANGE, &unfold(data)?) } else { checksum(head.kind, data) };
    (found == head.checksum).then_some(end)
}

/// What stands before a chunk's bytes.
struct Head {
    checksum: [u8; 4],
    kind: u8,
    length: usize,
    data: u64,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let (&kind, rest) = rest.split_first()?;
        let (data, digits) = unleb(rest)?;
        (kind <= LAST_KIND).then_some(Head { checksum: *checksum, kind, length: KIND_AT + 1 + digits, data })
    }

    /// Where the chunk ends, if that can be at all.
    fn end(&self) -> Option<usize> {
        usize::try_from(self.data).ok()?.checked_add(self.length)
    }
}

/// Reads an unsigned LEB128 of at most 64 bits in its shortest form, as automerge does; and how many bytes it took.
fn unleb(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(LEB_BYTES_MAX) {
        if at == LEB_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (at == 0 || byte != 0).then_some((value, at + 1));
        }
    }
    None
}

fn leb(mut value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(LEB_BYTES_MAX);
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn checksum(kind: u8, data: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update([kind]).chain_update(leb(data.len() as u64)).chain_update(data).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// What a deflated change unfolds to, if it does, within the bound that `replica/guard` holds for foreign ones.
fn unfold(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    DeflateDecoder::new(data).take(INFLATED_BYTES_MAX + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= INFLATED_BYTES_MAX).then_some(out)
}

/// A whole chunk of a change with these bytes, for the tests of this room.
#[cfg(test)]
pub(super) fn chunk(data: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &checksum(CHANGE, data), &[CHANGE], &leb(data.len() as u64), data].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use quickcheck::quickcheck;

    use super::*;

    fn three() -> (Vec<u8>, [usize; 3]) {
        let chunks = [chunk(&[1; 40]), chunk(&[2; 300]), chunk(&[3; 90])];
        (chunks.concat(), [0, chunks[0].len(), chunks[0].len() + chunks[1].len()])
    }

    /// How many good bytes it begins with, and what the rest is.
    fn found(bytes: &[u8]) -> (usize, Rest) {
        let walk = Walk::over(bytes);
        assert!(walk.good.len() <= 1);
        (walk.good.first().map_or(0, |run| run.end), walk.rest)
    }

    #[test]
    fn what_automerge_writes_is_whole() {
        // A change, a deflated change and a save, as automerge 0.12.0 wrote them.
        for hex in [
            "856f4a83707d591001230004000000000101000000061503340142025602570170027f016b017f017f16767f00",
            "856f4a83fe690cc20252632ca88d149050bf9a13edbff5c19f39be6c6e1326847e38c6fc74c2e2fb65bb4cbf3d63616060606062626060601365\
             336174620a630ebfc152c054cf92939f97ce58cf58dfe69d380a464122f5413d0300",
            "856f4a83202820d7007701040000000001fe690cc2d324d0b87f6c625ef769e111aebf7101ef04a97b5dae99872e65d4fd070102030213022302\
             400343025602081508210223023401420256045f0a80010202000201020102007e00017f0002077e016b046c6f6e67020002010202017e16864b\
             2b4b1c05a32091fa0000020001",
        ] {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert!(are_whole(&bytes), "{hex}");
        }
    }

    #[test]
    fn lengths_are_written_as_automerge_writes_them() {
        for (value, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (129, vec![0x81, 1]), (300, vec![0xac, 2])] {
            assert_eq!(leb(value), bytes);
            assert_eq!(unleb(&bytes), Some((value, bytes.len())));
        }
        for bad in [&[129, 0][..], &[255], &[129; 12], &[129, 129, 129, 129, 129, 129, 129, 129, 129, 2]] {
            assert_eq!(unleb(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_deflated_change_has_the_checksum_of_what_it_unfolds_to() {
        let plain = vec![7; 5_000];
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(&plain).unwrap();
        let deflated = deflated.finish().unwrap();
        let right = [&MAGIC[..], &checksum(CHANGE, &plain), &[DEFLATED], &leb(deflated.len() as u64), &deflated].concat();
        let wrong = [&MAGIC[..], &checksum(DEFLATED, &deflated), &[DEFLATED], &leb(deflated.len() as u64), &deflated].concat();
        assert!(are_whole(&right) && !are_whole(&wrong));
    }

    #[test]
    fn a_bomb_is_no_chunk() {
        let plain = vec![0; usize::try_from(INFLATED_BYTES_MAX).unwrap() + 1];
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&plain).unwrap();
        assert_eq!(unfold(&deflated.finish().unwrap()), None);
    }

    #[test]
    fn a_cut_anywhere_in_the_last_chunk_is_torn_and_only_that() {
        let (bytes, starts) = three();
        for end in starts[2] + 1..bytes.len() {
            assert_eq!(found(&bytes[..end]), (starts[2], Rest::Torn), "cut at {end}");
        }
        assert_eq!(Walk::over(&bytes[..starts[2]]).rest, Rest::Nothing);
        assert_eq!(found(&bytes[..starts[1] - 1]), (0, Rest::Damage), "a file never begins torn");
        assert_eq!(Walk::over(&[]).rest, Rest::Damage, "a file of ours is never empty");
    }

    #[test]
    fn a_tail_of_whole_length_or_of_something_else_is_damage() {
        let (bytes, starts) = three();
        let mut zeroed = bytes.clone();
        zeroed[starts[2]..].fill(0);
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        for bytes in [zeroed, changed] {
            assert_eq!(found(&bytes), (starts[2], Rest::Damage));
        }
    }

    quickcheck! {
        fn the_walk_over_any_bytes_ends_and_its_stretches_are_whole(bytes: Vec<u8>, at: usize) -> bool {
            let (mut all, _) = three();
            let at = at % all.len();
            all.splice(at..at, bytes);
            let walk = Walk::over(&all);
            walk.good.iter().all(|run| are_whole(&all[run.clone()])) && (are_whole(&all) == (walk.rest == Rest::Nothing))
        }

        fn one_changed_byte_costs_one_chunk(at: usize, with: u8) -> bool {
            let (mut bytes, starts) = three();
            let at = at % bytes.len();
            bytes[at] ^= with.max(1);
            let hit = starts.iter().rposition(|start| *start <= at).unwrap();
            let (fine, _) = three();
            let ends = [starts[1], starts[2], fine.len()];
            let rest: Vec<u8> = (0..3).filter(|n| *n != hit).flat_map(|n| fine[starts[n]..ends[n]].to_vec()).collect();
            Walk::over(&bytes).salvage(&bytes) == rest
        }
    }
}
