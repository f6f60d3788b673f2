//! `cargo xtask bench`: what the gateway costs a request, in one run with the mock behind it.
//!
//! Only ratios within one run mean anything: the machine drifts by more than most changes cost. Rounds
//! alternate between the mock called directly and through the gateway, so that the drift hits both alike.

mod load;
mod report;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use load::{Latencies, Load};
use report::Figure;

use crate::process::Process;
use crate::{Result, sh};

const ROUNDS: usize = 7;
const CONNECTIONS: usize = 16;
const BUSY: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(1);
const CALLER: &str = "bench-caller-key";
const PROVIDER: &str = "bench-provider-key";

/// # Errors
/// When a program does not start, or answers anything else than 200.
pub(crate) fn run() -> Result {
    sh::run(&mut sh::command("cargo", &["build", "--release", "-p", "portunus"]))?;
    let servers = Servers::start()?;
    let [mut json, mut stream, mut latency] = [Costs::default(), Costs::default(), Costs::default()];
    let (chat, chat_stream) = (body(false), body(true));
    servers.load(true, &chat, CONNECTIONS, QUIET)?;
    servers.load(true, &chat_stream, CONNECTIONS, QUIET)?;
    for round in 0..ROUNDS {
        println!("round {} of {ROUNDS}", round + 1);
        json.measure(&servers, round, &chat, CONNECTIONS, BUSY)?;
        stream.measure(&servers, round, &chat_stream, CONNECTIONS, BUSY)?;
        latency.measure(&servers, round, &chat, 1, QUIET)?;
    }
    println!("\nmedian [quartiles] of {ROUNDS} rounds");
    json.show(&format!("JSON, {CONNECTIONS} connections"));
    stream.show(&format!("SSE, {CONNECTIONS} connections"));
    latency.show("JSON, one connection");
    println!("\nresident memory\n  gateway    {:.1} MiB", memory(servers.gateway.id())?);
    println!("  mock       {:.1} MiB", memory(servers.mock.id())?);
    Ok(())
}

/// A chat request of about 1 KB.
fn body(stream: bool) -> String {
    let text = "Explain, step by step, how a reverse proxy reuses its connections. ".repeat(14);
    format!(
        r#"{{"model":"gpt-4o","stream":{stream},"messages":[{{"role":"user","content":"{}"}}]}}"#,
        text.trim_end()
    )
}

/// The mock, and the gateway before it.
struct Servers {
    mock: Process,
    gateway: Process,
    mock_port: u16,
    gateway_port: u16,
    ticks: f64,
}

impl Servers {
    fn start() -> Result<Self> {
        let folder = sh::root().join("target/bench");
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let (mock_port, gateway_port) = (free_port()?, free_port()?);
        fs::write(folder.join("caller.key"), CALLER)?;
        fs::write(folder.join("provider.key"), PROVIDER)?;
        let config = folder.join("portunus.toml");
        fs::write(&config, configuration(&folder, gateway_port, mock_port))?;

        let port = mock_port.to_string();
        let mock = serve(&folder, "mock", &["mock", "serve", "--port", &port, "--key", PROVIDER], mock_port)?;
        let config = config.to_string_lossy();
        let gateway = serve(&folder, "gateway", &["serve", "--config", &config], gateway_port)?;
        let ticks = sh::output(&mut sh::command("getconf", &["CLK_TCK"]))?.trim().parse()?;
        Ok(Self { mock, gateway, mock_port, gateway_port, ticks })
    }

    fn load(&self, through: bool, body: &str, connections: usize, time: Duration) -> Result<Latencies> {
        let (port, key) = if through { (self.gateway_port, CALLER) } else { (self.mock_port, PROVIDER) };
        Load { port, key, body, connections, time }.run()
    }

    /// The CPU time of the gateway and of the mock so far, in microseconds.
    fn cpu(&self) -> Result<[f64; 2]> {
        let used = |server: &Process| Result::Ok(ticks(server.id())? * 1e6 / self.ticks);
        Ok([used(&self.gateway)?, used(&self.mock)?])
    }
}

fn configuration(folder: &Path, port: u16, mock: u16) -> String {
    let folder = folder.display();
    format!(
        r#"
[server]
listen = "127.0.0.1:{port}"

[state]
url = "memory:"

[audit]
file = "{folder}/audit.jsonl"

[[keys]]
name = "bench"
key = "${{file:{folder}/caller.key}}"
tenant = "bench"
grant = {{ models = ["gpt-4o"], tools = "all", tier = "standard" }}

[[tiers]]
name = "standard"
requests_per_minute = "unlimited"
concurrent_requests = "unlimited"

[[providers]]
name = "mock"
provider_type = "openai"
base_url = "http://127.0.0.1:{mock}/v1"
credential = {{ source = "static-token", token = "${{file:{folder}/provider.key}}" }}

[[models]]
name = "gpt-4o"
provider_model = "mock/gpt-4o"
"#
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts the program and waits until it listens.
fn serve(folder: &Path, name: &str, arguments: &[&str], port: u16) -> Result<Process> {
    let log: PathBuf = folder.join(format!("{name}.log"));
    let mut command = Command::new(sh::root().join("target/release/portunus").canonicalize()?);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
    let mut server = Process::start(&mut command)?;
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(server);
        }
        if server.child().try_wait()?.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{name} does not listen on port {port}; {} says why", log.display()).into())
}

/// The CPU time that the process has used, in clock ticks: `utime` and `stime` of proc(5).
fn ticks(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the program's name, which may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/PID/stat has another form")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
}

fn memory(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/PID/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// What one kind of request costs.
#[derive(Default)]
struct Costs {
    gateway_cpu: Figure,
    mock_cpu: Figure,
    cpu_ratio: Figure,
    direct_rate: Figure,
    rate: Figure,
    added_median: Figure,
    added_99: Figure,
}

impl Costs {
    fn measure(
        &mut self,
        servers: &Servers,
        round: usize,
        body: &str,
        connections: usize,
        time: Duration,
    ) -> Result {
        let direct = || servers.load(false, body, connections, time);
        let through = || {
            let before = servers.cpu()?;
            let latencies = servers.load(true, body, connections, time)?;
            let after = servers.cpu()?;
            let per_request = |n: usize| (after[n] - before[n]) / latencies.count() as f64;
            if after[1] <= before[1] {
                return Err("the mock used no CPU: the gateway did not call it".into());
            }
            Result::Ok((per_request(0), per_request(1), latencies))
        };
        let (direct, (gateway, mock, through)) = if round.is_multiple_of(2) {
            let direct = direct()?;
            (direct, through()?)
        } else {
            let through = through()?;
            (direct()?, through)
        };
        self.gateway_cpu.push(gateway);
        self.mock_cpu.push(mock);
        self.cpu_ratio.push(gateway / mock);
        self.direct_rate.push(direct.count() as f64 / time.as_secs_f64());
        self.rate.push(through.count() as f64 / time.as_secs_f64());
        self.added_median.push(through.quantile(0.5) - direct.quantile(0.5));
        self.added_99.push(through.quantile(0.99) - direct.quantile(0.99));
        Ok(())
    }

    fn show(&self, title: &str) {
        println!("\n{title}");
        println!("  gateway CPU, µs/request        {}", self.gateway_cpu.show(1));
        println!("  mock CPU, µs/request           {}", self.mock_cpu.show(1));
        println!("  gateway CPU / mock CPU         {}", self.cpu_ratio.show(2));
        println!("  requests/s, direct             {}", self.direct_rate.show(0));
        println!("  requests/s, through            {}", self.rate.show(0));
        println!("  added latency, median, µs      {}", self.added_median.show(0));
        println!("  added latency, 99th, µs        {}", self.added_99.show(0));
    }
}
