//! The service as a client sees it, over real sockets.

mod answers;
mod client;
mod faults;
mod ledger;
mod limits;
mod service;
