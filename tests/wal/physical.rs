//! A base backup in the repository, put together by hand from what `pg_basebackup` wrote.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lifeboat::repo::{Assembler, AssemblyOptions, NodeKind, Progress, Repository};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{World, as_server, give_away, said};

impl World {
    /// Takes a base backup and puts it into the repository as a snapshot of the cluster.
    pub async fn snapshot(&self, name: &str) {
        self.snapshot_at(name, &self.server.connection().host).await;
    }

    /// The same of the server behind another socket; without histories, as where they were lost.
    pub async fn snapshot_at(&self, name: &str, host: &str) {
        let stage = self.own().join(format!("stage-{name}"));
        let output = as_server(&self.server.bin_dir.join("pg_basebackup"))
            .arg("-D")
            .arg(&stage)
            .args(["-h", host, "-U", "lifeboat"])
            .args(["-X", "fetch", "--checkpoint=fast", "--no-sync"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        for file in fs::read_dir(stage.join("pg_wal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if file.extension().is_some_and(|kind| kind == "history") {
                fs::remove_file(file).unwrap();
            }
        }
        let manifest: Value = serde_json::from_slice(&fs::read(stage.join("backup_manifest")).unwrap()).unwrap();
        let range = &manifest["WAL-Ranges"][0];
        let stopped_at =
            self.sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
        let about = json!({
            "format": 1, "program": "the tests", "kind": "postgres-physical", "source": "orders", "job": "orders",
            "run": name, "host": "here", "taken_at": stopped_at, "subject": [],
            "cluster": {
                "system": self.sql("select system_identifier from pg_control_system()"),
                "server_version": self.sql("show server_version"), "major": self.server.major,
                "timeline": range["Timeline"], "start_lsn": range["Start-LSN"], "stop_lsn": range["End-LSN"],
                "started_at": stopped_at, "stopped_at": stopped_at, "segment_size": 16 << 20, "block_size": 8192,
                "checksums": false, "standby": false, "method": "remote", "label": name, "size": 20_000_000,
            },
        });
        let store = lifeboat::store::open(&self.own().join("repo").display().to_string()).unwrap();
        let repo = Repository::open(store, &"a password".to_owned().into(), self.clock.clone())
            .await
            .unwrap();
        let options = AssemblyOptions {
            tags: ["lifeboat", "kind=postgres-physical", "source=orders", "job=orders"]
                .map(str::to_owned)
                .to_vec(),
            memory_budget_bytes: 64 << 20,
            ..AssemblyOptions::default()
        };
        let (assembly, assembler) = repo
            .begin_assembly(options, Progress::new(), CancellationToken::new())
            .await
            .unwrap();
        let (now, top) = (self.clock.now(), stage.clone());
        let putting = tokio::task::spawn_blocking(move || {
            assembler.enter(assembler.plain("", NodeKind::Dir, now)).unwrap();
            directory(&assembler, "data", &top);
            let text = serde_json::to_vec(&about).unwrap();
            assembler
                .bytes(assembler.plain("lifeboat.json", NodeKind::File, now), &text)
                .unwrap();
            assembler.leave().unwrap();
        });
        putting.await.unwrap();
        assembly.commit().await.unwrap();
        give_all(&self.own().join("repo"));
        fs::remove_dir_all(stage).unwrap();
    }
}

fn directory(assembler: &Assembler, name: &str, path: &Path) {
    let node = |name: &[u8], path: &Path| {
        assembler
            .node(name, path, &fs::symlink_metadata(path).unwrap())
            .unwrap()
    };
    assembler.enter(node(name.as_bytes(), path)).unwrap();
    let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap();
        if entry.is_dir() {
            directory(assembler, name.to_str().unwrap(), &entry);
        } else {
            assembler
                .bytes(node(name.as_bytes(), &entry), &fs::read(&entry).unwrap())
                .unwrap();
        }
    }
    assembler.leave().unwrap();
}

fn give_all(path: &Path) {
    give_away(path);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path());
        }
    }
}
