//! One picture of all coding agents on all machines of one person, without a hub.
//!
//! Imports point down: [`model`] names nobody; [`rules`] and [`ingest`] name `model`; [`replica`] names those three; every
//! pillar with hands names `model` only; the daemon wires them. `docs/ARCHITECTURE.md` has the picture, and
//! `tests/architecture.rs` holds it.

pub mod ingest;
pub mod model;
pub mod replica;
pub mod rules;

#[cfg(feature = "daemon")]
pub mod api;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod network;
#[cfg(feature = "daemon")]
pub mod setup;
#[cfg(feature = "daemon")]
pub mod sources;
#[cfg(feature = "daemon")]
pub mod store;
