//! Small adapters between rooms that do not know each other: the tiers ask for durability and for snapshot blocks,
//! recovery asks for cold records.

use crate::error::InternalError;
use crate::keyspace::{Keyspace, SHARDS};
use crate::persist::{ColdStore, ColdVersion, Journaling, LazySnapshot};
use crate::tier::{Cold, Durability, Loader, Tier};
use crate::value::Value;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
