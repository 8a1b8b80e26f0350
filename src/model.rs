//! The nouns that two or more rooms speak: no rule, no hands, no clock.
//!
//! Who knows [`input::Input`], [`effects::Effects`] and [`view::View`] knows what can happen, what can be asked of the
//! world, and what people see. Everything else is a part of those three.

pub mod ask;
pub mod batch;
pub mod beat;
pub mod bucket;
pub mod checkup;
pub mod effects;
pub mod fact;
pub mod id;
pub mod input;
pub mod leaving;
pub mod limits;
pub mod member;
pub mod message;
pub mod peering;
pub mod reply;
pub mod rows;
pub mod schedule;
pub mod session;
pub mod text;
pub mod time;
pub mod todo;
pub mod tool;
pub mod view;
