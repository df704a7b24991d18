//! Helpers of the tests of this room.
