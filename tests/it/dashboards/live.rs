//! A service at work, scraped by a real Prometheus: every panel, variable and rule is asked.
//!
//! `DASHBOARD_SECONDS=600` has it watched for longer, and `DASHBOARD_PICTURES=FOLDER` draws what
//! was seen then.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use telepool::metrics::Prometheus;
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::telegram::client::tl::functions;
use telepool::telegram::{MemorySource, TelegramManager, TelegramSettings};
use telepool::{AccountId, Pool, http};

use super::picture::Series;
use super::promtool::promtool;
use super::{boards, folder, metric_of, panels, picture, queries, text_of, types, variables};

/// For how many seconds Prometheus watches, unless the environment says otherwise.
const WATCHED: u64 = 60;

/// What `$__rate_interval` is at one scrape a second.
const RATE_INTERVAL: &str = "15s";

/// What adds up while nothing is under way, as differences that must be zero.
const LAWS: &[(&str, &str)] = &[
    (
        "who got a lease, and from what connection",
        "sum by (group) (telepool_acquires_total{result=\"ok\"}) \
         - sum by (group) (telepool_acquired_connections_total)",
    ),
    (
        "acquires, releases and leases",
        "sum by (group) (telepool_acquires_total{result=\"ok\"}) \
         - sum by (group) (telepool_releases_total) - sum by (group) (telepool_leases)",
    ),
    (
        "opens, closes and connections",
        "sum by (group) (telepool_connection_opens_total{result=\"ok\"}) \
         - sum by (group) (telepool_connection_closes_total) \
         - sum by (group) (telepool_connections{state!=\"connecting\"})",
    ),
    (
        "account pools opened, closed and there",
        "sum by (group) (telepool_account_pools_opened_total) \
         - sum by (group) (telepool_account_pools_closed_total) \
         - sum by (group) (telepool_accounts)",
    ),
    (
        "calls and those of them that were timed",
        "sum by (group) (telepool_calls_total{outcome!~\"not_sent|cancelled\"}) \
         - sum by (group) (telepool_call_seconds_count)",
    ),
    (
        "calls that the server answered with an error, and the errors by name",
        "sum by (group) (telepool_calls_total{outcome=~\"rpc_error|flood\"}) \
         - sum by (group) (telepool_rpc_errors_total)",
    ),
    (
        "buckets and counts of waits",
        "sum by (group) (telepool_acquire_wait_seconds_bucket{le=\"+Inf\"}) \
         - sum by (group) (telepool_acquire_wait_seconds_count)",
    ),
];

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn get(server: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // The older version of the protocol has no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A Prometheus, and when it began.
struct Watcher {
    address: SocketAddr,
    began: f64,
    _process: Running,
    _data: tempfile::TempDir,
}

impl Watcher {
    /// Starts one with our own configuration, but for the pace and the addresses.
    fn start(service: SocketAddr, at_rest: SocketAddr) -> Self {
        let data = tempfile::tempdir().unwrap();
        let rules = folder().join("alerts.yml");
        let mut config = text_of("prometheus.yml");
        for (old, new) in [
            ("_interval: 15s", "_interval: 1s".to_owned()),
            ("- alerts.yml", format!("- {}", rules.display())),
            ("127.0.0.1:9464", service.to_string()),
        ] {
            assert!(config.contains(old), "prometheus.yml says {old}");
            config = config.replace(old, &new);
        }
        config += &format!(
            "  - job_name: at_rest\n    static_configs:\n      - targets: [\"{at_rest}\"]\n"
        );
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let (content, said) = promtool(&["check", "config", file.to_str().unwrap()], data.path());
        assert!(content, "{said}");
        // Somebody else may take the port in between: then Prometheus ends, and the test says so.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus, of Debian's package: {error}"));
        let watcher = Self { address, began: unix_time(), _process: Running(process), _data: data };
        watcher.until("up == 1", 2);
        watcher
    }

    fn ask(&self, path: &str) -> Value {
        let (status, body) = get(self.address, path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series of an expression now.
    fn now(&self, query: &str) -> Vec<(Value, f64)> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(query)));
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|it| (it["metric"].clone(), it["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// What an expression has been since the beginning, at about a hundred instants.
    fn history(&self, query: &str, legend: &str) -> Vec<Series> {
        let (query, began, now) = (encoded(query), self.began, unix_time());
        let step = ((now - began) / 100.0).max(1.0);
        let path = format!("/api/v1/query_range?query={query}&start={began}&end={now}&step={step}");
        let data = self.ask(&path);
        let point = |point: &Value| {
            (point[0].as_f64().unwrap(), point[1].as_str().unwrap().parse().unwrap())
        };
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|it| {
                let labels = it["metric"].as_object().unwrap().iter();
                let name = labels.fold(legend.to_owned(), |name, (label, value)| {
                    name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap())
                });
                Series {
                    name,
                    points: it["values"].as_array().unwrap().iter().map(point).collect(),
                }
            })
            .collect()
    }

    /// Waits until an expression has so many series.
    fn until(&self, query: &str, count: usize) {
        let patience = Instant::now() + Duration::from_secs(60);
        let path = format!("/api/v1/query?query={}", encoded(query));
        loop {
            let answer = get(self.address, &path).ok().filter(|(status, _)| *status == 200);
            let found = answer.map(|(_, body)| serde_json::from_str::<Value>(&body).unwrap());
            let count_now = found.and_then(|it| Some(it["data"]["result"].as_array()?.len()));
            if count_now == Some(count) {
                return;
            }
            assert!(Instant::now() < patience, "it never came that {query} has {count} series");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The service, and where its metrics are.
fn service() -> (Running, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_telepool"))
        .args(["serve", "--sandbox", "--faults", "mixed", "--latency", "20ms", "--seed", "7"])
        .args(["--concurrency", "64", "--listen", "127.0.0.1:0", "--duration", "3600s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said.by_ref().map(Result::unwrap).find_map(|line| {
        let (_, rest) = line.split_once("http://")?;
        rest.split_once("/metrics")?.0.parse().ok()
    });
    // Its log is read to the end, so that it never waits for somebody to take it.
    std::thread::spawn(move || said.for_each(drop));
    (Running(child), address.expect("it says where the metrics are"))
}

/// A pool of this process that has worked against a sandbox of its own, and rests.
async fn at_rest() -> (SocketAddr, Pool<TelegramManager<MemorySource>>) {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let accounts: Vec<_> = (1..=12).map(|id| AccountId::bot(id).unwrap()).collect();
    let records = accounts.iter().flat_map(|id| {
        let group = ["shop", "news"][(id.number() % 2) as usize];
        data_centre.create_sessions(*id, 2, Some(group.into()))
    });
    let source = MemorySource::new(records.collect::<Vec<_>>()).unwrap();
    let manager = TelegramManager::new(source, TelegramSettings::new(1));
    let pool = Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 1000;
            config.pool.max_connections = 8;
        })
        .build()
        .unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, http::probes(&exporter), std::future::pending()));
    let mut callers = tokio::task::JoinSet::new();
    for turn in 0..400 {
        let (pool, account) = (pool.clone(), accounts[turn % accounts.len()]);
        callers.spawn(async move {
            // Some wait, some leave, some give their connection up, and the cap closes others.
            let acquire = pool.acquire(account);
            let patience = Duration::from_millis(if turn % 7 == 0 { 1 } else { 10_000 });
            let Ok(Ok(lease)) = tokio::time::timeout(patience, acquire).await else { return };
            tokio::time::sleep(Duration::from_millis(2)).await;
            lease.invoke(&functions::Ping { ping_id: 1 }).await.unwrap();
            if turn % 5 == 0 {
                // The data centre does not know it, and says so.
                lease.invoke(&functions::help::GetInviteText {}).await.unwrap_err();
            }
            if turn % 9 == 0 {
                lease.discard();
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    // Two that are still held belong to the sum.
    let held = [pool.acquire(accounts[0]).await.unwrap(), pool.acquire(accounts[1]).await.unwrap()];
    std::mem::forget(held);
    (address, pool)
}

fn check_laws(watcher: &Watcher) {
    let at_rest = |law: &str| {
        // The law holds for whatever job: it is asked about the one that rests.
        let mut query = String::new();
        let mut rest = law;
        for mention in super::mentions(law) {
            let at = mention.before.len() - (law.len() - rest.len());
            query += &rest[..at];
            let inside = mention.after.strip_prefix('{');
            query += mention.name;
            query += "{job=\"at_rest\"";
            rest = match inside {
                Some(inside) => {
                    query.push_str(", ");
                    inside
                }
                None => {
                    query.push('}');
                    mention.after
                }
            };
        }
        query + rest
    };
    for (about, law) in LAWS {
        let found = watcher.now(&at_rest(law));
        assert_eq!(found.len(), 2, "{about}: two groups, not {found:?}");
        assert!(found.iter().all(|(_, difference)| *difference == 0.0), "{about}: {found:?}");
    }
    for (what, least) in [
        ("sum(telepool_acquires_total{job=\"at_rest\",result=\"ok\"})", 300.0),
        ("sum(telepool_acquires_total{job=\"at_rest\",result=\"cancelled\"})", 1.0),
        ("sum(telepool_connection_closes_total{job=\"at_rest\",reason=\"excess\"})", 1.0),
        ("sum(telepool_releases_total{job=\"at_rest\",outcome=\"closed\"})", 1.0),
        ("sum(telepool_acquire_wait_seconds_count{job=\"at_rest\"})", 1.0),
        ("sum(telepool_leases{job=\"at_rest\"})", 2.0),
        ("sum(telepool_calls_total{job=\"at_rest\",outcome=\"ok\"})", 300.0),
        ("sum(telepool_rpc_errors_total{job=\"at_rest\",error=\"other\"})", 1.0),
    ] {
        assert!(watcher.now(what)[0].1 >= least, "the laws were never put to the test: {what}");
    }
}

/// A query with the variables of its dashboard replaced.
fn filled(query: &str) -> String {
    let variables = [
        ("$__rate_interval", RATE_INTERVAL),
        ("$instance", ".+"),
        ("$group", ".+"),
        ("$job", "telepool"),
    ];
    variables.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

fn check_boards(watcher: &Watcher) {
    let mut silent = Vec::new();
    for (name, board) in &boards() {
        for (variable, query) in variables(board) {
            let asked = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (series, label) = asked.and_then(|it| it.rsplit_once(", ")).unwrap();
            let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(&filled(series)));
            let values = watcher.ask(&path);
            assert!(!values.as_array().unwrap().is_empty(), "{name}: no values of {variable}");
        }
        for panel in panels(board) {
            for query in queries(panel) {
                let history = watcher.history(&filled(query), "");
                let mut points = history.iter().flat_map(|it| &it.points);
                if points.all(|(_, value)| value.is_nan()) {
                    silent.push(format!("{name}: {}: {query}", panel["title"]));
                }
            }
        }
    }
    assert!(silent.is_empty(), "nothing to show: {silent:#?}");
}

fn draw_boards(watcher: &Watcher, folder: &Path) {
    for (name, board) in &boards() {
        picture::draw(board, &folder.join(format!("{name}.svg")), |panel| {
            let targets = panel["targets"].as_array().unwrap().iter();
            let text = |target: &Value, of: &str| target[of].as_str().unwrap().to_owned();
            targets
                .flat_map(|it| {
                    watcher.history(&filled(&text(it, "expr")), &text(it, "legendFormat"))
                })
                .collect()
        });
    }
}

fn check_rules(watcher: &Watcher) {
    let data = watcher.ask("/api/v1/rules");
    let rules = data["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 33);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        if rule["type"] == "recording" {
            let name = rule["name"].as_str().unwrap();
            let values = watcher.now(&format!("{name}{{job=\"telepool\"}}"));
            assert!(values.iter().any(|(_, value)| value.is_finite()), "{name} has no value");
        }
    }
    let fires = |alert: &str| {
        let query = format!("ALERTS{{alertname=\"{alert}\",job=\"telepool\"}}");
        watcher.now(&query).len()
    };
    for alert in ["TelepoolDown", "TelepoolReaperStalled", "TelepoolSeriesOverflow"] {
        assert_eq!(fires(alert), 0, "{alert}, and nothing is wrong");
    }
    let lost = "sum(telepool_quarantines_total{job=\"telepool\",reason!=\"suspect\"})";
    let lost = watcher.now(lost)[0].1 > 0.0;
    assert_eq!(fires("TelepoolAccountsQuarantined") > 0, lost, "the faults cost sessions: {lost}");
}

fn check_metrics(service: SocketAddr) -> BTreeMap<String, String> {
    let (status, text) = get(service, "/metrics").unwrap();
    assert_eq!(status, 200);
    let exported = types(&text);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.txt");
    std::fs::write(&file, &text).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
    exported
}

#[test]
#[ignore = "needs Prometheus, and takes a minute; `.ci/run` has a step for it"]
fn a_prometheus_that_scrapes_the_sandbox_fills_every_panel() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (resting, _pool) = runtime.block_on(at_rest());
    let (process, address) = service();
    let watcher = Watcher::start(address, resting);
    let seconds = std::env::var("DASHBOARD_SECONDS").map_or(WATCHED, |text| text.parse().unwrap());
    std::thread::sleep(Duration::from_secs(seconds));
    let exported = check_metrics(address);
    for metric in super::exported().keys() {
        assert_eq!(metric_of(metric, &exported), Some(metric.as_str()), "not exported live");
    }
    check_laws(&watcher);
    check_boards(&watcher);
    check_rules(&watcher);
    if let Ok(folder) = std::env::var("DASHBOARD_PICTURES") {
        draw_boards(&watcher, Path::new(&folder));
    }
    drop(process);
    watcher.until("ALERTS{alertname=\"TelepoolDown\",job=\"telepool\"}", 1);
}
