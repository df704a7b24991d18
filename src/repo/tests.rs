//! Tests of creating, opening and locking.
