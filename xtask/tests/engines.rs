//! Private engines come up beside whatever runs on this machine, and nothing of them stays behind.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long engines may take to be gone.
const GONE_S_MAX: Duration = Duration::from_secs(20);

/// `cargo xtask engines`, with what it told.
struct Run {
    process: Child,
    ports: Vec<u16>,
    folder: PathBuf,
}

impl Run {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let mut process = command.arg("engines").stdout(Stdio::piped()).spawn().expect("xtask starts");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        // To the last line: whoever stops listening earlier ends it by a broken pipe.
        let lines = output.lines().map_while(Result::ok);
        let told: Vec<String> = lines.take_while(|line| !line.starts_with("# Running")).collect();
        let port = |line: &String| {
            let after_host = line.split("127.0.0.1:").nth(1)?;
            after_host.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        };
        let ctl = told.iter().find_map(|line| line.strip_prefix("export TEST_RABBITMQCTL='"));
        let ctl = PathBuf::from(ctl.expect("it tells where rabbitmqctl is"));
        let folder = ctl.ancestors().nth(2).expect("it lies two folders deep").to_path_buf();
        let exports = told.iter().filter(|line| line.starts_with("export "));
        Self { process, ports: exports.filter_map(port).collect(), folder }
    }

    fn tell(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    fn nobody_listens(&self) -> bool {
        self.ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn soon(what: &str, mut held: impl FnMut() -> bool) {
    let began = Instant::now();
    while !held() {
        assert!(began.elapsed() < GONE_S_MAX, "{what}");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "starts engines: cargo xtask test runs it"]
fn two_runs_live_beside_each_other_and_leave_nothing_behind() {
    let (mut asked, mut killed) = (Run::start(), Run::start());
    assert_eq!(asked.ports.len(), 4, "redis, amqp, management, postgres");
    for port in asked.ports.iter().chain(&killed.ports) {
        assert!(TcpStream::connect(("127.0.0.1", *port)).is_ok(), "{port} does not listen");
        assert!(![6379, 5672, 15672, 5432, 4369].contains(port), "{port} is a standard port");
    }
    assert!(asked.ports.iter().all(|port| !killed.ports.contains(port)));

    asked.tell("-TERM");
    assert_eq!(asked.process.wait().unwrap().code(), Some(128 + 15));
    soon("after a terminate signal something still listens", || asked.nobody_listens());
    assert!(!asked.folder.exists(), "after a terminate signal its folder is still there");

    killed.tell("-KILL");
    killed.process.wait().unwrap();
    soon("after a kill something still listens", || killed.nobody_listens());
    assert!(killed.folder.exists(), "nobody was left to remove it");
    // The next run sweeps what a killed one left.
    let next = Run::start();
    assert!(!killed.folder.exists());
    next.tell("-TERM");
    soon("the last run goes too", || next.nobody_listens());
}
