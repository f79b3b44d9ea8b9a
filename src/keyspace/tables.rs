//! The tables of one shard, by database number.
//!
//! Nearly everybody uses database 0 only, so its table lies in the shard itself: one cache line less to wait for in
//! every look-up. The others are made when they are first used.

use super::table::Table;
use std::ops::{Index, IndexMut};

/// See the module's comment.
#[derive(Default)]
pub struct Tables {
    first: Table,
    others: Vec<Table>,
}

impl Tables {
    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The table of a database, if it was ever used.
    pub fn get(&self, database: usize) -> Option<&Table> {
        if database == 0 {
            Some(&self.first)
        } else {
            self.others.get(database - 1)
        }
    }

    /// The table of a database, if it was ever used.
    pub fn get_mut(&mut self, database: usize) -> Option<&mut Table> {
        if database == 0 {
            Some(&mut self.first)
        } else {
            self.others.get_mut(database - 1)
        }
    }

    /// The table of a database, made if need be.
    pub fn get_or_make(&mut self, database: usize) -> &mut Table {
        if database == 0 {
            return &mut self.first;
        }
        if self.others.len() < database {
            self.others.resize_with(database, Table::default);
        }
        &mut self.others[database - 1]
    }

    /// All tables, in the order of their databases.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// All tables, for changing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// Exchanges the tables of two databases.
    pub fn swap(&mut self, one: usize, other: usize) {
        let (low, high) = (one.min(other), one.max(other));
        if low == high {
            return;
        }
        self.get_or_make(high);
        if low == 0 {
            std::mem::swap(&mut self.first, &mut self.others[high - 1]);
        } else {
            self.others.swap(low - 1, high - 1);
        }
    }
}

impl Index<usize> for Tables {
    type Output = Table;
    fn index(&self, database: usize) -> &Table {
        if database == 0 {
            &self.first
        } else {
            &self.others[database - 1]
        }
    }
}

impl IndexMut<usize> for Tables {
    fn index_mut(&mut self, database: usize) -> &mut Table {
        if database == 0 {
            &mut self.first
        } else {
            &mut self.others[database - 1]
        }
    }
}
