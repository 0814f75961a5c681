//! Basic authentication: one bcrypt at a time, and none for credentials that were good lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::expose::web_config::Users;

/// How many good credentials are remembered: more than a server has scrapers.
const REMEMBERED: usize = 64;

/// How long a password may wait for its turn; bcrypt at a high cost takes seconds.
const TURN: Duration = Duration::from_secs(10);

/// What a request's credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// A user's own.
    Granted,
    /// None, or wrong ones.
    Denied,
    /// Too many others wait to be compared.
    Busy,
}

/// Compares credentials with the users' hashes.
#[derive(Debug)]
pub(super) struct Authentication {
    /// Of this process alone; `None`, without which nothing is remembered, if there was no
    /// randomness.
    key: Option<hmac::Key>,
    /// Keyed digests of good credentials together with the hash that they matched, the latest
    /// last. Neither a password nor anything that is of use to another process.
    good: watch::Sender<VecDeque<[u8; 32]>>,
    places: Semaphore,
    turn: Arc<Semaphore>,
}

impl Authentication {
    /// Lets `places` passwords wait, the one that is compared included.
    pub(super) fn new(places: usize) -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            good: watch::Sender::default(),
            places: Semaphore::new(places.max(1)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Decides on the value of an `Authorization` header.
    ///
    /// An unknown user costs as much as a known one, so that the time does not tell them apart.
    pub(super) async fn admit(&self, users: &Users, header: Option<&[u8]>) -> Admission {
        let Some((user, password)) = header.and_then(credentials) else {
            return Admission::Denied;
        };
        let (is_known, hash) = users.hash_or_stand_in(&user);
        let digest = self.digest(&user, hash, &password);
        if is_known && self.remembers(digest) {
            return Admission::Granted;
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Admission::Busy;
        };
        let Ok(Ok(turn)) = timeout(TURN, Arc::clone(&self.turn).acquire_owned()).await else {
            return Admission::Busy;
        };
        // The same client may have asked several times at once.
        if is_known && self.remembers(digest) {
            return Admission::Granted;
        }
        let hash = hash.to_owned();
        let comparison = spawn_blocking(move || {
            // Held by the comparison itself, which goes on if its client goes.
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        if comparison.await.unwrap_or(false) && is_known {
            self.remember(digest);
            Admission::Granted
        } else {
            Admission::Denied
        }
    }

    fn digest(&self, user: &str, hash: &str, password: &[u8]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        // Lengths first: no two triples run into the same bytes.
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn remembers(&self, digest: Option<[u8; 32]>) -> bool {
        // A plain comparison: without the key nobody can aim at a digest.
        digest.is_some_and(|digest| self.good.borrow().contains(&digest))
    }

    fn remember(&self, digest: Option<[u8; 32]>) {
        let Some(digest) = digest else { return };
        self.good.send_modify(|good| {
            if good.len() >= REMEMBERED {
                good.pop_front();
            }
            good.push_back(digest);
        });
    }
}

/// User and password of `Basic` credentials (RFC 7617).
fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some((user, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credentials: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(credentials)).into_bytes()
    }

    fn users() -> Users {
        let hash = bcrypt::hash("open sesame", 4).unwrap();
        serde_norway::from_str(&format!("alice: {hash}")).unwrap()
    }

    fn admit_each(authentication: &Authentication, users: &Users, each: &[&str]) -> Vec<Admission> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut answers = Vec::new();
            for credentials in each {
                let header = basic(credentials);
                answers.push(authentication.admit(users, Some(header.as_slice())).await);
            }
            answers
        })
    }

    #[test]
    fn only_a_users_own_password_is_good() {
        use Admission::{Denied, Granted};
        let authentication = Authentication::new(8);
        let answers = admit_each(
            &authentication,
            &users(),
            &["alice:open sesame", "alice:wrong", "bob:open sesame", "alice:", ":", "alice"],
        );
        assert_eq!(answers, [Granted, Denied, Denied, Denied, Denied, Denied]);
    }

    #[test]
    fn what_was_good_is_remembered_until_the_hash_changes() {
        let authentication = Authentication::new(8);
        let users = users();
        admit_each(&authentication, &users, &["alice:open sesame", "alice:open sesame"]);
        assert_eq!(authentication.good.borrow().len(), 1);
        let other = serde_norway::from_str(&format!("alice: {}", bcrypt::hash("x", 4).unwrap()));
        let answers = admit_each(&authentication, &other.unwrap(), &["alice:open sesame"]);
        assert_eq!(answers, [Admission::Denied]);
    }

    #[test]
    fn while_the_queue_is_full_remembered_credentials_pass_and_others_are_told_to_come_again() {
        let authentication = Authentication::new(1);
        let users = users();
        admit_each(&authentication, &users, &["alice:open sesame"]);
        let _place = authentication.places.try_acquire().unwrap();
        let answers =
            admit_each(&authentication, &users, &["alice:open sesame", "alice:guess", "bob:guess"]);
        assert_eq!(answers, [Admission::Granted, Admission::Busy, Admission::Busy]);
    }

    #[test]
    fn credentials_are_read_as_clients_send_them() {
        let read = |header: &str| credentials(header.as_bytes());
        assert_eq!(read("basic YTpiOmM="), Some(("a".to_owned(), b"b:c".to_vec())));
        assert_eq!(read("Basic  YTo= "), Some(("a".to_owned(), Vec::new())));
        for wrong in ["", "Basic", "Basic ", "Basic %%%", "Bearer YTpi", "Basic YWI=", "Basicé"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
