//! The pillars' options in one place.
