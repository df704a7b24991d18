//! Permission bits as `ls -l` shows them.

use super::tree::NodeKind;

/// Permission bits as `ls -l` shows them: `drwxr-xr-x`.
pub fn mode_text(kind: NodeKind, mode: u32) -> String {
    let mut text = String::from(match kind {
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::Dev => 'b',
        NodeKind::Chardev => 'c',
        NodeKind::File => '-',
        NodeKind::Irregular => '?',
    });
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => set,
            (true, false) => unset,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_like_ls() {
        assert_eq!(mode_text(NodeKind::File, 0o644), "-rw-r--r--");
        assert_eq!(mode_text(NodeKind::Dir, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(NodeKind::File, 0o4750), "-rwsr-x---");
        assert_eq!(mode_text(NodeKind::Symlink, 0o777), "lrwxrwxrwx");
    }
}
