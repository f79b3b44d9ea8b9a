//! Larder server binary.
fn main() {}
