//! The PostgreSQL source against a real server: dump, restore, proof, and what happens when things go wrong.

mod choose;
mod exported;
mod faults;
mod restores;
mod round_trip;
mod server;
mod world;
