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
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::doorman::{Door, Head, SOCKET_NAME, guard};
use super::respond::No;

/// Connections of one door at a time; more wait (INTERFACE §4, rule 9).
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a head may take to come.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a request that is being answered may go on when everything ends.
const LAST_WORDS: Duration = Duration::from_millis(1_500);
/// How long is waited after a connection could not be taken (no file handles left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long a live daemon may take to take a connection on its socket.
const LIVE_WITHIN: Duration = Duration::from_millis(200);
/// How often a port is drawn anew when IPv6 has it taken.
const DRAWS_MAX: usize = 16;

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
            Error::Socket { path, .. } => format!("make sure that {} is yours and can be written", path.display()),
        }
    }
}

/// Opens `<run_dir>/ctl.sock`. What a dead daemon left behind is put away; a living one is left alone.
pub(crate) async fn socket(run_dir: &Path) -> Result<(UnixListener, PathBuf), Error> {
    let path = run_dir.join(SOCKET_NAME);
    let not = |why| Error::Socket { path: path.clone(), why };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(not)?;
    let mode = std::fs::metadata(run_dir).map_err(not)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: run_dir.to_owned(), mode });
    }
    match std::fs::symlink_metadata(&path) {
        Ok(old) if !old.file_type().is_socket() => return Err(not(io::Error::other("something else of that name is there"))),
        Ok(_) if is_live(&path).await => return Err(Error::SocketLive { path }),
        Ok(_) => std::fs::remove_file(&path).map_err(not)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(not)?;
    // Between the two lines the socket stands in a directory that is ours alone.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(not)?;
    Ok((listener, path))
}

async fn is_live(path: &Path) -> bool {
    !matches!(timeout(LIVE_WITHIN, UnixStream::connect(path)).await, Ok(Err(why)) if why.kind() == io::ErrorKind::ConnectionRefused)
}

/// Opens the port on 127.0.0.1 and, where there is IPv6, on [::1]; 0 draws any free one.
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
pub(crate) async fn serve_loopback(listener: TcpListener, app: Router, desk: Arc<Desk>, tasks: TaskTracker, room: Arc<Semaphore>) {
    let app = TowerToHyperService::new(app);
    while let Some(place) = place(&desk, &room).await {
        let taken = tokio::select! { () = desk.stop.cancelled() => return, taken = listener.accept() => taken };
        match taken {
            Ok((stream, _)) => {
                // Small answers are worth no waiting for more; a socket that will not hear of it works all the same.
                let _ = stream.set_nodelay(true);
                let (app, desk) = (app.clone(), desk.clone());
                tasks.spawn(async move {
                    converse(stream, Door::Loopback, app, desk).await;
                    drop(place);
                });
            }
            Err(why) => not_taken(&why).await,
        }
    }
}

/// Takes connections of this user's programs until everything ends.
pub(crate) async fn serve_socket(listener: UnixListener, app: Router, desk: Arc<Desk>, tasks: TaskTracker) {
    let app = TowerToHyperService::new(app);
    let room = room();
    let me = rustix::process::geteuid().as_raw();
    while let Some(place) = place(&desk, &room).await {
        let taken = tokio::select! { () = desk.stop.cancelled() => return, taken = listener.accept() => taken };
        match taken {
            Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == me) => {
                let (app, desk) = (app.clone(), desk.clone());
                tasks.spawn(async move {
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
    let stop = desk.stop.clone();
    let service = service_fn(move |request| answered(door, request, app.clone(), desk.clone()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    let mut conversation = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = conversation.as_mut() => Some(ended),
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
        Err(problem) => No(problem.at(request.uri().path())).into_response(),
    };
    guard(response.headers_mut());
    Ok(response)
}
