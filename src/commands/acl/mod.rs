//! Users and what they may do (ACL).
//!
//! A [`User`] is immutable once it is published: changing one makes a new one and a new table of all users, which takes
//! the place of the former as a whole ([`Users`]). A session keeps the user it runs as and the version of the table it
//! took it from, so that a command of a user without restrictions costs one comparison of versions and one look at a flag.
//!
//! - [`selector`]: commands, keys and channels that are allowed, and the rules that say so;
//! - [`user`]: passwords and selectors of one user, its rules and its description;
//! - [`users`]: all users, the ACL file, authentication;
//! - [`check()`]: whether a user may run a command line, for dispatch, EXEC and scripts;
//! - [`log`]: what was denied;
//! - [`commands`]: ACL and its subcommands.

pub mod check;
pub mod commands;
pub mod log;
pub mod selector;
#[cfg(test)]
mod tests;
pub mod user;
pub mod users;

pub use check::{Denial, check, check_and_log, may_read_all_keys};
pub use log::{AclLog, LogContext, Reason};
pub use user::User;
pub use users::{UserTable, Users};
