//! Whole clusters against real servers: copied while they work, laid down, recovered, and what happens when things go wrong.

mod copy;
mod faults;
mod program;
mod world;
