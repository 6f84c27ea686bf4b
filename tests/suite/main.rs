//! Runs promptmill as a user would: the built binary, real sockets, real files, real signals.
//!
//! One binary for all of it, so that it links once. It is a target of the command line's crate, because cargo
//! hands the path of the built binary only to tests of the crate that builds it.

mod again;
mod as_tried;
mod browser;
mod bucket;
mod canary;
mod changes;
mod clock;
mod compare;
mod delta;
mod differential;
mod disk;
mod durable;
mod fault_points;
mod faults;
mod first_run;
mod guide;
mod histories;
mod init;
mod lanes;
mod lockfile;
mod money;
mod pass_through;
mod pipeline_file;
mod plan;
mod real_motions;
mod record;
mod report;
mod resume;
mod s3;
mod security;
mod servers;
mod settings;
mod source;
mod spy;
mod sql;
mod states;
mod support;
mod typed;
