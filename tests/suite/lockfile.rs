//! One arrow, one parquet, one DataFusion, one object store: two would not understand each other's types.

use crate::support::root;

#[test]
fn the_lock_file_holds_one_version_of_what_must_fit_together() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for name in ["arrow", "arrow-array", "arrow-schema", "parquet", "datafusion", "datafusion-common", "object_store"] {
        let count = lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
        assert_eq!(count, 1, "{name}");
    }
}
