//! The HTTP server of the housekeeping thread.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use super::exposition::{Figures, page};
use super::health::Health;
use crate::io::housekeeping::{Connection, Listener, Timer, now, process_figures, sleep, spawn};
use crate::io::sync::oneshot;
use crate::io::{self, Instant, block_on_tokio, spawn_thread};
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_SECONDS_MAX};
use crate::metrics::{Board, NodeFacts};
use crate::model::CoreId;

/// What the housekeeping thread is given.
pub struct Housekeeping {
    /// Where the cores publish.
    pub board: Board,
    /// What stays the same.
    pub facts: NodeFacts,
    /// How many log lines were dropped so far.
    pub log_lines_dropped: Box<dyn Fn() -> u64 + Send>,
}

/// The running housekeeping thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Binds `corelog.admin.listener` and starts the thread. An error is the bind's or the thread's.
pub fn start(address: SocketAddr, housekeeping: Housekeeping) -> io::Result<Admin> {
    let listener = Listener::bind(address)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let thread = spawn_thread("housekeeping", move || {
        let server = Rc::new(Server::new(housekeeping));
        let ended = block_on_tokio(async {
            spawn(server.clone().watch());
            let accept = listener.accept_all(|connection| server.clone().take(connection));
            match select(Box::pin(accept), stopped).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => Ok(()),
            }
        });
        if let Err(error) = ended.flatten() {
            tracing::error!("metrics and health are not served: {error}");
        }
    })?;
    Ok(Admin {
        address,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Admin {
    /// The bound address, with the port that the operating system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the housekeeping thread must not take a stopping node with it.
            let _ = thread.join();
        }
    }
}

struct Server {
    housekeeping: Housekeeping,
    started: Instant,
    health: RefCell<Health>,
    connections: Cell<usize>,
}

impl Server {
    fn new(housekeeping: Housekeeping) -> Server {
        Server {
            housekeeping,
            started: now(),
            health: RefCell::default(),
            connections: Cell::new(0),
        }
    }

    /// Looks at the cores' heartbeats once a second, so that an answer can tell silence from rest.
    async fn watch(self: Rc<Server>) {
        loop {
            self.silent_cores();
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn silent_cores(&self) -> Vec<CoreId> {
        let heartbeats = self.housekeeping.board.heartbeats().into_iter();
        self.health.borrow_mut().step(now(), heartbeats)
    }

    /// Serves a connection, unless there are too many.
    fn take(self: Rc<Server>, connection: Connection) {
        if self.connections.get() >= ADMIN_CONNECTIONS_MAX {
            return;
        }
        self.connections.set(self.connections.get() + 1);
        spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = self.answer(request.method(), request.uri().path());
                async { Ok::<_, Infallible>(answer) }
            });
            // An error here is the client's: it went away or does not speak HTTP.
            let _ = http1::Builder::new()
                .timer(Timer::new())
                .header_read_timeout(Duration::from_secs(ADMIN_REQUEST_SECONDS_MAX))
                .serve_connection(connection, service)
                .await;
            self.connections.set(self.connections.get() - 1);
        });
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let is_known = matches!(
            path,
            "/metrics" | "/public_metrics" | "/healthz" | "/readyz"
        );
        if is_known && method != Method::GET && method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/metrics" | "/public_metrics" => self.metrics(),
            "/healthz" => self.healthz(),
            "/readyz" if self.housekeeping.board.is_ready() => plain(StatusCode::OK, "ready\n"),
            "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n",
            ),
        }
    }

    fn healthz(&self) -> Response<Full<Bytes>> {
        let silent = self.silent_cores();
        if silent.is_empty() {
            return plain(StatusCode::OK, "ok\n");
        }
        let cores: Vec<String> = silent.iter().map(|core| core.0.to_string()).collect();
        let text = format!("cores that stand still: {}\n", cores.join(", "));
        plain(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let text = page(&Figures {
            facts: &self.housekeeping.facts,
            cores: &self.housekeeping.board.read(),
            process: process_figures(),
            uptime: now() - self.started,
            log_lines_dropped: (self.housekeeping.log_lines_dropped)(),
            is_ready: self.housekeeping.board.is_ready(),
            cluster_id: self.housekeeping.board.cluster_id(),
        });
        let mut answer = plain(StatusCode::OK, text);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::io::blocking::TcpStream;

    fn admin(board: &Board) -> Admin {
        let housekeeping = Housekeeping {
            board: board.clone(),
            facts: super::super::exposition::facts_for_tests(),
            log_lines_dropped: Box::new(|| 3),
        };
        start(SocketAddr::from(([127, 0, 0, 1], 0)), housekeeping).expect("a free port")
    }

    /// Status line and body of the answer.
    fn ask(admin: &Admin, method: &str, path: &str) -> (String, String) {
        let limit = Duration::from_secs(10);
        let mut stream = TcpStream::connect(admin.address(), limit).expect("listens");
        stream.set_timeout(Some(limit)).expect("a timeout");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (
            head.lines().next().unwrap_or("").to_string(),
            body.to_string(),
        )
    }

    #[test]
    fn each_path_answers_and_the_thread_ends() {
        let board = Board::new(2);
        let admin = admin(&board);
        let check = |method, path, status: &str, body: &str| {
            let (line, text) = ask(&admin, method, path);
            assert_eq!(line, format!("HTTP/1.1 {status}"), "{method} {path}");
            assert!(text.contains(body), "{method} {path}: {text}");
        };
        check("GET", "/readyz", "503 Service Unavailable", "not ready");
        board.set_ready(true);
        check("GET", "/readyz", "200 OK", "ready");
        check("GET", "/healthz", "200 OK", "ok");
        check(
            "GET",
            "/metrics",
            "200 OK",
            "corelog_log_lines_dropped_total 3\n",
        );
        check(
            "GET",
            "/public_metrics?detail=core",
            "200 OK",
            "corelog_ready 1\n",
        );
        check("HEAD", "/metrics", "200 OK", "");
        check("POST", "/metrics", "405 Method Not Allowed", "");
        check("GET", "/", "404 Not Found", "/metrics");
        drop(admin);
    }

    #[test]
    fn a_taken_port_is_an_error_of_the_start() {
        let board = Board::new(1);
        let first = admin(&board);
        let housekeeping = Housekeeping {
            board,
            facts: super::super::exposition::facts_for_tests(),
            log_lines_dropped: Box::new(|| 0),
        };
        let error = start(first.address(), housekeeping).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_and_later_ones_served() {
        let board = Board::new(1);
        let admin = admin(&board);
        let limit = Duration::from_secs(10);
        let connect = || TcpStream::connect(admin.address(), limit).expect("listens");
        let idle: Vec<TcpStream> = (0..ADMIN_CONNECTIONS_MAX).map(|_| connect()).collect();
        let mut refused = connect();
        refused.set_timeout(Some(limit)).expect("a timeout");
        let mut buffer = [0; 1];
        assert!(matches!(refused.read(&mut buffer), Ok(0) | Err(_)));
        drop(idle);
        let served = (0..100).any(|_| {
            crate::io::blocking::sleep(Duration::from_millis(50));
            let mut stream = connect();
            let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
            let mut answer = String::new();
            asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("200")
        });
        assert!(served);
    }
}
