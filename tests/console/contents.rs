//! What lies in the snapshots of the made-up site.

use lifeboat::domain::Bytes;
use lifeboat::domain::view::TreeEntryView;

use crate::fixture::ago;

/// A directory of any snapshot.
pub fn tree(path: &str) -> Vec<TreeEntryView> {
    let entry = |name: &str, kind: &str, size: u64, mode: &str| TreeEntryView {
        name: name.to_owned(),
        kind: kind.to_owned(),
        size: Bytes(size),
        mode: mode.to_owned(),
        modified: Some(ago(60 * 10)),
        link_target: (kind == "symlink").then(|| "contracts/2026".to_owned()),
    };
    match path {
        "/" => vec![entry("srv", "dir", 0, "drwxr-xr-x")],
        "/srv" => vec![entry("documents", "dir", 0, "drwxr-x---")],
        _ => vec![
            entry("contracts", "dir", 0, "drwxr-x---"),
            entry("invoices", "dir", 0, "drwxr-x---"),
            entry("current", "symlink", 0, "lrwxrwxrwx"),
            entry("inventory.csv", "file", 48_211, "-rw-r-----"),
            entry("logo.png", "file", 7_400_112, "-rw-r--r--"),
            entry("readme.md", "file", 4_204, "-rw-r--r--"),
        ],
    }
}

/// The beginning of any file.
pub fn content(path: &str) -> Vec<u8> {
    if path.contains("logo") {
        (0..=255).cycle().take(600).collect()
    } else {
        b"# Documents\n\nContracts and invoices of all customers.\nAsk luis before moving anything.\n".to_vec()
    }
}
