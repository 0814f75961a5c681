//! Other httpds that live, and so may have what looks left.

use std::{collections::BTreeSet, time::Duration};

use super::owners::Owners;
use crate::{
    model::process::{Pid, ProcessState},
    observe::{
        process_table::Row,
        resources::{ResourceInstruments, Tree, paced::Paced},
    },
};

/// Every process is looked at, which takes some milliseconds where there are a thousand.
const PATIENCE: Duration = Duration::from_secs(60);
/// What distributions call httpd's program.
const NAMES: [&[u8]; 3] = [b"apache2", b"httpd", b"httpd.worker"];

/// When other parents of the same user began.
#[derive(Debug, Default)]
pub(super) struct Founders {
    /// As they were found then, in seconds since the epoch.
    found: Paced<Vec<i64>>,
}

impl Founders {
    /// One of them may have made something at this second: it had begun, and it lives.
    pub(super) fn have(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
        owners: &Owners,
        second: i64,
    ) -> bool {
        let begun = self.found.get(tree.at, PATIENCE, || find(tree, instruments, owners));
        begun.iter().any(|began| *began <= second.saturating_add(1))
    }
}

fn find(tree: &Tree<'_>, instruments: &mut ResourceInstruments<'_>, owners: &Owners) -> Vec<i64> {
    let table = instruments.table;
    let own: BTreeSet<Pid> = tree.children.iter().map(|child| child.pid).collect();
    let Ok(parent) = table.row(tree.parent.pid) else { return Vec::new() };
    let is_httpd = |row: &Row| {
        row.state != ProcessState::Ended
            && (row.name == parent.name || NAMES.contains(&row.name.as_slice()))
    };
    let all = table.all().unwrap_or_default().into_iter();
    let others = all.filter(|pid| *pid != tree.parent.pid && !own.contains(pid));
    let rows: Vec<Row> = others.filter_map(|pid| table.row(pid).ok()).filter(is_httpd).collect();
    let numbers: BTreeSet<i32> = rows.iter().map(|row| row.id.pid.as_raw()).collect();
    // Who was forked by one of them, or by this server's parent, founded nothing.
    let is_child =
        |row: &Row| numbers.contains(&row.parent) || row.parent == tree.parent.pid.as_raw();
    let mut founders: Vec<Row> = rows
        .iter()
        .filter(|row| !is_child(row) && table.user(row.id.pid) == Ok(owners.creator))
        .cloned()
        .collect();
    // What cannot be told of another's namespace is taken for the same.
    founders.retain(|row| instruments.readers.has_own_ipc(row.id) != Ok(false));
    founders.iter().map(|row| owners.began(row.id)).collect()
}
