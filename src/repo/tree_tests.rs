//! Trees, written and read.

use super::*;
use proptest::prelude::*;

/// As written by restic 0.14, with a name that is not UTF-8.
const RESTIC: &str = concat!(
    r#"{"nodes":[{"name":"a\\xff\\u00a0\u003cb","type":"file","mode":420,"mtime":"2026-11-20T10:38:56.803708803Z","#,
    r#""atime":"2026-11-20T10:38:56.803708803Z","ctime":"2026-11-20T10:38:56.803708803Z","uid":0,"gid":0,"user":"root","#,
    r#""group":"root","inode":10010820,"device_id":65024,"size":1,"links":1,"#,
    r#""content":["2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]},"#,
    r#"{"name":"d","type":"dir","mode":2147484141,"mtime":"2020-01-01T00:00:00.12Z","atime":"2020-01-01T00:00:00.12Z","#,
    r#""ctime":"2026-11-20T10:38:56.806916445Z","uid":0,"gid":0,"user":"root","group":"root","inode":10010815,"#,
    r#""device_id":65024,"content":null,"subtree":"ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"},"#,
    r#"{"name":"empty","type":"file","mode":420,"mtime":"2026-11-20T10:38:56Z","atime":"2026-11-20T10:38:56Z","#,
    r#""ctime":"2026-11-20T10:38:56Z","uid":0,"gid":0,"links":1,"content":[]},"#,
    r#"{"name":"l","type":"symlink","mode":134218239,"mtime":"2026-11-20T10:38:56Z","atime":"2026-11-20T10:38:56Z","#,
    r#""ctime":"2026-11-20T10:38:56Z","uid":0,"gid":0,"links":1,"linktarget":"f\u003e","extended_attributes":"#,
    r#"[{"name":"user.foo","value":"YmFy"}],"content":null}]}"#,
    "\n"
);

#[test]
fn a_tree_of_restic_is_read_and_written_back_byte_for_byte() {
    let nodes = decode(RESTIC.as_bytes()).unwrap();
    assert_eq!(nodes[0].name, b"a\xff\xc2\xa0<b");
    assert_eq!(nodes[3].xattrs[0].value, b"bar");
    assert_eq!(String::from_utf8(encode(&nodes)).unwrap(), RESTIC);
}

#[test]
fn modes_translate_both_ways() {
    for (unix, go) in [
        (0o040_755, 2_147_484_141),
        (0o120_777, 134_218_239),
        (0o010_644, 33_554_852),
    ] {
        assert_eq!(gomode::from_unix(unix), go);
    }
    let go = gomode::from_unix(0o106_755 & 0o7777 | 0o100_000);
    assert_eq!(gomode::to_unix_permissions(go), 0o6755);
    assert_eq!(
        gomode::from_unix(0o020_600),
        gomode::DEVICE | gomode::CHAR_DEVICE | 0o600
    );
}

#[test]
fn hostile_names_are_refused() {
    for name in ["", ".", "..", "a/b", "/etc", "a\\x00b", "..\\x2f", "\\x2e\\x2e"] {
        let json = serde_json::json!({"nodes": [{"name": name, "type": "file"}]});
        assert!(decode(json.to_string().as_bytes()).is_err(), "{name}");
    }
    let twice = serde_json::json!({"nodes": [{"name": "a", "type": "symlink"}, {"name": "a", "type": "dir"}]});
    assert!(decode(twice.to_string().as_bytes()).unwrap_err().contains("twice"));
    assert_eq!(decode(b"{\"nodes\":null}").unwrap(), []);
}

proptest! {
    #[test]
    fn any_node_survives(
        name in proptest::collection::vec(any::<u8>().prop_filter("of a name", |b| !matches!(b, 0 | b'/' | b'.')), 1..30),
        numbers: (u32, u32, u32, u64, u64), target in proptest::collection::vec(any::<u8>(), 0..20),
        secs in -62_135_596_800i64..253_402_300_799, nanos in 0u32..1_000_000_000, value: Vec<u8>, ids: Vec<[u8; 32]>,
    ) {
        let mut node = Node::new(&name, NodeKind::File);
        (node.mode, node.uid, node.gid, node.size, node.inode) = numbers;
        node.mtime = Time { secs, nanos };
        node.link_target = target;
        node.xattrs = vec![Xattr { name: "user.x".into(), value }];
        node.content = ids.into_iter().map(Id).collect();
        prop_assert_eq!(decode(&encode([&node])).unwrap(), vec![node]);
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }
}
