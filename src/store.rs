//! What we keep; the only home of sled.
//!
//! The invariant: when [`Store::keep`] has returned, the batch survives a kill and a power cut, and the store equals
//! `model::batch::Batch::apply_to` of all batches so far. Documents are plain automerge files and the only truth
//! (`documents`, `chunks`, `repair`); the fleet's secrets and the life counter are files that are replaced whole (`home`); sled
//! holds only what can be built again (`index`), because its `flush` on Linux is no fsync (DESIGN §6).
//!
//! ```text
//! <dir>/format  <dir>/lock  <dir>/life  <dir>/keys/fleet
//! <dir>/docs/<document>.automerge       <dir>/quarantine/<document>.<n>       <dir>/index/
//! ```

mod chunks;
mod documents;
mod home;
mod index;
mod repair;

use std::path::PathBuf;

use crate::model::batch::{Batch, Keep, Shelf};
use crate::model::id::DocId;

pub use home::Error;

use documents::Documents;
use home::Home;
use index::Index;

/// Where the store is, and whether it may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// Only look: no lock, no index, no life, no repair, nothing is changed on disk (`daemon/offline`).
    pub read_only: bool,
}

/// What is kept on this disk. One thread uses it: the loop.
///
/// After a `keep` that failed, drop it and open it again: what the new one shows is what the disk holds.
#[derive(Debug)]
pub struct Store {
    // In this order they are dropped: the lock is let go last.
    index: Option<Index>,
    documents: Documents,
    home: Home,
}

impl Store {
    /// Opens the data directory, makes it if there is none, and mends what a crash or a bad disk left.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process holds it, [`Error::NewerFormat`] before anything is written,
    /// [`Error::Exposed`] and [`Error::NotOurs`] when others can read it, [`Error::Full`] and [`Error::Io`] from the disk.
    pub fn open(options: &Options) -> Result<Store, Error> {
        let home = Home::open(&options.dir, options.read_only)?;
        let documents = Documents::open(home.dir(), options.read_only, home.was_left_open())?;
        let index = (!options.read_only).then(|| Index::open(home.dir()));
        Ok(Store { index, documents, home })
    }

    /// Keeps all of it; when this returns it is on disk.
    ///
    /// Documents first (writes, then one sync for each file), then fleet and life, then rows of the index.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`], [`Error::ReadOnly`]. Then any subset of the batch may have been kept, each document of it
    /// wholly or not at all, and everything kept before is still there.
    pub fn keep(&self, batch: &Batch) -> Result<(), Error> {
        let Some(index) = &self.index else { return Err(Error::ReadOnly) };
        let kept = self.documents.keep(batch).and_then(|()| self.keep_at_home(batch));
        if kept.is_err() {
            self.home.distrust();
        }
        kept?;
        for keep in batch.iter() {
            if let Keep::Index { key, value } = keep {
                index.write(key, value.as_deref());
            }
        }
        Ok(())
    }

    fn keep_at_home(&self, batch: &Batch) -> Result<(), Error> {
        let (mut fleet, mut life) = (None, None);
        for keep in batch.iter() {
            match keep {
                Keep::Fleet { bytes } => fleet = Some(bytes),
                Keep::Life { counter } => life = life.max(Some(*counter)),
                Keep::Append { .. } | Keep::Replace { .. } | Keep::Drop { .. } | Keep::SetAside { .. } | Keep::Index { .. } => {}
            }
        }
        fleet.map_or(Ok(()), |bytes| self.home.keep_fleet(bytes))?;
        life.map_or(Ok(()), |counter| self.home.raise_life(counter))
    }

    /// Raises the life counter on disk and returns what it is now.
    ///
    /// # Errors
    /// As [`Store::keep`]; then no life has begun.
    pub fn begin_life(&self) -> Result<u64, Error> {
        let next = self.home.life().saturating_add(1);
        self.home.raise_life(next)?;
        Ok(next)
    }

    /// What was mended at this open, and what became of the index since, in words for a person.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.home.notes().to_vec();
        notes.extend_from_slice(self.documents.notes());
        notes.extend(self.index.iter().flat_map(Index::notes));
        notes
    }
}

impl Shelf for Store {
    fn documents(&self) -> Vec<DocId> {
        self.documents.names()
    }

    fn document(&self, id: &DocId) -> Option<Vec<u8>> {
        self.documents.read(id)
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.index.as_ref().and_then(|index| index.get(key))
    }

    fn keys(&self, front: &str) -> Vec<String> {
        self.index.as_ref().map_or_else(Vec::new, |index| index.keys(front))
    }

    fn fleet(&self) -> Option<Vec<u8>> {
        self.home.fleet()
    }

    fn aside(&self) -> u64 {
        repair::aside(self.home.dir())
    }

    /// The originals are under `quarantine/`, what is good of them is here.
    fn lost(&self) -> Vec<(DocId, String)> {
        self.documents.quarantined().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use quickcheck::{Arbitrary, Gen, QuickCheck};

    use super::chunks::chunk;
    use super::home::spare;
    use super::*;
    use crate::model::batch::Kept;

    /// Set in the process of a test that is run again under other circumstances.
    const INSIDE: &str = "HUBLESS_STORE_TEST_INSIDE";

    fn store(dir: &Path) -> Store {
        Store::open(&Options { dir: dir.to_owned(), read_only: false }).unwrap()
    }

    fn looking(dir: &Path) -> Store {
        Store::open(&Options { dir: dir.to_owned(), read_only: true }).unwrap()
    }

    fn doc(name: &str) -> DocId {
        DocId::parse(name).unwrap()
    }

    fn append(name: &str, byte: u8, length: usize) -> Keep {
        Keep::Append { doc: doc(name), chunk: chunk(&vec![byte; length]) }
    }

    fn batch(keeps: impl IntoIterator<Item = Keep>) -> Batch {
        let mut batch = Batch::default();
        keeps.into_iter().for_each(|keep| batch.push(keep));
        batch
    }

    /// What the store shows, as plain maps.
    fn shown(store: &Store) -> Kept {
        let documents = Shelf::documents(store).into_iter().map(|doc| (doc.clone(), store.document(&doc).unwrap())).collect();
        let index = store.keys("").into_iter().map(|key| (key.clone(), store.get(&key).unwrap())).collect();
        Kept { documents, index, fleet: store.fleet(), life: store.home.life(), aside: store.aside() }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Keep(Vec<Keep>),
        BeginLife,
        Reopen,
        Killed,
        LoseIndex,
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Step {
            match u8::arbitrary(g) % 16 {
                0..=10 => Step::Keep((0..g.size() % 9).map(|_| any_keep(g)).collect()),
                11 => Step::BeginLife,
                12 | 13 => Step::Reopen,
                14 => Step::Killed,
                _ => Step::LoseIndex,
            }
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = Step>> {
            let Step::Keep(keeps) = self else { return quickcheck::empty_shrinker() };
            let keeps = keeps.clone();
            Box::new(
                (0..keeps.len())
                    .map(move |n| Step::Keep(keeps.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, k)| k.clone()).collect())),
            )
        }
    }

    fn any_keep(g: &mut Gen) -> Keep {
        let names = ["fleet", "todos/2026-11", "todos/2026-11.2", "local/todos/2026-11", "sessions/2026-10"];
        let doc = doc(g.choose(&names).unwrap());
        let key = (*g.choose(&["a", "a/b", "a/c", "ab", "b"]).unwrap()).to_owned();
        match u8::arbitrary(g) % 16 {
            0..=6 => Keep::Append { doc, chunk: some_chunks(g) },
            7 | 8 => Keep::Replace { doc, bytes: some_chunks(g) },
            9 | 10 => Keep::Drop { doc },
            11 => Keep::Fleet { bytes: Vec::arbitrary(g) },
            12 => Keep::Life { counter: u64::from(u8::arbitrary(g)) },
            _ => Keep::Index { key, value: Arbitrary::arbitrary(g) },
        }
    }

    fn some_chunks(g: &mut Gen) -> Vec<u8> {
        (0..=u8::arbitrary(g) % 3).flat_map(|_| chunk(&Vec::arbitrary(g))).collect()
    }

    fn equals_plain_maps(steps: Vec<Step>) -> bool {
        let (_base, dir) = spare();
        let (mut kept, mut open) = (Kept::default(), store(&dir));
        for step in steps {
            match step {
                Step::Keep(keeps) => {
                    let batch = batch(keeps);
                    batch.apply_to(&mut kept);
                    open.keep(&batch).unwrap();
                }
                Step::BeginLife => {
                    kept.life += 1;
                    assert_eq!(open.begin_life().unwrap(), kept.life);
                }
                Step::Reopen => {
                    drop(open);
                    open = store(&dir);
                }
                Step::Killed => {
                    open.home.distrust();
                    drop(open);
                    open = store(&dir);
                }
                Step::LoseIndex => {
                    drop(open);
                    fs::remove_dir_all(dir.join("index")).unwrap();
                    kept.index.clear();
                    open = store(&dir);
                }
            }
            assert_eq!(shown(&open), kept);
            let (notes, quarantined) = (open.notes(), open.lost());
            assert!(notes.is_empty() && quarantined.is_empty(), "{notes:?} {quarantined:?}");
        }
        assert_eq!(shown(&looking(&dir)), Kept { index: Default::default(), ..kept.clone() });
        drop(open);
        shown(&store(&dir)) == kept
    }

    #[test]
    fn it_equals_plain_maps_over_any_batches_and_openings() {
        QuickCheck::new().tests(40).quickcheck(equals_plain_maps as fn(Vec<Step>) -> bool);
    }

    #[test]
    fn who_only_looks_keeps_nothing_and_begins_no_life() {
        let (_base, dir) = spare();
        store(&dir).keep(&batch([append("fleet", 1, 50)])).unwrap();
        let looking = looking(&dir);
        assert!(matches!(looking.keep(&batch([append("fleet", 1, 50)])), Err(Error::ReadOnly)));
        assert!(matches!(looking.begin_life(), Err(Error::ReadOnly)));
        assert_eq!(shown(&looking).documents[&doc("fleet")], chunk(&[1; 50]));
    }

    #[test]
    fn who_only_looks_sees_what_a_running_one_keeps() {
        let (_base, dir) = spare();
        let running = store(&dir);
        running.keep(&batch([append("fleet", 1, 50)])).unwrap();
        let looking = looking(&dir);
        running.keep(&batch([append("fleet", 2, 60)])).unwrap();
        assert_eq!(looking.document(&doc("fleet")), running.document(&doc("fleet")));
        let half = [running.document(&doc("fleet")).unwrap(), chunk(&[3; 70])[..40].to_vec()].concat();
        fs::write(dir.join("docs/fleet.automerge"), half).unwrap();
        assert_eq!(looking.document(&doc("fleet")), running.document(&doc("fleet")), "a torn tail is skipped");
    }

    #[test]
    fn a_document_that_was_taken_away_is_not_continued_with_a_hole() {
        let (_base, dir) = spare();
        let open = store(&dir);
        open.keep(&batch([append("fleet", 1, 50)])).unwrap();
        fs::remove_file(dir.join("docs/fleet.automerge")).unwrap();
        for _ in 0..2 {
            assert!(matches!(open.keep(&batch([append("fleet", 2, 50)])), Err(Error::Io { .. })));
            assert_eq!(open.document(&doc("fleet")), None);
        }
        drop(open);
        assert_ne!(fs::read(dir.join("lock")).unwrap(), b"", "after a failed keep the next opening syncs what it reads");
        let open = store(&dir);
        open.keep(&batch([append("fleet", 3, 50)])).unwrap();
        assert_eq!(open.document(&doc("fleet")), Some(chunk(&[3; 50])));
    }

    /// Runs the test `name` of this file once more, in its own process, behind `front`; its output says why it failed.
    fn again_behind(front: &[&str], name: &str) {
        let mut command = Command::new(front[0]);
        command.args(&front[1..]).arg(std::env::current_exe().unwrap());
        let ran = command.args(["--exact", &format!("store::tests::{name}"), "--nocapture"]).env(INSIDE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    fn a_write_that_is_cut_short_is_full_and_leaves_what_was_there() {
        if std::env::var_os(INSIDE).is_none() {
            // Files of at most 64 blocks (of 512 or 1024 bytes); the shell's children are not killed for a longer one.
            return again_behind(
                &["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"],
                "a_write_that_is_cut_short_is_full_and_leaves_what_was_there",
            );
        }
        let (_base, dir) = spare();
        let open = store(&dir);
        let first = batch([append("fleet", 1, 8_000), append("todos/2026-11", 2, 8_000)]);
        open.keep(&first).unwrap();
        let mut kept = Kept::default();
        first.apply_to(&mut kept);
        let too_much = [append("todos/2026-11", 4, 70_000), append("sessions/2026-11", 4, 70_000), Keep::Fleet { bytes: vec![1; 70_000] }];
        for too_much in too_much {
            let error = open.keep(&batch([append("fleet", 3, 100), too_much])).unwrap_err();
            assert!(matches!(error, Error::Full), "{error}");
            let fleet = open.document(&doc("fleet")).unwrap();
            assert!(fleet == kept.documents[&doc("fleet")] || fleet.ends_with(&chunk(&[3; 100])), "wholly or not at all");
            kept.documents.insert(doc("fleet"), fleet);
            assert_eq!(shown(&open), kept);
            let next = batch([append("todos/2026-11", 5, 10)]);
            open.keep(&next).unwrap();
            next.apply_to(&mut kept);
            assert_eq!(shown(&open), kept, "what fits is kept again");
        }
        drop(open);
        let open = store(&dir);
        assert_eq!((shown(&open), open.lost().len()), (kept, 0));
    }

    #[test]
    fn a_full_disk_loses_nothing_and_space_mends_it() {
        let name = "a_full_disk_loses_nothing_and_space_mends_it";
        if std::env::var_os(INSIDE).is_none() {
            let base = tempfile::tempdir().unwrap();
            let mount = format!("mount -t tmpfs -o size=4m,mode=700 none '{}' &&", base.path().display());
            let possible = Command::new("unshare").args(["-m", "sh", "-c", &format!("{mount} true")]).output();
            if !possible.is_ok_and(|ran| ran.status.success()) {
                eprintln!("SKIPPED {name}: mounting a small disk needs root and unshare");
                return;
            }
            let run = format!("{mount} export TMPDIR='{}' && exec \"$@\"", base.path().display());
            return again_behind(&["unshare", "-m", "sh", "-c", &run, "sh"], name);
        }
        let (_base, dir) = spare();
        let open = store(&dir);
        let mut kept = Kept { life: open.begin_life().unwrap(), ..Kept::default() };
        let first = batch([append("fleet", 1, 3_000), append("todos/2026-11", 2, 3_000), Keep::Fleet { bytes: vec![9; 99] }]);
        open.keep(&first).unwrap();
        first.apply_to(&mut kept);
        let filler = dir.join("filler");
        let mut open = open;
        for reopened in [false, true] {
            while fs::write(&filler, vec![1; 4 << 20]).is_ok() {}
            if reopened {
                drop(open);
                open = store(&dir);
            }
            for too_much in [append("fleet", 3, 30_000), append("sessions/2026-11", 4, 30_000), Keep::Fleet { bytes: vec![1; 9_000] }] {
                let error = open.keep(&batch([too_much])).unwrap_err();
                assert!(matches!(error, Error::Full), "{error}");
                assert_eq!(Kept { index: Default::default(), ..shown(&open) }, kept);
            }
            assert!(matches!(open.begin_life(), Err(Error::Full)));
            assert_eq!(shown(&looking(&dir)), kept);
            fs::remove_file(&filler).unwrap();
            let next = batch([append("fleet", 3, 30_000), append("sessions/2026-11", 4, 30_000)]);
            open.keep(&next).unwrap();
            next.apply_to(&mut kept);
        }
        drop(open);
        let open = store(&dir);
        assert_eq!((shown(&open), open.lost().len()), (kept, 0));
        assert_eq!(open.begin_life().unwrap(), 2);
    }
}
