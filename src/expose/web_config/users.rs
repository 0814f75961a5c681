//! `basic_auth_users`: names and bcrypt hashes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bcrypt::HashParts;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// bcrypt's own range ends at 31, where one comparison takes days; 18 takes tens of seconds.
const DEAREST_COST: u32 = 18;

/// Who may ask, by bcrypt hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    hashes: BTreeMap<String, String>,
    /// The dearest hash of all, which stands in for that of an unknown user.
    stand_in: String,
}

impl Users {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The user's hash and `true`, or one that takes as long to compare with and `false`.
    pub(crate) fn hash_or_stand_in(&self, user: &str) -> (bool, &str) {
        match self.hashes.get(user) {
            Some(hash) => (true, hash),
            None => (false, &self.stand_in),
        }
    }
}

// Hashes stay out of every message.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UsersVisitor)
    }
}

struct UsersVisitor;

impl<'de> Visitor<'de> for UsersVisitor {
    type Value = Users;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of user names to bcrypt hashes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Users, A::Error> {
        let mut users = Users { hashes: BTreeMap::new(), stand_in: String::new() };
        let mut dearest = 0;
        while let Some((user, hash)) = map.next_entry::<String, String>()? {
            let wrong = |cause: &str| A::Error::custom(format!("user {user:?}: {cause}"));
            let cost =
                HashParts::from_str(&hash).map_err(|_| wrong("not a bcrypt hash"))?.get_cost();
            if !(4..=DEAREST_COST).contains(&cost) {
                return Err(wrong(&format!("bcrypt cost {cost}, expected 4 to {DEAREST_COST}")));
            }
            if users.hashes.contains_key(&user) {
                return Err(wrong("named twice"));
            }
            if cost > dearest {
                dearest = cost;
                users.stand_in.clone_from(&hash);
            }
            users.hashes.insert(user, hash);
        }
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

    #[test]
    fn an_unknown_user_costs_as_much_as_the_dearest_known_one() {
        let dear = HASH.replace("$10$", "$12$");
        let users: Users = serde_norway::from_str(&format!("a: {HASH}\nb: {dear}\n")).unwrap();
        assert_eq!(users.hash_or_stand_in("a"), (true, HASH));
        assert_eq!(users.hash_or_stand_in("nobody"), (false, dear.as_str()));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let error = |yaml: &str| serde_norway::from_str::<Users>(yaml).unwrap_err().to_string();
        let plain = error("alice: secret\n");
        assert!(plain.contains("user \"alice\": not a bcrypt hash"), "{plain}");
        assert!(!plain.contains("secret"), "{plain}");
        assert!(error(&format!("a: {HASH}\na: {HASH}\n")).contains("named twice"));
        let dear = HASH.replace("$10$", "$31$");
        assert!(error(&format!("a: {dear}\n")).contains("bcrypt cost 31"));
    }
}
