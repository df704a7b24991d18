//! Retention and upkeep: what is read, what is refused, and what is written back.

use super::*;
use crate::domain::retention::RetentionPolicy;

fn with(retention: &str, repository: &str) -> String {
    SMALL.replace("[source.documents]", &format!("{repository}\n[source.documents]"))
        + "\n[job.documents.retention]\n"
        + retention
}

#[test]
fn what_is_kept_is_read_in_the_zone_of_the_job() {
    let text = with(
        "last = 3\ndaily = 7\nwithin = \"2d\"\ntags = [\"audit\"]\nmax_delete = \"20%\"",
        "",
    );
    let text = text.replace(
        "repository = \"near\"",
        "repository = \"near\"\nzone = \"Europe/Madrid\"",
    );
    let job = read(&text).unwrap().definitions.jobs[&JobName::from("documents")].clone();
    let expected = RetentionPolicy {
        keep_last: 3,
        keep_daily: 7,
        keep_within: Some(Millis::from_secs(2 * 86_400)),
        keep_tags: vec!["audit".to_owned()],
        max_delete: 20,
        zone: "Europe/Madrid".to_owned(),
        ..RetentionPolicy::default()
    };
    assert_eq!(job.retention, Some(expected));
    let without = read(SMALL).unwrap();
    assert_eq!(without.definitions.jobs[&JobName::from("documents")].retention, None);
}

#[test]
fn upkeep_is_read_and_what_is_left_out_has_its_default() {
    let upkeep = "trash = \"3d\"\nprune = \"0 4 * * 0\"\ncheck = { schedule = \"0 5 * * *\", read_data_subset = \"5%\" }\nzone = \"Europe/Madrid\"";
    let config = read(&with("daily = 7", upkeep)).unwrap();
    let upkeep = &config.definitions.repositories[&"near".into()].upkeep;
    assert_eq!(
        (upkeep.trash, upkeep.grace),
        (Millis::from_secs(3 * 86_400), Millis::from_secs(86_400))
    );
    assert_eq!(upkeep.prune.as_ref().unwrap().zone(), "Europe/Madrid");
    assert_eq!(upkeep.check.as_ref().unwrap().read_data_subset.as_deref(), Some("5%"));
}

#[test]
fn mistakes_are_named_where_they_stand() {
    for (retention, repository, expected) in [
        ("", "", "job.documents.retention: it has no rule"),
        (
            "daily = 7\nmax_delete = \"half\"",
            "",
            "job.documents.retention.max_delete: \"half\"",
        ),
        ("daily = 7\nfortnightly = 2", "", "unknown field `fortnightly`"),
        (
            "daily = 1000000",
            "",
            "job.documents.retention.daily: 1000000 is out of range",
        ),
        (
            "daily = 7",
            "prune = \"sometimes\"",
            "repository.near.prune: \"sometimes\" is not a cron",
        ),
        (
            "daily = 7",
            "zone = \"UTC\"",
            "repository.near.zone: there is no schedule",
        ),
        (
            "daily = 7",
            "check = { schedule = \"@daily\", read_data_subset = \"8/7\" }",
            "repository.near.check.read_data_subset: \"8/7\"",
        ),
    ] {
        let found = problems(&with(retention, repository), &[]);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{expected}: {found:?}"
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
