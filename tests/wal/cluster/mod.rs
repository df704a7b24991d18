//! Clusters of two real servers: switched over, switched back, refused, killed in the middle.

mod kill;
mod refuse;
mod switch;
mod world;
