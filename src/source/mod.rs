//! (essay follows)
