//! Server-sent events, however the network cuts them.

use portunus_mock::{Fixture, MockServer, Reply};
use serde_json::{Value, json};

use crate::support::{chat, contents, frozen, message, post, response, streamed};

/// Reads an event stream piece by piece, as the standard says: lines end with CR, LF or both, and a
/// character may arrive in parts.
#[derive(Clone, Default)]
struct Reader {
    line: Vec<u8>,
    after_cr: bool,
    name: String,
    data: Vec<String>,
    events: Vec<(String, String)>,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => self.end_line(),
                other => self.line.push(*other),
            }
            self.after_cr = *byte == b'\r';
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push(value.to_owned()),
            "" if line.is_empty() && !self.data.is_empty() => {
                let data = std::mem::take(&mut self.data).join("\n");
                self.events.push((std::mem::take(&mut self.name), data));
            }
            _ => assert!(field.is_empty(), "no other field is sent: {line}"),
        }
    }
}

async fn bytes_of(server: &MockServer, path: &str, body: &Value) -> Vec<u8> {
    post(&server.url(), path, body).send().await.unwrap().bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn events_are_the_same_wherever_a_stream_is_split() {
    let reply =
        || Reply::from("Grüße, 世界 🙂\r\n\ndata: x").tool_call("f", json!({"städte": ["Zürich"]})).chunks(3);
    let plain = frozen([Fixture::new().reply(reply())]).await;
    let odd = frozen([Fixture::new().reply(reply().odd_framing())]).await;
    for (path, body) in [
        ("/v1/chat/completions", streamed(chat("m", "hi"))),
        ("/v1/responses", streamed(response("m", "hi"))),
        ("/v1/messages", streamed(message("m", "hi"))),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", contents("hi")),
    ] {
        plain.reset();
        let mut whole = Reader::default();
        whole.read(&bytes_of(&plain, path, &body).await);
        assert!(whole.events.len() > 3 && whole.line.is_empty() && whole.data.is_empty(), "{path}");
        for server in [&plain, &odd] {
            server.reset();
            let bytes = bytes_of(server, path, &body).await;
            let mut before = Reader::default();
            for at in 0..bytes.len() {
                let mut split = before.clone();
                split.read(&bytes[at..]);
                assert_eq!(split.events, whole.events, "{path} split at {at}");
                before.read(&bytes[at..=at]);
            }
            assert_eq!(before.events, whole.events, "{path} byte by byte");
        }
    }
}
