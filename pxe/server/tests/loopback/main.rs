//! The whole server on the loopback interface, with clients written here.

mod crowd;
mod habits;
mod hostile;
mod http;
mod images;
mod life;
mod policies;
mod rig;
mod tftp;
