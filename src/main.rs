//! hubless
fn main() {}
