//! larderctl.
fn main() {}
