//! What a restart would need, as seen of a real httpd, against `/proc` read by hand.

mod cgroup;
mod descriptors;
mod forecast;
mod ipc;
mod limits;
mod memory;
mod sockets;
