//! Floors: what the system and the libraries cost with nothing of ours on them, measured in the same run,
//! and where it can be in turn with what stands on them: what else the machine does then falls on both.

use std::fs::{self, File};
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp, yamux};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::task::JoinSet;

use crate::measure::{ms_since, now, timed};

/// Bytes of a message there and back, and of an append: as much as one small change.
const MESSAGE_BYTES: usize = 300;
/// Longer than any of this takes.
const WITHIN: Duration = Duration::from_secs(10);

/// An append of one small change, synced.
pub(crate) struct Disk {
    file: File,
}

impl Disk {
    pub(crate) fn open(dir: &Path) -> Disk {
        let path = dir.join("fdatasync");
        Disk { file: File::options().create(true).append(true).open(path).expect("a file of ours") }
    }

    /// Milliseconds of one.
    pub(crate) fn sync(&mut self) -> f64 {
        let (done, took) = timed(|| self.file.write_all(&[7; MESSAGE_BYTES]).and_then(|()| self.file.sync_data()));
        done.expect("room on the disk");
        took
    }
}

/// A file put in the place of another, until a watcher of its directory is told.
pub(crate) struct Watch {
    dir: PathBuf,
    events: mpsc::Receiver<Instant>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(crate) fn open(dir: &Path) -> Watch {
        let dir = dir.join("watched");
        fs::create_dir_all(&dir).expect("a directory of ours");
        let (sender, events) = mpsc::sync_channel(1_024);
        let wanted = dir.join("a.json");
        let tell = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| event.paths.last() == Some(&wanted)) {
                let _ = sender.try_send(now());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).expect("a watcher");
        watcher.watch(&dir, RecursiveMode::NonRecursive).expect("a directory of ours");
        Watch { dir, events, _watcher: watcher }
    }

    /// Milliseconds of one.
    pub(crate) fn replace(&self) -> f64 {
        let beside = self.dir.join("a.json.tmp");
        fs::write(&beside, "[]").expect("a file of ours");
        while self.events.try_recv().is_ok() {}
        let start = now();
        fs::rename(beside, self.dir.join("a.json")).expect("a file of ours");
        let told = self.events.recv_timeout(WITHIN).expect("an event");
        told.saturating_duration_since(start).as_secs_f64() * 1_000.0
    }
}

/// The smallest whole process.
pub(crate) fn smallest_process() -> f64 {
    let start = now();
    let status = Command::new("/bin/true").stdin(Stdio::null()).status().expect("/bin/true is everywhere");
    assert!(status.success(), "it is true");
    ms_since(start)
}

/// A process that does nothing but connect to a socket: what any question costs at least. It is this program, called once more.
pub(crate) fn process_that_connects(socket: &Path) -> f64 {
    let this = std::env::current_exe().expect("this program knows where it is");
    let start = now();
    let status = Command::new(this).arg(CONNECT).arg(socket).stdin(Stdio::null()).status().expect("this program");
    assert!(status.success(), "somebody listens");
    ms_since(start)
}

/// The word that makes this program such a process.
pub(crate) const CONNECT: &str = "--connect";

/// Connects, and that is all.
pub(crate) fn connect(socket: &Path) {
    UnixStream::connect(socket).expect("somebody listens");
}

type Wire = Boxed<(PeerId, StreamMuxerBox)>;

fn transport() -> Wire {
    let key = Keypair::generate_ed25519();
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).expect("a key"))
        .multiplex(yamux::Config::default())
        .boxed()
}

/// There and back on one stream of libp2p over loopback: TCP, Noise, Yamux, as our links are made.
pub(crate) struct Way {
    stream: SubstreamBox,
    _tasks: JoinSet<()>,
}

impl Way {
    pub(crate) async fn open() -> Way {
        let mut tasks = JoinSet::new();
        let (mut listener, mut dialler) = (transport(), transport());
        let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        listener.listen_on(ListenerId::next(), any).expect("a free port");
        let address = loop {
            if let Some(TransportEvent::NewAddress { listen_addr, .. }) = listener.next().await {
                break listen_addr;
            }
        };
        tasks.spawn(echo(listener));
        let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialled = dialler.dial(address, how).expect("an address that can be dialled");
        let (_, mut muxer) = dialled.await.expect("a handshake");
        let stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.expect("a stream");
        tasks.spawn(async move { driven(&mut muxer, std::future::pending::<()>()).await });
        Way { stream, _tasks: tasks }
    }

    /// Milliseconds of one.
    pub(crate) async fn trip(&mut self) -> f64 {
        let mut buffer = [7; MESSAGE_BYTES];
        let start = now();
        self.stream.write_all(&buffer).await.expect("to be heard");
        self.stream.flush().await.expect("to be heard");
        self.stream.read_exact(&mut buffer).await.expect("an answer");
        ms_since(start)
    }
}

async fn echo(mut listener: Wire) {
    let mut upgrades = JoinSet::new();
    while let Some(event) = listener.next().await {
        if let TransportEvent::Incoming { upgrade, .. } = event {
            upgrades.spawn(async move {
                let (_, mut muxer) = upgrade.await.expect("a handshake");
                let mut stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.expect("a stream");
                let mut buffer = [0; MESSAGE_BYTES];
                let talk = async {
                    while stream.read_exact(&mut buffer).await.is_ok() {
                        stream.write_all(&buffer).await.expect("to be heard");
                        stream.flush().await.expect("to be heard");
                    }
                };
                driven(&mut muxer, talk).await;
            });
        }
    }
}

/// Drives a connection while something on it is waited for.
async fn driven<T>(muxer: &mut StreamMuxerBox, wanted: impl Future<Output = T>) -> T {
    let mut wanted = std::pin::pin!(wanted);
    poll_fn(|cx| {
        while let std::task::Poll::Ready(Ok(_)) = muxer.poll_unpin(cx) {}
        let _ = muxer.poll_inbound_unpin(cx);
        wanted.as_mut().poll(cx)
    })
    .await
}
