//! What we keep; the only home of sled.
