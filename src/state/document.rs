//! `servers.json`: every server that was seen, and what is kept of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{path_text::PathText, pid_space::PidSpace};
use crate::track::memory::ServerMemory;

/// The only format yet. Fields may be added to it; whoever changes the meaning of one counts on.
const FORMAT: u32 = 1;
/// More servers than can be configured or discovered; beyond it the last ones are left out.
const MOST_SERVERS: usize = 64;

/// What was seen of servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    format: u32,
    /// Where the processes of the servers' lives are to be found.
    pid_space: Option<PidSpace>,
    servers: Vec<Remembered>,
}

/// One server that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its name.
    pub name: String,
    /// The pid file that an operator named; `None`: it was discovered.
    pid_file: Option<PathText>,
    /// The program that an operator named.
    program: Option<PathText>,
    /// The systemd unit that an operator named.
    #[serde(default)]
    unit: Option<String>,
    /// What its last parent was known by.
    pub signature: Option<SignatureText>,
    /// The pid file of its last parent, if nobody named one.
    own_pid_file: Option<PathText>,
    /// What its trackers left.
    #[serde(default)]
    pub memory: ServerMemory,
}

/// Main configuration, program and owner of a parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureText {
    /// The program.
    pub program: PathText,
    /// The main configuration, if it could be told.
    pub configuration: Option<PathText>,
    /// The user whose process the parent is.
    pub owner: u32,
}

/// Why a file is not believed.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is no JSON, or not as this program writes it.
    #[error("{0}")]
    Corrupt(#[from] serde_json::Error),
    /// Another program, or a later version, wrote it.
    #[error("its format is {0}, not {FORMAT}")]
    Foreign(u32),
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Document {
    /// A document of these servers.
    #[must_use]
    pub fn new(pid_space: Option<PidSpace>, mut servers: Vec<Remembered>) -> Self {
        servers.truncate(MOST_SERVERS);
        Self { format: FORMAT, pid_space, servers }
    }

    /// Reads a file's bytes; an error says why they are not believed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let Head { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(DocumentError::Foreign(format));
        }
        let mut document: Self = serde_json::from_slice(bytes)?;
        document.servers.truncate(MOST_SERVERS);
        Ok(document)
    }

    /// The bytes of a file.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The servers, each without its processes if these were not of this place and boot.
    #[must_use]
    pub fn into_servers(self, here: Option<&PidSpace>) -> Vec<Remembered> {
        let lives = self.pid_space.is_some() && self.pid_space.as_ref() == here;
        let mut servers: Vec<Remembered> = Vec::new();
        for mut server in self.servers {
            if !lives {
                server.memory.life = None;
            }
            if servers.iter().all(|other| !other.takes_the_place_of(&server)) {
                servers.push(server);
            }
        }
        servers
    }

    /// What is kept of each server, wherever its processes were.
    pub fn memories(&self) -> impl Iterator<Item = &ServerMemory> {
        self.servers.iter().map(|server| &server.memory)
    }

    /// It differs at most in the children of running generations and in the time.
    #[must_use]
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        let same = |(one, other): (&Remembered, &Remembered)| {
            one.names() == other.names() && one.memory.tells_the_same_as(&other.memory)
        };
        self.pid_space == other.pid_space
            && self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(same)
    }

    /// Of servers that are the same: the children of running generations are the same too.
    #[must_use]
    pub fn names_the_same_as(&self, other: &Self) -> bool {
        let mut pairs = self.servers.iter().zip(&other.servers);
        pairs.all(|(one, other)| one.memory.names_the_same_as(&other.memory))
    }
}

impl Remembered {
    /// A server of which nothing is kept but how it is found: by the pid file and the program that
    /// an operator named, else by its signature and its own pid file.
    #[must_use]
    pub fn new(
        name: String,
        [pid_file, program, own_pid_file]: [Option<PathBuf>; 3],
        unit: Option<String>,
        signature: Option<SignatureText>,
    ) -> Self {
        let [pid_file, program, own_pid_file] =
            [pid_file, program, own_pid_file].map(|path| path.map(PathText));
        let memory = ServerMemory::default();
        Self { name, pid_file, program, unit, signature, own_pid_file, memory }
    }

    /// Nobody configured it.
    #[must_use]
    pub const fn is_discovered(&self) -> bool {
        self.pid_file.is_none() && self.unit.is_none()
    }

    /// Of these two one is kept: they have the same name, and found it in the same way. A server
    /// that an operator gave the name of a discovered one is another.
    #[must_use]
    pub fn takes_the_place_of(&self, other: &Self) -> bool {
        self.name == other.name && self.is_discovered() == other.is_discovered()
    }

    /// It is the server that an operator configured with this pid file or unit, and this program.
    #[must_use]
    pub fn is_configured_as(
        &self,
        pid_file: Option<&Path>,
        unit: Option<&str>,
        program: Option<&Path>,
    ) -> bool {
        let path = |text: &Option<PathText>| text.as_ref().map(|text| text.0.clone());
        (pid_file.is_some() || unit.is_some())
            && path(&self.pid_file).as_deref() == pid_file
            && self.unit.as_deref() == unit
            && path(&self.program).as_deref() == program
    }

    /// The pid file of its last parent, if nobody named one.
    #[must_use]
    pub fn own_pid_file(&self) -> Option<PathBuf> {
        self.own_pid_file.as_ref().map(|text| text.0.clone())
    }

    /// The pid file that an operator named, else that of its last parent.
    #[must_use]
    pub fn any_pid_file(&self) -> Option<PathBuf> {
        self.pid_file.as_ref().map(|text| text.0.clone()).or_else(|| self.own_pid_file())
    }

    /// The program that an operator named.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.program.as_ref().map(|text| text.0.as_path())
    }

    /// The systemd unit that an operator named.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    fn names(&self) -> impl PartialEq {
        let Self { name, pid_file, program, unit, signature, own_pid_file, .. } = self;
        (name, pid_file, program, unit, (signature, own_pid_file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovered(name: &str) -> Remembered {
        let signature = SignatureText {
            program: PathText("httpd".into()),
            configuration: Some(PathText("/etc/httpd.conf".into())),
            owner: 0,
        };
        Remembered::new(name.to_owned(), [None, None, Some("/run/x".into())], None, Some(signature))
    }

    #[test]
    fn what_is_written_is_read() {
        let space = PidSpace::read(Path::new("/proc"));
        let document = Document::new(space.clone(), vec![discovered("a"), discovered("b")]);
        let read = Document::decode(&document.encode().unwrap()).unwrap();
        assert_eq!(read, document);
        assert!(read.tells_the_same_as(&document) && read.names_the_same_as(&document));
        assert_eq!(read.into_servers(space.as_ref()).len(), 2);
    }

    #[test]
    fn what_a_later_version_adds_is_ignored_and_another_format_refused() {
        let added = br#"{"format":1,"pid_space":null,"servers":[],"more":[1]}"#;
        assert!(Document::decode(added).is_ok());
        let foreign = Document::decode(br#"{"format":2,"servers":7}"#).unwrap_err();
        assert_eq!(foreign.to_string(), "its format is 2, not 1");
        for corrupt in [&b""[..], b"{}", b"\0\0", b"{\"format\":1,\"servers\":[{}]}"] {
            assert!(matches!(Document::decode(corrupt), Err(DocumentError::Corrupt(_))));
        }
    }

    #[test]
    fn a_process_number_below_one_is_nobodys() {
        let text = r#"{"format":1,"pid_space":null,"servers":[{"name":"a","memory":{"life":{
            "at":{"uptime":0,"wall":0},"current":[[{"pid":-1,"started":0},
            {"parent":0,"generation":0}]],"story":{"parents":0,"old":[],"drains":{},
            "stops":{"endings":[]}}}}}]}"#;
        assert!(Document::decode(text.as_bytes()).is_err());
        assert!(Document::decode(text.replace("-1", "1").as_bytes()).is_ok());
    }

    #[test]
    fn of_another_boot_only_the_servers_are_known() {
        let mut server = discovered("a");
        server.memory.last.successful = Some(true);
        let document = Document::new(None, vec![server, discovered("a")]);
        let servers = document.into_servers(None);
        assert_eq!(servers.len(), 1, "a name is one server's");
        assert_eq!(servers[0].memory.last.successful, Some(true));
        assert_eq!(servers[0].memory.life, None);
    }

    #[test]
    fn a_configured_and_a_discovered_server_of_one_name_are_both_kept() {
        let pid_file = Some(PathBuf::from("/run/a.pid"));
        let configured = Remembered::new("a".to_owned(), [pid_file, None, None], None, None);
        let both = vec![configured, discovered("a")];
        assert_eq!(Document::new(None, both.clone()).into_servers(None), both);
    }

    #[test]
    fn a_configured_server_is_known_by_pid_file_and_program() {
        let pid_file = Some(PathBuf::from("/run/a.pid"));
        let server = Remembered::new("a".to_owned(), [pid_file.clone(), None, None], None, None);
        assert!(server.is_configured_as(pid_file.as_deref(), None, None));
        assert!(!server.is_configured_as(pid_file.as_deref(), None, Some(Path::new("/bin/x"))));
        assert!(!discovered("a").is_configured_as(None, None, None));
    }
}
