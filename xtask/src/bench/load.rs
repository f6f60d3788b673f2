//! A closed loop of HTTP/1.1 clients: each sends its next request when it has read the whole answer.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::{Result, sh};

/// What to send, where, and how long.
pub(crate) struct Load<'a> {
    pub(crate) port: u16,
    pub(crate) key: &'a str,
    /// A JSON chat request.
    pub(crate) body: &'a str,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// How long each request took, in microseconds, in ascending order.
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency that this share of the requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        super::report::quantile(&self.0, share)
    }
}

impl Load<'_> {
    /// # Errors
    /// When an answer is not a whole 200.
    pub(crate) fn run(&self) -> Result<Latencies> {
        let mut latencies = Vec::new();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..self.connections)
                .map(|_| scope.spawn(|| self.client().map_err(|e| e.to_string())))
                .collect();
            for client in clients {
                latencies.extend(client.join().map_err(|_| "a client crashed")??);
            }
            Result::Ok(())
        })?;
        latencies.sort_by(f64::total_cmp);
        if latencies.is_empty() {
            Err("no request was answered in time".into())
        } else {
            Ok(Latencies(latencies))
        }
    }

    fn client(&self) -> Result<Vec<f64>> {
        let mut to = TcpStream::connect(("127.0.0.1", self.port))?;
        to.set_nodelay(true)?;
        to.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut from = BufReader::with_capacity(64 * 1024, to.try_clone()?);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            self.port,
            self.key,
            self.body.len(),
            self.body
        );
        let start = sh::now();
        let mut latencies = Vec::new();
        while start.elapsed() < self.time {
            let sent = sh::now();
            to.write_all(request.as_bytes())?;
            read_answer(&mut from)?;
            latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        Ok(latencies)
    }
}

/// Reads one answer to its end, whether its length is stated or it comes in chunks.
fn read_answer(from: &mut impl BufRead) -> Result {
    let status = read_line(from)?;
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("answered `{status}` instead of 200; its log says why").into());
    }
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = read_line(from)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = Some(value.trim().parse()?),
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
    if !chunked {
        return skip(from, length.ok_or("an answer without a length")?);
    }
    loop {
        let size = u64::from_str_radix(&read_line(from)?, 16)?;
        skip(from, size + 2)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn read_line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err("the connection was closed within an answer".into());
    }
    Ok(line.trim_end().to_owned())
}

fn skip(from: &mut impl BufRead, bytes: u64) -> Result {
    let read = std::io::copy(&mut from.take(bytes), &mut std::io::sink())?;
    if read == bytes { Ok(()) } else { Err("the connection was closed within an answer".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end() {
        let answers = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
                       HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        let mut from = answers.as_bytes();
        read_answer(&mut from).unwrap();
        read_answer(&mut from).unwrap();
        assert_eq!(from, b"");
    }

    #[test]
    fn a_refusal_or_half_an_answer_is_an_error() {
        for wrong in [
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\n\r\nabc",
            "",
        ] {
            assert!(read_answer(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
