//! The runbooks that come with the program.

use std::path::PathBuf;

use crate::config::section::SourceFile;

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        const SHIPPED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../assets/runbooks/", $name, ".toml")))),*];
    };
}

shipped![
    "automatic-failover",
    "break-glass",
    "data-centre-loss",
    "database-corruption",
    "database-down",
    "failback",
    "manual-failover",
    "monthly-restore-test",
    "partial-data-loss",
    "quarterly-drill",
    "ransomware",
    "regional-failure",
    "repository-damaged",
    "repository-full",
    "single-table-recovery",
    "split-network",
];

/// Their files, as if they lay in a directory of their own.
pub(super) fn files() -> Vec<SourceFile> {
    let file = |(name, text): &(&str, &str)| SourceFile {
        path: PathBuf::from(format!("assets/runbooks/{name}.toml")),
        text: (*text).to_owned(),
    };
    SHIPPED.iter().map(file).collect()
}
