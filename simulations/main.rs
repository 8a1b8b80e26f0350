//! The same replica as the daemon's, with virtual clocks, links and disks, driven by plans that are drawn from a seed,
//! checked after every step, shrunk when they fail and kept for ever in `cases/`. `README.md` says how to run and replay.

mod agreement;
mod book;
mod chance;
mod disk;
mod files;
mod links;
mod oracle;
mod people;
mod plan;
mod run;
mod trace;
mod world;
