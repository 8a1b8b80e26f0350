//! The two doors: loopback TCP and the unix socket, opened, guarded and closed again.
//!
//! Everything about a door is decided here, before a route is looked for: which address, which user, which request, how many at
//! a time, how long a head may take. TCP binds loopback literals and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::doorman::{Door, Head, SOCKET_NAME, guard};
use super::metrics;
use super::respond::No;

/// Connections of one door at a time; more wait (INTERFACE §4, rule 9).
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a head may take to come; tests do not wait that long to see that it is waited for.
const HEAD_WITHIN: Duration = Duration::from_millis(if cfg!(test) { 700 } else { 10_000 });
/// How long a request that is being answered may go on when everything ends.
const LAST_WORDS: Duration = Duration::from_millis(1_500);
/// How long is waited after a connection could not be taken (no file handles left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long a live daemon may take to take a connection on its socket.
const LIVE_WITHIN: Duration = Duration::from_millis(200);
/// How often a port is drawn anew when IPv6 has it taken.
const DRAWS_MAX: usize = 16;

/// Cuts a connection off, for who is told by it and takes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Cut(pub(crate) CancellationToken);

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program has the port.
    #[error("port {port} is in use")]
    PortBusy {
        /// Which.
        port: u16,
    },
    /// The port cannot be had for another reason.
    #[error("port {port} cannot be opened")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Another daemon answers on the socket.
    #[error("another daemon answers on {}", path.display())]
    SocketLive {
        /// Where.
        path: PathBuf,
    },
    /// The run directory or something in it is open to other users of this machine.
    #[error("{} can be entered by others (mode {mode:03o})", path.display())]
    TooOpen {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The socket, its directory or the address file cannot be made.
    #[error("{} cannot be made", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

impl Error {
    /// The reason, as the word in brackets behind an error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::PortBusy { .. } | Error::Port { .. } => "port-busy",
            Error::SocketLive { .. } => "already-running",
            Error::TooOpen { .. } => "too-open",
            Error::Socket { .. } => "socket",
        }
    }

    /// What lies behind it.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Error::PortBusy { .. } => "the page needs a fixed address, so no other port is taken; the control socket works".into(),
            Error::SocketLive { .. } => "one data directory has one daemon".into(),
            Error::TooOpen { .. } => "what is in it may write to this daemon, so it must be yours alone".into(),
            Error::Port { why, .. } | Error::Socket { why, .. } => why.to_string(),
        }
    }

    /// What mends it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Error::PortBusy { port } | Error::Port { port, .. } => {
                let other = if *port < 55_000 { port + 10 } else { port - 10 };
                format!("stop the program that has it, or  hubless config set http.port {other}  and start again")
            }
            Error::SocketLive { .. } => "hubless down".into(),
            Error::TooOpen { path, .. } => format!("chmod 700 {}", path.display()),
            Error::Socket { why, .. } if why.kind() == io::ErrorKind::InvalidInput => "choose a shorter path: HUBLESS_HOME=DIR".into(),
            Error::Socket { path, .. } => format!("make sure that {} is yours and can be written", path.display()),
        }
    }
}

/// Opens `<run_dir>/ctl.sock`. What a dead daemon left behind is put away; a living one is left alone.
pub(crate) async fn socket(run_dir: &Path) -> Result<(UnixListener, PathBuf), Error> {
    let path = run_dir.join(SOCKET_NAME);
    let not = |why| Error::Socket { path: path.clone(), why };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(not)?;
    let meta = std::fs::metadata(run_dir).map_err(not)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(not(io::Error::other(format!("its directory belongs to another user (uid {})", meta.uid()))));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: run_dir.to_owned(), mode });
    }
    match std::fs::symlink_metadata(&path) {
        Ok(old) if !old.file_type().is_socket() => return Err(not(io::Error::other("something else of that name is there"))),
        Ok(_) if is_live(&path).await => return Err(Error::SocketLive { path }),
        // Whoever was there may have put it away meanwhile.
        Ok(_) => drop(std::fs::remove_file(&path)),
        Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(not)?;
    // Between the two lines the socket stands in a directory that is ours alone.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(not)?;
    Ok((listener, path))
}

/// A file that this daemon made and puts away when it ends: that one, and not what a successor has made meanwhile in its place.
pub(crate) struct Made {
    path: PathBuf,
    /// Device and inode.
    one: Option<(u64, u64)>,
}

impl Made {
    /// What stands there now.
    pub(crate) fn at(path: PathBuf) -> Made {
        Made { one: which(&path), path }
    }

    /// Removes it, if it is still the same one.
    pub(crate) fn put_away(&self) {
        if self.one.is_some() && which(&self.path) == self.one {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn which(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

async fn is_live(path: &Path) -> bool {
    let dead = |why: &io::Error| matches!(why.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
    !matches!(timeout(LIVE_WITHIN, UnixStream::connect(path)).await, Ok(Err(why)) if dead(&why))
}

/// Opens the port on 127.0.0.1 and, where there is IPv6, on `[::1]`; 0 draws any free one.
pub(crate) async fn loopback(port: u16) -> Result<(Vec<TcpListener>, u16), Error> {
    let busy = |port, why: io::Error| if is_taken(&why) { Error::PortBusy { port } } else { Error::Port { port, why } };
    let draws = if port == 0 { DRAWS_MAX } else { 1 };
    let mut last = Error::PortBusy { port };
    for _ in 0..draws {
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|why| busy(port, why))?;
        let drawn = four.local_addr().map_err(|why| busy(port, why))?.port();
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, drawn))).await {
            Ok(six) => return Ok((vec![four, six], drawn)),
            // A browser may take [::1] for localhost: a stranger there would be taken for us.
            Err(why) if is_taken(&why) => last = Error::PortBusy { port: drawn },
            Err(_) => return Ok((vec![four], drawn)),
        }
    }
    Err(last)
}

fn is_taken(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::AddrInUse
}

/// Writes `http.json`, all or nothing.
pub(crate) fn write_address(run_dir: &Path, url: &str) -> Result<PathBuf, Error> {
    let path = run_dir.join("http.json");
    let fresh = run_dir.join("http.json.new");
    let text = format!("{}\n", serde_json::json!({"url": url}));
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
    written.map(|()| path.clone()).map_err(|why| Error::Socket { path, why })
}

/// Takes connections of browsers and scripts until everything ends.
pub(crate) async fn serve_loopback(listener: TcpListener, app: Router, desk: Arc<Desk>, room: Arc<Semaphore>) {
    let app = TowerToHyperService::new(app);
    while let Some(place) = place(&desk, &room).await {
        let taken = tokio::select! { () = desk.stop.cancelled() => return, taken = listener.accept() => taken };
        match taken {
            Ok((stream, _)) => {
                // Small answers are worth no waiting for more; a socket that will not hear of it works all the same.
                let _ = stream.set_nodelay(true);
                let (app, desk) = (app.clone(), desk.clone());
                desk.tasks.clone().spawn(async move {
                    converse(stream, Door::Loopback, app, desk).await;
                    drop(place);
                });
            }
            Err(why) => not_taken(&why).await,
        }
    }
}

/// Takes connections of this user's programs until everything ends.
pub(crate) async fn serve_socket(listener: UnixListener, app: Router, desk: Arc<Desk>) {
    let app = TowerToHyperService::new(app);
    let room = room();
    let me = rustix::process::geteuid().as_raw();
    while let Some(place) = place(&desk, &room).await {
        let taken = tokio::select! { () = desk.stop.cancelled() => return, taken = listener.accept() => taken };
        match taken {
            Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == me) => {
                let (app, desk) = (app.clone(), desk.clone());
                desk.tasks.clone().spawn(async move {
                    converse(stream, Door::Socket, app, desk).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("another user knocked at the control socket"),
            Err(why) => not_taken(&why).await,
        }
    }
}

/// Room for the connections of one door.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

async fn place(desk: &Desk, room: &Arc<Semaphore>) -> Option<tokio::sync::OwnedSemaphorePermit> {
    tokio::select! { () = desk.stop.cancelled() => None, place = room.clone().acquire_owned() => place.ok() }
}

async fn not_taken(why: &io::Error) {
    tracing::warn!(%why, "a connection could not be taken");
    sleep(ACCEPT_AGAIN).await;
}

/// Answers one connection's requests; when everything ends, the one at hand is finished within [`LAST_WORDS`].
async fn converse<S>(stream: S, door: Door, app: TowerToHyperService<Router>, desk: Arc<Desk>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stop, cut) = (desk.stop.clone(), Cut(CancellationToken::new()));
    let cutting = cut.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(cutting.clone());
        answered(door, request, app.clone(), desk.clone())
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    let mut conversation = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = conversation.as_mut() => Some(ended),
        () = cut.0.cancelled() => Some(Ok(())),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            conversation.as_mut().graceful_shutdown();
            timeout(LAST_WORDS, conversation).await.unwrap_or(Ok(()))
        }
    };
    if let Err(why) = ended {
        tracing::debug!(%why, "a connection ended early");
    }
}

async fn answered(
    door: Door,
    request: Request<Incoming>,
    app: TowerToHyperService<Router>,
    desk: Arc<Desk>,
) -> Result<axum::response::Response, Infallible> {
    let head = Head { method: request.method(), uri: request.uri(), headers: request.headers() };
    let mut response = match door.admit(head, &desk.socket) {
        Ok(()) => app.call(request).await?,
        Err(problem) => {
            metrics::reject(&desk.rejected, &problem.code);
            No(problem.at(request.uri().path())).into_response()
        }
    };
    guard(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, Raw, control, get, knock, knock_socket, say};
    use crate::api::{Options, start};
    use crate::model::view::View;
    use tokio_util::task::TaskTracker;

    const PROMISED: [(&str, &str); 5] = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
    ];

    fn is_guarded(raw: &Raw, what: &str) {
        for (name, value) in PROMISED {
            assert_eq!(raw.header(name), Some(value), "{what}: {name}");
        }
        assert!(!raw.head.to_lowercase().contains("access-control-"), "{what}: no permission for other pages, ever");
    }

    async fn try_to_open(run_dir: &Path, port: u16) -> Result<(crate::api::Api, CancellationToken), Error> {
        let (inbox, _asked) = tokio::sync::mpsc::channel(1);
        let (_show, view) = tokio::sync::watch::channel(Arc::new(View::of(crate::api::fixture::MBP)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let options = Options {
            http_port: port,
            run_dir: run_dir.to_owned(),
            computers: std::collections::BTreeMap::new(),
            spool_dir: run_dir.join("spool"),
        };
        start(options, inbox, view, || 0, &tasks, stop.clone()).await.map(|api| (api, stop))
    }

    #[tokio::test]
    async fn forged_requests_are_refused_before_any_route() {
        let house = House::open(Fleet::busy().0).await;
        let forged: [(&str, u16); 30] = [
            ("GET /sync HTTP/1.1\r\nhost: evil.test", 403),
            ("GET /sync HTTP/1.1\r\nhost: evil.test:4825", 403),
            ("GET /sync HTTP/1.1", 403),
            ("GET /sync HTTP/1.1\r\nhost:", 403),
            ("GET /sync HTTP/1.1\r\nhost: 0.0.0.0", 403),
            ("GET /sync HTTP/1.1\r\nhost: 127.0.0.1.nip.io", 403),
            ("GET /sync HTTP/1.1\r\nhost: mac-mini.local", 403),
            ("GET /sync HTTP/1.1\r\nhost: localhost\r\nhost: evil.test", 403),
            ("GET http://evil.test/sync HTTP/1.1\r\nhost: localhost", 403),
            ("GET /no/such/route HTTP/1.1\r\nhost: evil.test", 403),
            ("POST /v2/sessionState HTTP/1.1\r\nhost: evil.test", 403),
            ("GET /v2/syncOverview HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.test", 403),
            ("GET /v2/syncOverview HTTP/1.1\r\nhost: localhost\r\norigin: null", 403),
            ("GET /v2/syncOverview HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost:3000", 403),
            ("GET /v2/syncOverview HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site", 403),
            ("GET /v2/syncOverview HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-site", 403),
            ("GET /sync HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors", 403),
            (
                "GET /sync HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: iframe",
                403,
            ),
            ("GET /api/v3/events HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.test\r\naccept: text/event-stream", 403),
            (
                "OPTIONS /v2/sessionState HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.test\r\naccess-control-request-method: POST",
                403,
            ),
            ("OPTIONS /v2/sessionState HTTP/1.1\r\nhost: localhost\r\naccess-control-request-private-network: true", 405),
            ("OPTIONS * HTTP/1.1\r\nhost: localhost", 405),
            ("POST /v2/sessionState HTTP/1.1\r\nhost: localhost", 405),
            ("POST /api/v3/todos HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost", 405),
            ("PUT /api/v3/todos HTTP/1.1\r\nhost: localhost", 405),
            ("DELETE /api/v3/todos/t-1 HTTP/1.1\r\nhost: localhost", 405),
            ("PATCH /sync HTTP/1.1\r\nhost: localhost", 405),
            ("TRACE /sync HTTP/1.1\r\nhost: localhost", 405),
            ("GET /api/v3/export HTTP/1.1\r\nhost: localhost", 403),
            ("GET /sync HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\norigin: https://evil.test", 403),
        ];
        for (lines, status) in forged {
            let raw = say(knock(&house).await, lines, "").await;
            assert_eq!(raw.status, status, "{lines}");
            assert_eq!(raw.header("content-type"), Some("application/problem+json"), "{lines}");
            is_guarded(&raw, lines);
            assert!(status != 405 || raw.header("allow") == Some("GET, HEAD"), "{lines}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn honest_requests_come_in_and_every_answer_is_guarded() {
        let house = House::open(Fleet::busy().0).await;
        let [style, script] = &*crate::api::page::ASSETS;
        for (target, status, kind) in [
            ("/sync", 200, "text/html; charset=utf-8"),
            (style.path.as_str(), 200, "text/css; charset=utf-8"),
            (script.path.as_str(), 200, "text/javascript; charset=utf-8"),
            ("/assets/page.css", 404, "application/problem+json"),
            ("/sync/todos/t-zzzz", 404, "text/html; charset=utf-8"),
            ("/sync/nowhere", 404, "application/problem+json"),
            ("/v2/syncOverview", 200, "application/json"),
            ("/v2/deviceSessions", 400, "application/json"),
            ("/api/v3/overview", 200, "application/json"),
            ("/api/v3/todos/t-zzzz", 404, "application/problem+json"),
            ("/healthz", 200, "application/json"),
            ("/readyz", 200, "text/plain; charset=utf-8"),
            ("/version", 200, "application/json"),
            ("/no/such/route", 404, "application/problem+json"),
            ("/api/v3/beats", 404, "application/problem+json"),
        ] {
            let raw = get(&house, target).await;
            assert_eq!((raw.status, raw.header("content-type")), (status, Some(kind)), "{target}");
            is_guarded(&raw, target);
        }
        let link =
            "GET /sync HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document";
        assert_eq!(say(knock(&house).await, link, "").await.status, 200);
        let head = say(knock(&house).await, "HEAD /sync HTTP/1.1\r\nhost: localhost", "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let own = format!("GET /v2/syncOverview HTTP/1.1\r\nhost: {0}\r\norigin: http://{0}\r\nsec-fetch-site: same-origin", "127.0.0.1:9");
        assert_eq!(say(knock(&house).await, &own, "").await.status, 200, "a tunnel may give the port another number");
        house.close().await;
    }

    #[tokio::test]
    async fn the_socket_is_ours_alone_and_refuses_pages() {
        let house = House::open(Fleet::busy().0).await;
        let path = house.run().join("ctl.sock");
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").mode() & 0o777;
        assert_eq!((mode(&house.run()), mode(&path)), (0o700, 0o600));
        for (header, status) in [
            ("host: hubless", 200),
            ("host: localhost", 403),
            ("host: hubless\r\norigin: http://hubless", 403),
            ("host: hubless\r\nreferer: http://x/", 403),
            ("host: hubless\r\nsec-fetch-site: none", 403),
        ] {
            let raw = say(knock_socket(&house.run()).await, &format!("GET /v2/syncOverview HTTP/1.1\r\n{header}"), "").await;
            assert_eq!(raw.status, status, "{header}");
            is_guarded(&raw, header);
        }
        assert_eq!(control(&house, "POST /v2/syncOverview", "{}").await.status, 405);
        house.close().await;
    }

    #[tokio::test]
    async fn heads_that_are_too_large_or_too_slow_are_not_waited_for() {
        let house = House::open(Fleet::busy().0).await;
        let large = format!("GET /sync HTTP/1.1\r\nhost: localhost\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
        assert_eq!(say(knock(&house).await, &large, "").await.status, 431);
        assert_eq!(say(knock(&house).await, "GARBAGE", "").await.status, 400);
        house.close().await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let house = House::open(Fleet::busy().0).await;
        let mut slow = knock(&house).await;
        slow.write_all(b"GET /sync HTTP/1.1\r\nhost: local").await.expect("to be heard");
        let mut idle = knock(&house).await;
        idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("to be heard");
        let mut heard = Vec::new();
        timeout(HEAD_WITHIN * 4, slow.read_to_end(&mut heard)).await.expect("an end in time").expect("an end");
        timeout(HEAD_WITHIN * 4, idle.read_to_end(&mut heard)).await.expect("one that asks no more, too").expect("an end");
        house.close().await;
    }

    #[tokio::test]
    async fn the_address_is_written_and_both_families_listen() {
        let house = House::open(Fleet::new().0).await;
        let text = std::fs::read_to_string(house.run().join("http.json")).expect("http.json");
        let url = house.api.url().expect("an address");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), serde_json::json!({"url": url}));
        let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            let stream = tokio::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("[::1] listens");
            let raw = say(stream, &format!("GET /healthz HTTP/1.1\r\nhost: [::1]:{port}"), "").await;
            assert_eq!((raw.status, raw.json()), (200, serde_json::json!({"status": "OK"})));
        }
        house.close().await;
    }

    #[tokio::test]
    async fn a_busy_port_is_told_and_the_socket_works() {
        let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = other.local_addr().expect("an address").port();
        let house = House::open_on(Fleet::new().0, port).await;
        let trouble = house.api.trouble().expect("trouble");
        assert!(matches!(trouble, Error::PortBusy { port: busy } if *busy == port), "{trouble}");
        assert!(trouble.fix().contains("hubless config set http.port"));
        assert_eq!((trouble.code(), house.api.url()), ("port-busy", None));
        assert!(!house.run().join("http.json").exists());
        let told = control(&house, "GET /api/v3/overview", "").await.json();
        assert_eq!(told["warnings"], serde_json::json!([format!("port-busy: port {port} is in use")]));
        let ready = control(&house, "GET /readyz?verbose", "").await;
        assert!(ready.status == 503 && ready.body.contains("[-]http"), "{}", ready.body);
        house.close().await;
    }

    #[tokio::test]
    async fn a_dead_socket_is_put_away_and_a_living_one_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let run = home.path().join("run");
        std::fs::DirBuilder::new().mode(0o700).create(&run).expect("a directory");
        drop(std::os::unix::net::UnixListener::bind(run.join("ctl.sock")).expect("a socket"));
        std::fs::write(run.join("http.json"), "{\"url\":\"http://127.0.0.1:1\"}").expect("a file");
        let (first, stop) = try_to_open(&run, 0).await.expect("the dead one is put away");
        let address = std::fs::read_to_string(run.join("http.json")).expect("http.json");
        assert!(address.contains(first.url().expect("an address")), "the old address is gone");
        let second = try_to_open(&run, 0).await.map(|_| ()).expect_err("a living one");
        assert!(matches!(second, Error::SocketLive { .. }), "{second}");
        stop.cancel();
    }

    #[tokio::test]
    async fn what_a_successor_made_in_our_place_stays_when_we_end() {
        let home = tempfile::tempdir().expect("a directory");
        let run = home.path().join("run");
        for succeeded in [false, true] {
            let (inbox, _asked) = tokio::sync::mpsc::channel(1);
            let (_show, view) = tokio::sync::watch::channel(Arc::new(View::of(crate::api::fixture::MBP)));
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            let (computers, spool_dir) = (std::collections::BTreeMap::new(), run.join("spool"));
            let options = Options { http_port: 0, run_dir: run.clone(), computers, spool_dir };
            let _api = start(options, inbox, view, || 0, &tasks, stop.clone()).await.expect("opened");
            let _theirs = succeeded.then(|| {
                std::fs::remove_file(run.join("ctl.sock")).expect("ours");
                std::fs::write(run.join("their.json"), "{}").expect("theirs");
                std::fs::rename(run.join("their.json"), run.join("http.json")).expect("theirs");
                std::os::unix::net::UnixListener::bind(run.join("ctl.sock")).expect("theirs")
            });
            stop.cancel();
            tasks.close();
            timeout(HEAD_WITHIN * 4, tasks.wait()).await.expect("an end");
            for name in ["ctl.sock", "http.json"] {
                assert_eq!(run.join(name).exists(), succeeded, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_directory_that_others_can_enter_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        let run = home.path().join("run");
        std::fs::create_dir(&run).expect("a directory");
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let refused = try_to_open(&run, 0).await.map(|_| ()).expect_err("too open");
        assert!(matches!(refused, Error::TooOpen { mode: 0o755, .. }), "{refused}");
        assert!(refused.fix().starts_with("chmod 700 "));
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        std::fs::write(run.join("ctl.sock"), "no socket").expect("a file");
        assert!(matches!(try_to_open(&run, 0).await.map(|_| ()), Err(Error::Socket { .. })), "what is no socket is not put away");
        assert!(run.join("ctl.sock").exists());
        let deep = home.path().join("d".repeat(120));
        let long = try_to_open(&deep, 0).await.map(|_| ()).expect_err("longer than a socket's path may be");
        assert!(long.fix().contains("shorter"), "{long}: {}", long.fix());
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_their_turn() {
        let house = House::open(Fleet::new().0).await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(knock(&house).await);
        }
        let next = knock(&house).await;
        let mut waiting = Box::pin(say(next, "GET /healthz HTTP/1.1\r\nhost: localhost", ""));
        assert!(timeout(HEAD_WITHIN / 4, waiting.as_mut()).await.is_err(), "no room yet");
        held.pop();
        assert_eq!(timeout(HEAD_WITHIN * 4, waiting).await.expect("room").status, 200);
        drop(held);
        house.close().await;
    }
}
