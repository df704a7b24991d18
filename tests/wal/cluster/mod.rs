//! Clusters of two real servers, and of three: switched over, switched back, refused, killed in the middle.

mod agent;
mod failover;
mod kill;
mod probe;
mod receive;
mod refuse;
mod rounds;
mod runbook;
mod switch;
mod takeover;
mod world;
