//! What a configuration names while it is read: definitions, modules and macros.

use std::collections::{BTreeMap, BTreeSet};

use super::{limits::Room, macros::Macro};

/// All that is named so far; there is room for so much.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) defines: BTreeSet<Vec<u8>>,
    pub(super) modules: BTreeSet<Vec<u8>>,
    /// Values of what is defined: conditions are decided while httpd reads.
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    macros: BTreeMap<Vec<u8>, Macro>,
    /// For the names of error logs too.
    pub(super) room: Room,
}

impl Named {
    pub(super) const fn new(defines: BTreeSet<Vec<u8>>, modules: BTreeSet<Vec<u8>>) -> Self {
        let values = BTreeMap::new();
        Self { defines, modules, values, macros: BTreeMap::new(), room: Room::whole() }
    }

    pub(super) fn value(&self, name: &[u8]) -> Option<&Vec<u8>> {
        self.values.get(name)
    }

    pub(super) fn told(&self, name: &[u8]) -> Option<&Macro> {
        self.macros.get(name)
    }

    /// `LoadModule`; whether there was room.
    pub(super) fn load(&mut self, name: Vec<u8>) -> bool {
        keep(name, &mut self.modules, &mut self.room)
    }

    /// `Define`; whether there was room. Without a value it keeps the one that it has.
    pub(super) fn define(&mut self, name: Vec<u8>, value: Option<Vec<u8>>) -> bool {
        let mut is_kept = true;
        if let Some(value) = value {
            self.forget_value(&name);
            is_kept = self.room.take(name.len().saturating_add(value.len()));
            if is_kept {
                self.values.insert(name.clone(), value);
            }
        }
        keep(name, &mut self.defines, &mut self.room) && is_kept
    }

    /// `UnDefine`.
    pub(super) fn undefine(&mut self, name: &[u8]) {
        if self.defines.remove(name) {
            self.room.give_back(name.len());
        }
        self.forget_value(name);
    }

    /// `<Macro>`, in the place of an earlier one; if there is no room, none has this name.
    pub(super) fn tell(&mut self, name: Vec<u8>, told: Macro) {
        if let Some(earlier) = self.macros.remove(&name) {
            self.room.give_back(name.len().saturating_add(earlier.bytes()));
        }
        if self.room.take(name.len().saturating_add(told.bytes())) {
            self.macros.insert(name, told);
        }
    }

    fn forget_value(&mut self, name: &[u8]) {
        if let Some(value) = self.values.remove(name) {
            self.room.give_back(name.len().saturating_add(value.len()));
        }
    }
}

fn keep(name: Vec<u8>, names: &mut BTreeSet<Vec<u8>>, room: &mut Room) -> bool {
    let is_kept = names.contains(&name) || room.take(name.len());
    if is_kept {
        names.insert(name);
    }
    is_kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_no_more_leaves_its_room_to_others() {
        let mut named = Named::new(BTreeSet::new(), BTreeSet::new());
        let large = || Some(vec![b'x'; 1 << 20]);
        for _ in 0..100 {
            assert!(named.define(b"A".to_vec(), large()));
            assert!(named.define(b"B".to_vec(), large()));
            named.undefine(b"B");
            let (name, mut told) = Macro::named(b"M $x>");
            told.add(&b"x".repeat(1 << 20));
            named.tell(name, told);
            assert!(named.load(b"a_module".to_vec()));
        }
        assert!(named.value(b"A").is_some() && named.value(b"B").is_none());
        assert!(named.told(b"m").is_some());
        let all = (0..10).map(|name| named.define(vec![name], large()));
        assert_eq!(all.filter(|is_kept| *is_kept).count(), 1);
    }
}
