//! What is written: read back the same, and nothing that would not work.

use super::*;

#[test]
fn what_is_written_is_read_back_the_same() {
    let (dir, path) = written(&uncommented(), &[]);
    let config = load(&path, None, &world()).unwrap();
    let all = config.definitions.clone();
    let mut now = config;
    for repository in all.repositories.values() {
        let mut copy = repository.clone();
        copy.name = format!("{}-2", copy.name).into();
        now = dropin::write_repository(&now, &copy).unwrap();
        assert_eq!(now.definitions.repositories[&copy.name], copy);
    }
    for source in all.sources.values() {
        let mut copy = source.clone();
        copy.name = format!("{}-2", copy.name).into();
        now = dropin::write_source(&now, &copy).unwrap();
        assert_eq!(now.definitions.sources[&copy.name], copy);
    }
    for job in all.jobs.values() {
        let mut copy = job.clone();
        copy.name = format!("{}-2", copy.name).into();
        copy.source = format!("{}-2", copy.source).into();
        now = dropin::write_job(&now, &copy).unwrap();
        assert_eq!(now.definitions.jobs[&copy.name], copy);
    }
    for service in all.services.values() {
        let mut copy = service.clone();
        copy.name = format!("{}-2", copy.name).into();
        now = dropin::write_service(&now, &copy).unwrap();
        assert_eq!(now.definitions.services[&copy.name], copy);
    }
    // What the calls returned is what a fresh start reads, and the main file is as it was.
    assert_eq!(load(&path, None, &Surroundings::real()).unwrap(), now);
    assert_eq!(fs::read_to_string(&path).unwrap(), uncommented());
    for entry in fs::read_dir(dir.path().join("conf.d")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
        assert!(!entry.file_name().to_str().unwrap().starts_with('.'), "{entry:?}");
    }
}

#[test]
fn a_change_keeps_the_rest_of_its_file() {
    let dropin = "# Ours.\n[job.far] # nightly\nsource = \"documents\"\nrepository = \"near\"\n\n[source.far]\nkind = \"files\"\npaths = [\"/far\"] # all\n";
    let (dir, path) = written(SMALL, &[("far.toml", dropin)]);
    let config = load(&path, None, &world()).unwrap();
    let mut job = config.definitions.jobs[&JobName::from("far")].clone();
    job.timeout = Some(Millis::from_secs(60));
    let config = dropin::write_job(&config, &job).unwrap();
    let file = dir.path().join("conf.d/far.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("timeout = \"1m\"") && text.contains("# Ours.") && text.contains("# all"),
        "{text}"
    );

    let config = dropin::remove(&config, Kind::Job, "far").unwrap();
    assert!(!config.definitions.jobs.contains_key(&JobName::from("far")));
    assert!(fs::read_to_string(&file).unwrap().contains("# all"));
    let config = dropin::remove(&config, Kind::Source, "far").unwrap();
    assert!(!file.exists(), "a file that says nothing goes");
    assert_eq!(config.files, [path]);
}

#[test]
fn a_change_that_would_not_work_is_not_made() {
    let (dir, path) = written(
        SMALL,
        &[("far.toml", "[source.far]\nkind = \"files\"\npaths = [\"/far\"]\n")],
    );
    let config = load(&path, None, &world()).unwrap();
    let mut job = config.definitions.jobs[&JobName::from("documents")].clone();
    // What people wrote by hand stays theirs.
    let error = dropin::write_job(&config, &job).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Elsewhere { path: file, .. } if *file == path),
        "{error}"
    );
    let error = dropin::remove(&config, Kind::Job, "documents").unwrap_err();
    assert!(matches!(error, ConfigError::Elsewhere { .. }), "{error}");
    let error = dropin::remove(&config, Kind::Job, "none").unwrap_err();
    assert!(matches!(error, ConfigError::Unknown { .. }), "{error}");

    job.name = "new".into();
    job.source = "nowhere".into();
    let error = dropin::write_job(&config, &job).unwrap_err();
    assert!(error.to_string().contains("there is no source \"nowhere\""), "{error}");
    job.name = "../../escape".into();
    let error = dropin::write_job(&config, &job).unwrap_err();
    assert!(error.to_string().contains("cannot be a name"), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("conf.d")).unwrap().count(), 1);

    // Something else needs it.
    put(
        &dir.path().join("conf.d/job.toml"),
        "[job.far]\nsource = \"far\"\nrepository = \"near\"\n",
    );
    let config = load(&path, None, &world()).unwrap();
    let error = dropin::remove(&config, Kind::Source, "far").unwrap_err();
    assert!(
        error.to_string().contains("job.far.source: there is no source \"far\""),
        "{error}"
    );
    assert!(dir.path().join("conf.d/far.toml").exists());
}
