//! Clusters of two real servers: switched over, switched back, refused, killed in the middle.

mod failover;
mod kill;
mod probe;
mod receive;
mod refuse;
mod runbook;
mod switch;
mod world;
