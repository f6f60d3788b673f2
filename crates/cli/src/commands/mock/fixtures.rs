//! Fixture files: read, checked, and read again when they change.

use std::convert::Infallible;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use portunus_mock::{Fixture, FixtureError, MockServer};

use crate::exit::Failure;

/// How often it is looked whether a file has changed. Asking needs no thread and sees every kind of change, also
/// through mounts and renames.
const EVERY: Duration = Duration::from_millis(500);

/// What tells that a file has changed; `None`: there is none.
type Stamp = Option<(SystemTime, u64)>;

/// Says of each file whether it can be used.
pub(crate) fn validate(files: &[PathBuf]) -> Result<(), Failure> {
    load(files)?;
    println!("every fixture can be used");
    Ok(())
}

/// The fixtures of all files, in their order.
fn load(files: &[PathBuf]) -> Result<Vec<Fixture>, Failure> {
    let (mut fixtures, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match Fixture::load(file) {
            Ok(of_file) => fixtures.extend(of_file),
            Err(error) => wrong.push(says(&error)),
        }
    }
    if wrong.is_empty() { Ok(fixtures) } else { Err(Failure::Config(wrong.join("\n"))) }
}

fn says(error: &FixtureError) -> String {
    error.source().map_or_else(|| error.to_string(), |why| format!("{error}: {why}"))
}

/// Files whose fixtures a server has.
#[derive(Debug)]
pub(crate) struct Followed {
    files: Vec<PathBuf>,
    /// What they were like when they were read last.
    seen: Vec<Stamp>,
}

impl Followed {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, seen: Vec::new() }
    }

    /// The fixtures of all files, in their order.
    pub(crate) fn load(&mut self) -> Result<Vec<Fixture>, Failure> {
        // Looked at before it is read, so that what changes in between is read again.
        self.seen = self.stamps();
        load(&self.files)
    }

    /// Gives a server what the files say, whenever they change. While one of them is wrong, the log says where,
    /// and the server goes on with what it has.
    pub(crate) async fn follow(mut self, server: &MockServer) -> Infallible {
        loop {
            tokio::time::sleep(EVERY).await;
            self.refresh(server);
        }
    }

    fn refresh(&mut self, server: &MockServer) {
        if self.stamps() == self.seen {
            return;
        }
        let given = self.load().and_then(|fixtures| {
            server.set_fixtures(fixtures).map_err(|error| Failure::Config(error.to_string()))
        });
        match given {
            Ok(()) => tracing::info!("the fixtures were read again"),
            Err(failure) => tracing::error!("{failure}\nthe fixtures stay as they were"),
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |file: &Path| {
            let about = file.metadata().ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        self.files.iter().map(|file| stamp(file)).collect()
    }
}

/// What was expected of the fixtures and did not happen, at a server's end. Afterwards nothing is expected of it, and
/// it can be dropped.
pub(crate) fn settle(server: &MockServer) -> Result<(), Failure> {
    let met = server.verify().map_err(|unmet| Failure::Denied(unmet.to_string()));
    server.set_fixtures([]).map_err(|error| Failure::Config(error.to_string()))?;
    met
}

#[cfg(test)]
mod tests {
    use portunus_mock::ServerBuilder;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test is a client like any other")]
    async fn answer(server: &MockServer) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let sent = client.post(format!("{}/v1/chat/completions", server.url())).body(body).send();
        sent.await.unwrap().text().await.unwrap()
    }

    #[tokio::test]
    async fn what_has_changed_is_served_unless_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1.yaml"), folder.path().join("2.yaml"));
        let says = |text: &str| format!("fixtures: [{{match: {{model: m}}, response: {{content: {text}}}}}]");
        std::fs::write(&first, says("one")).unwrap();
        std::fs::write(&second, says("never asked")).unwrap();
        let mut files = Followed::new(vec![first.clone(), second]);
        let server = ServerBuilder::new().fixtures(files.load().unwrap()).build().await.unwrap();
        for (content, expected) in [
            (Some(says("one")), "one"),
            (Some(says("other")), "other"),
            (Some(says("other") + "\nx: 1"), "other"),
            (None, "other"),
            (Some(says("three")), "three"),
        ] {
            match content {
                Some(content) => std::fs::write(&first, content).unwrap(),
                None => std::fs::remove_file(&first).unwrap(),
            }
            files.refresh(&server);
            let said = answer(&server).await;
            assert!(said.contains(&format!("\"{expected}\"")), "{said}");
        }
    }

    #[tokio::test]
    async fn what_a_file_expects_is_told_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.yaml");
        std::fs::write(&file, "fixtures: [{name: hello, expect: 1, response: {content: a}}]").unwrap();
        let fixtures = Followed::new(vec![file]).load().unwrap();
        for asked in [false, true] {
            let server = ServerBuilder::new().fixtures(fixtures.clone()).build().await.unwrap();
            if asked {
                answer(&server).await;
            }
            match settle(&server) {
                Ok(()) => assert!(asked),
                Err(failure) => assert!(!asked && failure.to_string().contains("`hello`"), "{failure}"),
            }
        }
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.yaml");
        std::fs::write(&file, "fixtures: [{response: {content: a}}]").unwrap();
        let mut files = Followed::new(vec![file.clone()]);
        files.load().unwrap();
        assert_eq!(files.stamps(), files.seen);
        let open = std::fs::File::options().write(true).open(&file).unwrap();
        open.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(files.stamps(), files.seen, "same length, another time");
    }
}
