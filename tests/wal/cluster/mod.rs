//! Clusters of two real servers: switched over, switched back, refused, killed in the middle.

mod kill;
mod receive;
mod refuse;
mod runbook;
mod switch;
mod world;
