//! Answers while no daemon runs, from document files alone: no index, no lock, no life, no repair, nothing is changed.
//!
//! Nobody was heard, so nobody is in reach: every agent is shown with its last word.

use std::sync::Arc;

use crate::config::Config;
use crate::model::id::Life;
use crate::model::view::View;
use crate::network::identity as keys;
use crate::replica::Replica;
use crate::store::{self, Store};

use super::clock;
use super::error::Error;
use super::identity;

/// What the documents say.
#[derive(Debug)]
pub struct Offline {
    /// What is shown.
    pub view: Arc<View>,
    /// One automerge document.
    pub export: Vec<u8>,
}

/// Opens the document files, changing nothing.
///
/// # Errors
/// They cannot be read, a newer version wrote them, or there is nothing yet.
pub fn open(config: &Config) -> Result<Offline, Error> {
    let key = keys::load(&config.home.data_dir)?.ok_or(Error::NotInitialised)?;
    let store = Store::open(&store::Options { read_only: true, ..config.store_options() })?;
    identity::check_fleet(&config.home.data_dir, &store)?;
    // No life: nobody is in reach, and what the replica would like to keep is dropped.
    let life = Life { counter: 0, nonce: 0 };
    let (replica, _unkept) = Replica::open(identity::of(config, &key), life, clock::now(), &store);
    Ok(Offline { view: replica.view(), export: replica.export() })
}
