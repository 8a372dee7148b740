//! Our server beside etcd and Redis, in the same minutes on the same machine.

mod setting;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cycles::{self, Cycles};
use crate::floor::{self, Floor};
use crate::hand_over::{self, HandOver};
use crate::listeners;
use crate::peers::etcd::Etcd;
use crate::peers::launch::{Launched, free_address, place};
use crate::peers::redis::Redis;
use crate::tenure::Tenure;
use crate::{BenchError, Options, Report, held, on_own_thread, waiting};

/// Connections the server must allow: a crowd of ten thousand comes from one address.
const CONFIG: &str = "[limits]\nconnections = 19000\nconnections_per_address = 19000\n";
/// The key of a server that lives for minutes on the loopback.
const KEY: &str = "bench-0123456789abcdef0123456789abcdef";

/// What to compare, and how long to take.
#[derive(Debug, Clone)]
pub struct Match {
    /// Our program.
    pub program: PathBuf,
    /// A folder on the disk that all servers shall write to.
    pub disk: PathBuf,
    /// Runs of each kind, taken in turns; the median counts.
    pub rounds: usize,
    /// How long one run lasts.
    pub period: Duration,
    /// One run of cycles for each number of clients.
    pub clients: Vec<usize>,
}

/// Figures of all servers; prints as a Markdown table.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Day, machine and versions.
    pub setting: String,
    /// Ours, with everything that only ours is asked.
    pub tenure: Report,
    pub(crate) etcd: Figures,
    pub(crate) redis: Figures,
}

/// What every server is asked.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) cycles: Vec<Cycles>,
    /// Nothing for a server without a queue.
    pub(crate) hand_over: Option<HandOver>,
}

/// Starts the three servers, measures them in turns, and ends them. Blocks.
///
/// # Errors
/// When a server does not start or breaks off; what it said is in the error.
pub fn run(plan: &Match) -> Result<Comparison, BenchError> {
    raise_file_limit();
    let setting = setting::describe();
    on_own_thread(async || {
        let (ours, options) = start_tenure(plan).await?;
        let tenure = Tenure::find(&options)?;
        let held = held(&tenure, &options).await?;
        let waiting = waiting(&tenure, &options).await?;
        let (_etcd_server, etcd) = start_etcd(&plan.disk).await?;
        let (_redis_server, redis) = start_redis(&plan.disk).await?;
        let (floor, runs) = take_turns(plan, &tenure, &etcd, &redis).await?;
        let beside = listeners::run(&tenure, plan.period).await?;
        drop(ours);
        let [own, etcd, redis] = runs.map(Runs::median);
        let hand_over = own.hand_over.expect("our server has a queue");
        let url = "Tenure".to_owned();
        let tenure = Report {
            url,
            rounds: plan.rounds,
            floor,
            cycles: own.cycles,
            hand_over,
            beside,
            held,
            waiting,
        };
        Ok(Comparison { setting, tenure, etcd, redis })
    })
}

/// Every run of one server.
#[derive(Default)]
struct Runs {
    cycles: Vec<Vec<Cycles>>,
    hand_overs: Vec<HandOver>,
}

impl Runs {
    fn median(self) -> Figures {
        let hand_over = (!self.hand_overs.is_empty()).then(|| HandOver::median(&self.hand_overs));
        Figures { cycles: self.cycles.iter().map(|runs| Cycles::median(runs)).collect(), hand_over }
    }
}

/// Each kind of run goes round all servers before the next kind, so that a slow minute hurts all of them.
async fn take_turns(
    plan: &Match,
    tenure: &Tenure,
    etcd: &Etcd,
    redis: &Redis,
) -> Result<(Floor, [Runs; 3]), BenchError> {
    let mut floors = Vec::new();
    let mut all: [Runs; 3] = Default::default();
    for runs in &mut all {
        runs.cycles = vec![Vec::new(); plan.clients.len()];
    }
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        floors.push(floor::measure(&tenure.server, Some(&plan.disk), plan.period).await?);
        for (index, clients) in plan.clients.iter().enumerate() {
            all[0].cycles[index].push(cycles::run(tenure, *clients, plan.period).await?);
            all[1].cycles[index].push(cycles::run(etcd, *clients, plan.period).await?);
            all[2].cycles[index].push(cycles::run(redis, *clients, plan.period).await?);
        }
        all[0].hand_overs.push(hand_over::run(tenure, plan.period).await?);
        all[1].hand_overs.push(hand_over::run(etcd, plan.period).await?);
    }
    Ok((Floor::median(&floors), all))
}

async fn start_tenure(plan: &Match) -> Result<(Launched, Options), BenchError> {
    let (address, data) = place(&plan.disk)?;
    let config = data.path().join("tenure.toml");
    let key = data.path().join("key");
    std::fs::write(&config, CONFIG).map_err(BenchError::io("writing the configuration"))?;
    std::fs::write(&key, KEY).map_err(BenchError::io("writing the key"))?;
    let mut command = Command::new(&plan.program);
    command.arg("serve").arg("--listen").arg(address.to_string());
    command.arg("--data").arg(data.path().join("data"));
    command.arg("--config").arg(config).arg("--api-key-file").arg(key);
    let launched = Launched::start(command, address, data).await?;
    let options = Options {
        api_key: Some(KEY.to_owned()),
        clients: plan.clients.clone(),
        period: plan.period,
        rounds: plan.rounds,
        server_pid: Some(launched.process().0),
        disk: Some(plan.disk.clone()),
        ..Options::new(format!("http://{address}"))
    };
    Ok((launched, options))
}

async fn start_etcd(disk: &Path) -> Result<(Launched, Etcd), BenchError> {
    let (address, data) = place(disk)?;
    let url = format!("http://{address}");
    let peer_url = format!("http://{}", free_address()?);
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(data.path().join("data"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("default={peer_url}")]);
    command.args(["--logger", "zap", "--log-level", "error"]);
    let launched = Launched::start(command, address, data).await?;
    let process = launched.process();
    Ok((launched, Etcd { url, process }))
}

async fn start_redis(disk: &Path) -> Result<(Launched, Redis), BenchError> {
    let (address, data) = place(disk)?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--dir").arg(data.path());
    let launched = Launched::start(command, address, data).await?;
    let process = launched.process();
    Ok((launched, Redis { address, process }))
}

/// Ten thousand connections need as many files, here and in the server, which inherits the limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    // What cannot be raised shows as a refused connection, which names itself.
    let _ = setrlimit(Resource::Nofile, raised);
}
