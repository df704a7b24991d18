//! Trees read back: of restic's making or ours, and of nobody's honest making, which is refused.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

use super::{Node, NodeKind, Xattr};
use crate::repo::gojson;
use crate::repo::gotime::Time;
use crate::repo::id::Id;

#[derive(Deserialize)]
struct TreeJson<'a> {
    #[serde(borrow)]
    nodes: Option<Vec<NodeJson<'a>>>,
}

#[derive(Deserialize)]
struct NodeJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: NodeKind,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mtime: Time,
    #[serde(default)]
    atime: Time,
    #[serde(default)]
    ctime: Time,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default, borrow)]
    user: Cow<'a, str>,
    #[serde(default, borrow)]
    group: Cow<'a, str>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default, borrow)]
    linktarget: Cow<'a, str>,
    #[serde(default, borrow)]
    linktarget_raw: Option<Cow<'a, str>>,
    #[serde(default)]
    extended_attributes: Option<Vec<XattrJson>>,
    #[serde(default)]
    device: u64,
    #[serde(default)]
    content: Option<Vec<Id>>,
    #[serde(default)]
    subtree: Option<Id>,
}

#[derive(Deserialize)]
struct XattrJson {
    name: String,
    value: Option<String>,
}

/// Reads a tree; the error says what is wrong with it.
///
/// Names that could leave the directory, and names that occur twice, make the whole tree invalid: no honest client
/// writes them, and everything that walks a tree may rely on their absence.
pub fn decode(json: &[u8]) -> Result<Vec<Node>, String> {
    let tree: TreeJson<'_> = serde_json::from_slice(json).map_err(|error| format!("not a tree: {error}"))?;
    let mut nodes = tree
        .nodes
        .unwrap_or_default()
        .into_iter()
        .map(node)
        .collect::<Result<Vec<_>, _>>()?;
    if !nodes.is_sorted_by(|a, b| a.name < b.name) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(format!("the name {:?} occurs twice", pair[0].display_name()));
        }
    }
    Ok(nodes)
}

fn node(json: NodeJson<'_>) -> Result<Node, String> {
    let name = gojson::unquote(&json.name).ok_or_else(|| format!("the name {:?} is not quoted well", json.name))?;
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(format!(
            "the name {:?} could leave its directory",
            String::from_utf8_lossy(&name)
        ));
    }
    let base64 = |text: &str| {
        BASE64_STANDARD
            .decode(text)
            .map_err(|_| "an attribute is not base64".to_owned())
    };
    let link_target = match json.linktarget_raw.filter(|raw| !raw.is_empty()) {
        Some(raw) => base64(&raw)?,
        None => json.linktarget.into_owned().into_bytes(),
    };
    let xattr = |xattr: XattrJson| -> Result<Xattr, String> {
        Ok(Xattr {
            name: xattr.name,
            value: base64(&xattr.value.unwrap_or_default())?,
        })
    };
    Ok(Node {
        name,
        kind: json.kind,
        mode: json.mode,
        mtime: json.mtime,
        atime: json.atime,
        ctime: json.ctime,
        uid: json.uid,
        gid: json.gid,
        user: json.user.into_owned(),
        group: json.group.into_owned(),
        inode: json.inode,
        device_id: json.device_id,
        size: json.size,
        links: json.links,
        link_target,
        xattrs: json
            .extended_attributes
            .unwrap_or_default()
            .into_iter()
            .map(xattr)
            .collect::<Result<_, _>>()?,
        device: json.device,
        content: json.content.unwrap_or_default(),
        subtree: json.subtree,
    })
}
