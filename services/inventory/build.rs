//! Rebuilds when a migration changes: the compiler does not see into the folder.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
