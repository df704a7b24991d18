//! What to leave out: patterns in gitignore syntax.
//!
//! A pattern is tried below the path being backed up and, when it says nothing there, from the root of the file system:
//! `cache/` and `/srv/www/cache` both mean what they look like. A directory that is left out is not entered.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::repo::error::RepoError;

/// The patterns, compiled for one path.
#[derive(Debug, Clone)]
pub(crate) struct Excludes {
    below: Gitignore,
    from_root: Gitignore,
    none: bool,
}

impl Excludes {
    pub(crate) fn new(patterns: &[String], base: &Path) -> Result<Self, RepoError> {
        let build = |root: &Path| {
            let mut builder = GitignoreBuilder::new(root);
            for pattern in patterns {
                let invalid = |error: ignore::Error| RepoError::Invalid {
                    what: format!("the pattern {pattern:?} is not in gitignore syntax: {error}"),
                };
                builder.add_line(None, pattern).map_err(invalid)?;
            }
            builder.build().map_err(|error| RepoError::Invalid {
                what: format!("the patterns are invalid: {error}"),
            })
        };
        Ok(Self {
            below: build(base)?,
            from_root: build(Path::new("/"))?,
            none: patterns.is_empty(),
        })
    }

    /// Whether `path`, which is below the base, is left out.
    pub(crate) fn matches(&self, path: &Path, is_dir: bool) -> bool {
        if self.none {
            return false;
        }
        match self.below.matched(path, is_dir) {
            Match::None => self.from_root.matched(path, is_dir).is_ignore(),
            found => found.is_ignore(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_look_like() {
        let patterns = ["*.log", "!keep.log", "cache/", "/srv/www/tmp", "a/b"].map(str::to_owned);
        let excludes = Excludes::new(&patterns, Path::new("/srv/www")).unwrap();
        for (path, is_dir, expected) in [
            ("/srv/www/x.log", false, true),
            ("/srv/www/deep/x.log", false, true),
            ("/srv/www/keep.log", false, false),
            ("/srv/www/deep/cache", true, true),
            ("/srv/www/cache", false, false),
            ("/srv/www/tmp", true, true),
            ("/srv/www/a/b", false, true),
            ("/srv/www/c/a/b", false, false),
        ] {
            assert_eq!(excludes.matches(Path::new(path), is_dir), expected, "{path}");
        }
        assert!(Excludes::new(&["[z-a]".to_owned()], Path::new("/")).is_err());
    }
}
