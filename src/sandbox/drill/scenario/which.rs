//! Which stories there are: the scenarios, and one for every other runbook that comes with the program.
//!
//! A row says what is broken and which runbook is gone through; what a story has to have ready, what people do in it with their
//! hands and what is proved in the end are the tables of [`super`].

use crate::sandbox::incidents;

/// Which story is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The primary is killed.
    Failover,
    /// A DELETE without WHERE.
    Pitr,
    /// Rows are overwritten.
    Corruption,
    /// Files are encrypted.
    Ransomware,
    /// A whole region is gone.
    RegionLoss,
    /// Nobody but the shop reaches its primary.
    SplitNetwork,
    /// A repository has bytes that were not written.
    RepositoryDamaged,
    /// A repository has no room left.
    DiskFull,
    /// The primary is killed, and the agent acts without people.
    Automatic,
    /// Nobody is sure of the agent's machine.
    BreakGlass,
    /// Both servers are gone.
    DataCentre,
    /// The primary is killed, and can be started again.
    DatabaseDown,
    /// Back to the first primary, after a failover.
    Failback,
    /// A failover that is planned.
    Switchover,
    /// The restore test of the month.
    Monthly,
    /// The drill of the quarter.
    Quarterly,
    /// The rows of one table are gone.
    SingleTable,
}

/// What is known of a story before it begins.
struct Row {
    story: Scenario,
    word: &'static str,
    title: &'static str,
    runbook: &'static str,
    /// What is broken; nothing where the runbook is for quiet days.
    incident: Option<&'static str>,
}

const fn row(
    story: Scenario,
    word: &'static str,
    title: &'static str,
    runbook: &'static str,
    incident: Option<&'static str>,
) -> Row {
    Row {
        story,
        word,
        title,
        runbook,
        incident,
    }
}

/// The scenarios first; after them, in the order of their runbooks, what is played as a drill only.
const ROWS: [Row; 17] = {
    use Scenario as S;
    use incidents as i;
    let kill = Some(i::KILL_PRIMARY);
    [
        row(
            S::Failover,
            "failover",
            "the primary is killed",
            "manual-failover",
            kill,
        ),
        row(
            S::Pitr,
            "pitr",
            "a DELETE without WHERE",
            "partial-data-loss",
            Some(i::DELETE_ROWS),
        ),
        row(
            S::Corruption,
            "corruption",
            "rows are overwritten",
            "database-corruption",
            Some(i::ENCRYPT_ROWS),
        ),
        row(
            S::Ransomware,
            "ransomware",
            "files are encrypted",
            "ransomware",
            Some(i::ENCRYPT_FILES),
        ),
        row(
            S::RegionLoss,
            "region-loss",
            "a whole region is gone",
            "regional-failure",
            Some(i::LOSE_REGION),
        ),
        row(
            S::SplitNetwork,
            "split-network",
            "nobody but the shop reaches its primary",
            "split-network",
            Some(i::SPLIT_NETWORK),
        ),
        row(
            S::RepositoryDamaged,
            "repository-damaged",
            "a repository has bytes that were not written",
            "repository-damaged",
            Some(i::DAMAGE_REPOSITORY),
        ),
        row(
            S::DiskFull,
            "disk-full",
            "a repository has no room left",
            "repository-full",
            Some(i::DISK_FULL),
        ),
        row(
            S::Automatic,
            "automatic",
            "the primary is killed, and nobody is asked",
            "automatic-failover",
            kill,
        ),
        row(
            S::BreakGlass,
            "break-glass",
            "nobody is sure of the agent's machine",
            "break-glass",
            None,
        ),
        row(
            S::DataCentre,
            "data-centre",
            "both servers are killed",
            "data-centre-loss",
            kill,
        ),
        row(
            S::DatabaseDown,
            "database-down",
            "the primary is killed",
            "database-down",
            kill,
        ),
        row(S::Failback, "failback", "back to the first primary", "failback", None),
        row(
            S::Switchover,
            "switchover",
            "the standby takes over, as planned",
            "manual-failover",
            None,
        ),
        row(
            S::Monthly,
            "monthly",
            "a restore test on a quiet day",
            "monthly-restore-test",
            None,
        ),
        row(
            S::Quarterly,
            "quarterly",
            "everything, on a quiet day",
            "quarterly-drill",
            None,
        ),
        row(
            S::SingleTable,
            "single-table",
            "a DELETE without WHERE",
            "single-table-recovery",
            Some(i::DELETE_ROWS),
        ),
    ]
};

impl Scenario {
    /// The scenarios.
    pub const ALL: [Self; 8] = [
        Self::Failover,
        Self::Pitr,
        Self::Corruption,
        Self::Ransomware,
        Self::RegionLoss,
        Self::SplitNetwork,
        Self::RepositoryDamaged,
        Self::DiskFull,
    ];

    /// One story for every runbook that comes with the program, in their order. Of a failover it is the planned one: the other
    /// is a scenario.
    pub const DRILLS: [Self; 16] = [
        Self::Automatic,
        Self::BreakGlass,
        Self::DataCentre,
        Self::Corruption,
        Self::DatabaseDown,
        Self::Failback,
        Self::Switchover,
        Self::Monthly,
        Self::Pitr,
        Self::Quarterly,
        Self::Ransomware,
        Self::RegionLoss,
        Self::RepositoryDamaged,
        Self::DiskFull,
        Self::SingleTable,
        Self::SplitNetwork,
    ];

    fn row(self) -> &'static Row {
        // Every variant has its row, which the test below counts.
        ROWS.iter().find(|row| row.story == self).unwrap_or(&ROWS[0])
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// What happens in it, in a few words.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The runbook that is gone through.
    pub fn runbook(self) -> &'static str {
        self.row().runbook
    }

    /// What is broken.
    pub(super) fn incident(self) -> Option<&'static str> {
        self.row().incident
    }

    /// Reads the word for a scenario.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// The drill of a runbook.
    pub fn of_runbook(name: &str) -> Option<Self> {
        Self::DRILLS.into_iter().find(|known| known.runbook() == name)
    }

    /// Whether it can be played without a database server.
    pub(super) fn needs_server(self) -> bool {
        !matches!(
            self,
            Self::Ransomware | Self::BreakGlass | Self::RepositoryDamaged | Self::DiskFull
        )
    }

    /// Whether it goes on without people as far as it can.
    pub(super) fn is_unattended(self) -> bool {
        self == Self::Automatic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_that_comes_with_the_program_has_its_drill() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/runbooks");
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = names
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let drills: Vec<&str> = Scenario::DRILLS.iter().map(|story| story.runbook()).collect();
        assert_eq!(drills, names);
        for row in &ROWS {
            assert_eq!(row.story.word(), row.word, "every story has one row");
        }
    }
}
