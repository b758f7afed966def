//! Joining and enrolling between namespaces with the real `meadow` and `meadowd`, and all that can go wrong with it.

mod crash;
mod full_disk;
mod join;
mod restart;
mod seed;
mod support;
mod tickets;
mod tokens;
