//! Another HTTP parser's opinion, and what becomes of the bytes on which it and ours may differ.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::wire::{Answer, answers, talk};
use crate::world::{Plan, World, ask};

/// What `judge` says of each case, in order.
fn in_parallel<C: Sync, V: Send>(cases: &[C], judge: impl Fn(usize, &C) -> V + Sync) -> Vec<V> {
    std::thread::scope(|scope| {
        let judge = &judge;
        let work = cases.chunks(cases.len().div_ceil(32)).enumerate().map(|(worker, chunk)| {
            let first = worker * cases.len().div_ceil(32);
            scope.spawn(move || {
                chunk.iter().enumerate().map(|(n, case)| judge(first + n, case)).collect::<Vec<_>>()
            })
        });
        let workers: Vec<_> = work.collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// A provider that answers what the path's first segment says, word for word, and the connection's
/// later requests with a good answer that names the segment.
fn provider(answers: Vec<(Vec<u8>, After)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: &'static [(Vec<u8>, After)] = answers.leak();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream, answers));
        }
    });
    port
}

/// What the provider does after its answer.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Stay,
    Close,
}

fn serve(mut stream: TcpStream, answers: &[(Vec<u8>, After)]) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut line, mut case, mut length) = (String::new(), 0, 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(target) = line.strip_prefix("POST /") {
                case = target.split('/').next()?.parse().ok()?;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (answer, after) = &answers[case];
        if String::from_utf8_lossy(&body).contains("follow-up") {
            let body = good(case);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
            continue;
        }
        stream.write_all(answer).ok()?;
        if *after == After::Close {
            return None;
        }
    }
}

fn good(case: usize) -> String {
    format!("the good answer of provider {case}")
}

mod vectors {
    use base64::Engine as _;
    use portunus_auth_core::vectors::{Report, open};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        id: String,
        r#type: String,
        skip: bool,
        lenient: bool,
        raw_base64: String,
        llhttp_messages_complete: usize,
        llhttp_error: Option<Fault>,
    }

    #[derive(Deserialize)]
    struct Fault {
        code: u8,
        reason: String,
    }

    /// llhttp's codes for what is wrong in the first line.
    const FIRST_LINE: [u8; 4] = [6, 7, 8, 9];

    /// Our HTTP parser takes any byte above 0x7f in a path. Such a path is no route, so the request is
    /// refused and goes nowhere; where it ends does not depend on the path.
    const ODD_PATH: &str = "Invalid char in url path";

    /// It takes `;` without an extension behind it. Extensions are ignored, as RFC 9112 section 7.1.1
    /// asks; the size before it and the line end behind it are the same to everybody.
    const NO_EXTENSION: &str = "Invalid character in chunk extensions";

    /// It ends an extension with its line, also within quotes.
    const OPEN_QUOTE: &str = "Invalid character in chunk extensions quoted value";

    /// It takes a single LF for a line's end, as RFC 9112 section 2.2 allows.
    const ONLY_LF: &str = "Missing expected CR after response line";

    /// The same in a request's head. Only a front that passes an LF on within a header's value, which RFC
    /// 9110 section 5.5 forbids, would see fewer requests than we do; and each request that we see needs a
    /// credential of its own, so none is served on another caller's.
    const LF_IN_HEAD: [&str; 2] = ["Missing expected CR after header value", "Invalid header value char"];

    impl Case {
        /// The corpus leaves off the last line end of a message that ends with its head or its chunks.
        /// Behind an error anything may follow, and most harm does what ends the message.
        fn raw(&self) -> Vec<u8> {
            let mut raw = base64::engine::general_purpose::STANDARD.decode(&self.raw_base64).unwrap();
            match self.llhttp_error {
                Some(_) => raw.extend_from_slice(b"\r\n\r\n"),
                None if raw.ends_with(b"\r\n") => raw.extend_from_slice(b"\r\n"),
                None => {}
            }
            raw
        }

        fn fails_with(&self, reasons: &[&str]) -> bool {
            self.llhttp_error.as_ref().is_some_and(|fault| reasons.contains(&fault.reason.as_str()))
        }

        /// Whether the request is one that our HTTP parser takes and llhttp does not, but that everybody
        /// who takes it finds to end at the same byte. An open quote ends with its line: a quoted string
        /// holds no line end (RFC 9110 section 5.6.4).
        fn ends_alike(&self) -> bool {
            self.fails_with(&[ODD_PATH, NO_EXTENSION, OPEN_QUOTE])
                || self.has_blanks_behind_a_chunks_size()
                || self.has_only_an_lf_in_its_head()
        }

        fn has_only_an_lf_in_its_head(&self) -> bool {
            let raw = self.raw();
            let head = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
            let alone = |pair: &[u8]| pair[0] != b'\r' && pair[1] == b'\n';
            self.fails_with(&LF_IN_HEAD) && raw[..head].windows(2).any(alone)
        }

        /// Nothing but blanks: `a \r\n` is ten bytes to everybody.
        fn has_blanks_behind_a_chunks_size(&self) -> bool {
            let raw = self.raw();
            let text = String::from_utf8_lossy(&raw);
            let Some((_, body)) = text.split_once("\r\n\r\n") else { return false };
            let padded = |line: &str| {
                let size = line.trim_end_matches([' ', '\t']);
                size.len() < line.len() && usize::from_str_radix(size, 16).is_ok()
            };
            text.contains(": chunked\r\n") && body.split("\r\n").any(padded)
        }
    }

    /// The strict cases of that type.
    fn cases(kind: &str) -> Option<Vec<Case>> {
        let cases: Vec<Case> = serde_json::from_slice(&open("llhttp/cases.json")?).unwrap();
        let strict = |case: &Case| case.r#type.starts_with(kind) && !case.lenient && !case.skip;
        Some(cases.into_iter().filter(strict).collect())
    }

    /// What is sent for one case.
    struct Probe<'a> {
        case: &'a Case,
        raw: Vec<u8>,
    }

    impl<'a> Probe<'a> {
        fn plain(case: &'a Case) -> Self {
            Self { case, raw: case.raw() }
        }

        /// The same headers and body on a route and with a key, so that the gateway reads the body too.
        fn routed(case: &'a Case, key: &str) -> Option<Self> {
            if case.llhttp_error.as_ref().is_some_and(|fault| FIRST_LINE.contains(&fault.code)) {
                return None;
            }
            let raw = case.raw();
            let end = raw.windows(2).position(|window| window == b"\r\n")?;
            let (line, rest) = raw.split_at(end);
            let line = str::from_utf8(line).ok()?;
            if !line.ends_with(" HTTP/1.1") || line.starts_with("CONNECT ") {
                return None;
            }
            let host = if rest.windows(7).any(|window| window == b"\nHost: ") { "" } else { "\r\nHost: a" };
            let head = format!("POST /v1/chat/completions HTTP/1.1{host}\r\nAuthorization: Bearer {key}");
            let raw = [head.as_bytes(), rest].concat();
            Some(Self { case, raw })
        }
    }

    /// After each message comes a good request. It is served after as many requests as llhttp completes:
    /// one more was smuggled. Where a message is unfinished, it swallows the good request or its
    /// beginning, so there may be the unfinished one and the rest. After an error the good request must
    /// not be served, because whoever is in front of us has given up there.
    /// That a message is refused is never held against the gateway.
    #[tokio::test(flavor = "multi_thread")]
    async fn llhttp_requests() {
        let Some(cases) = cases("request") else { return };
        let server = "head_timeout = \"300ms\"\nbody_timeout = \"150ms\"".to_owned();
        let world = World::planned(Plan { server, ..Plan::default() }).await;
        let (key, _) = world.key("alice").await;
        let address = world.gateway.address();
        let probes: Vec<Probe<'_>> = cases
            .iter()
            .flat_map(|case| [Some(Probe::plain(case)), Probe::routed(case, &key)])
            .flatten()
            .collect();
        let verdicts = in_parallel(&probes, |n, probe| {
            let mut body = ask("gpt-4o");
            body["messages"][0]["content"] = format!("after probe {n}.").into();
            let body = body.to_string();
            let good = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let answers = answers(&talk(address, &[&probe.raw, good.as_bytes()].concat()));
            let seen = answers.iter().filter(|answer| answer.seen).count();
            let completed = probe.case.llhttp_messages_complete;
            let refused = answers.first().is_none_or(|answer| (400..500).contains(&answer.status));
            let served = answers.iter().any(|answer| (200..300).contains(&answer.status));
            match probe.case.llhttp_error {
                None => seen <= completed + if served { 1 } else { 2 },
                // What a front hides behind such an LF is a request like any other: it has no credential.
                Some(_) if probe.case.has_only_an_lf_in_its_head() => refused,
                Some(_) if probe.case.ends_alike() => refused && seen <= completed + 2,
                Some(_) => !served && seen <= completed + 1,
            }
        });
        let sent: Vec<String> = world
            .mock
            .requests()
            .iter()
            .map(|request| String::from_utf8_lossy(request.body()).into_owned())
            .collect();
        let smuggled = |n: usize, case: &Case| {
            case.llhttp_error.is_some()
                && !case.ends_alike()
                && sent.iter().any(|body| body.contains(&format!("after probe {n}.")))
        };
        let mut report = Report::on("llhttp requests");
        for case in &cases {
            let mut own = (0..probes.len()).filter(|n| std::ptr::eq(probes[*n].case, case));
            report.case(&case.id, own.all(|n| verdicts[n] && !smuggled(n, case)));
        }
        assert!(sent.len() > 20, "good requests after good ones are served");
        report.finish();
    }

    /// What llhttp refuses, or does not find complete, is no complete answer to the caller. Whatever
    /// follows an answer is nobody's: the next caller gets the provider's next answer, or none.
    ///
    /// In three points our HTTP parser takes more than llhttp. The answer is written anew for the caller,
    /// and it answers the one request that was in flight; all of it is the provider's own words, so a lax
    /// reading gives a provider no power, as long as what follows is still the next caller's.
    #[tokio::test(flavor = "multi_thread")]
    async fn llhttp_responses() {
        let Some(cases) = cases("response") else { return };
        let probes: Vec<(&Case, After)> =
            cases.iter().flat_map(|case| [(case, After::Stay), (case, After::Close)]).collect();
        let port = provider(probes.iter().map(|(case, after)| (case.raw(), *after)).collect());
        let more = (0..probes.len()).map(|n| {
            format!(
                "[[providers]]\nname = \"raw-{n}\"\nprovider_type = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/{n}/v1\"\napi_key = \"${{env:PROVIDER_SECRET}}\"\n[[models]]\nname = \"gpt-4o-{n}\"\nprovider_model = \"raw-{n}/gpt-4o\"\n"
            )
        });
        let server = "upstream_timeout = \"300ms\"\nidle_timeout = \"100ms\"".to_owned();
        let world = World::planned(Plan { server, more: more.collect(), ..Plan::default() }).await;
        let (key, _) = world.key("alice").await;
        let address = world.gateway.address();
        let verdicts = in_parallel(&probes, |n, (case, after)| {
            let request = |content: &str, connection: &str| {
                let mut body = ask(&format!("gpt-4o-{n}"));
                body["messages"][0]["content"] = content.into();
                let body = body.to_string();
                format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            // Both at once: no moment passes in which the connection could be found to be spoiled.
            let both = request("first", "keep-alive") + &request("follow-up", "close");
            let answers = answers(&talk(address, both.as_bytes()));
            let (first, second) = (answers.first(), answers.get(1));
            let ours = |answer: &Answer| matches!(answer.status, 502 | 504);
            let taken = case.llhttp_error.is_none() || case.fails_with(&[ONLY_LF, NO_EXTENSION, OPEN_QUOTE]);
            let ends = *after == After::Close || case.llhttp_error.is_some();
            let whole = case.llhttp_messages_complete > 0 || (taken && ends);
            let follows = second.is_none_or(|answer| ours(answer) || answer.body == good(n).as_bytes());
            let good = first.is_none_or(|answer| ours(answer) || !answer.complete || whole)
                && follows
                && answers.len() <= 2;
            (good, second.is_some_and(|answer| answer.status == 200))
        });
        let mut report = Report::on("llhttp responses");
        for (case, verdicts) in cases.iter().zip(verdicts.chunks(2)) {
            report.case(&case.id, verdicts.iter().all(|(good, _)| *good));
        }
        let followed = verdicts.iter().filter(|(_, followed)| *followed).count();
        assert!(followed > 20, "good answers follow");
        assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);
        report.finish();
    }
}
